"""Checkpoints are uploaded beside the next epoch, and never taken for whole before they are; else the one before is used."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ray import tune
from ray.train._internal.checkpoint_manager import _TrainingResult
from ray.train._internal.storage import StorageContext
from test_checkpoints import TRIAL, make_fit

import tune_jobs.trial
from tune_jobs.checkpoints import load_fit, save_fit
from tune_jobs.compute import Meter
from tune_jobs.study import Trial
from tune_jobs.trial import CellTrial, Upload, other_checkpoints
from wsus.errors import BundleError
from wsus.training.classifier import Fit


class _Alone(CellTrial):
    """A CellTrial outside Tune, with a training run that the test gives."""

    def __init__(self, trial: Trial, fit: Fit, storage: StorageContext | None = None, rungs: tuple[int, ...] = ()) -> None:
        self._trial, self._new_fit = trial, fit
        self._local_ip, self._storage, self._last_result = "here", storage, None
        self._upload = Upload()
        self._context = SimpleNamespace(config=SimpleNamespace(rungs=rungs))  # type: ignore[assignment]
        self._begin({"trial": trial.to_json()})

    def _begin(self, config: dict[str, object]) -> None:
        self._went_back = False
        self._meter = Meter(torch.device("cpu"), cpus=1.0, gpus=0.0)
        self._fit = self._new_fit


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Trial]:
    """Two checkpoints of one trial, after its first and second epoch."""
    fit = make_fit()
    for epoch in (1, 2):
        fit.run_epoch()
        folder = tmp_path / f"checkpoint_00000{epoch - 1}"
        folder.mkdir()
        save_fit(folder, TRIAL, fit)
    return tmp_path, TRIAL


def restored_epoch(folder: Path, trial: Trial, name: str) -> int:
    torch.manual_seed(1)
    alone = _Alone(trial, make_fit())
    alone.restore(tune.Checkpoint(str(folder / name)))
    return alone._fit.epoch


def test_whole_checkpoint_is_used(kept: tuple[Path, Trial]) -> None:
    assert restored_epoch(*kept, "checkpoint_000001") == 2


@pytest.mark.parametrize("damage", ["cut", "unfinished"])
def test_damaged_checkpoint_gives_way_to_the_one_before(
    damage: str, kept: tuple[Path, Trial], caplog: pytest.LogCaptureFixture
) -> None:
    folder, trial = kept
    if damage == "cut":
        (folder / "checkpoint_000001/fit.pt").write_bytes(b"cut")
    else:
        (folder / "checkpoint_000001/SHA256SUMS").unlink()
    with caplog.at_level(logging.WARNING):
        assert restored_epoch(folder, trial, "checkpoint_000001") == 1
    assert "a checkpoint is left aside" in caplog.text


def test_without_a_whole_checkpoint_the_trial_begins_again(kept: tuple[Path, Trial], caplog: pytest.LogCaptureFixture) -> None:
    folder, trial = kept
    shutil.rmtree(folder / "checkpoint_000000")
    (folder / "checkpoint_000001/fit.pt").write_bytes(b"cut")
    with caplog.at_level(logging.WARNING):
        assert restored_epoch(folder, trial, "checkpoint_000001") == 0
    assert "the trial begins again" in caplog.text


def test_other_checkpoints_are_those_before_from_the_nearest_on_then_those_after(tmp_path: Path) -> None:
    for number in (1, 9, 10, 11, 12):
        (tmp_path / f"checkpoint_{number:06}").mkdir()
    (tmp_path / "other").mkdir()
    found = other_checkpoints(tune.Checkpoint(str(tmp_path / "checkpoint_000010")))
    assert [int(Path(one.path).name[-6:]) for one in found] == [9, 1, 11, 12]


def test_checkpoint_that_was_deleted_since_gives_way_to_a_later_one(
    kept: tuple[Path, Trial], caplog: pytest.LogCaptureFixture
) -> None:
    folder, trial = kept
    shutil.rmtree(folder / "checkpoint_000000")
    with caplog.at_level(logging.WARNING):
        assert restored_epoch(folder, trial, "checkpoint_000000") == 2
    assert "checkpoint_000000: no such checkpoint" in caplog.text


def test_checkpoint_whose_upload_never_began_gives_way_to_the_one_before(
    kept: tuple[Path, Trial], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert restored_epoch(*kept, "checkpoint_000002") == 2
    assert "checkpoint_000002: no such checkpoint" in caplog.text


def test_checkpoint_that_another_driver_left_in_its_place_gives_way_to_the_one_before(
    kept: tuple[Path, Trial], caplog: pytest.LogCaptureFixture
) -> None:
    folder, trial = kept
    alone = _Alone(trial, make_fit())
    with caplog.at_level(logging.WARNING):
        alone.restore(_TrainingResult(tune.Checkpoint(str(folder / "checkpoint_000001")), {"epoch": 1, "training_iteration": 1}))
    assert "a checkpoint of epoch 2, not of 1" in caplog.text
    assert (alone._fit.epoch, alone._iteration) == (1, 1)


@pytest.fixture
def storage(tmp_path: Path) -> StorageContext:
    return StorageContext(storage_path=tmp_path, experiment_dir_name="tune", trial_dir_name="trial")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Uploads begin when it is set."""
    opened, persist = threading.Event(), tune_jobs.trial._persist
    monkeypatch.setattr(tune_jobs.trial, "_persist", lambda *arguments: opened.wait(20) and persist(*arguments))
    yield opened
    opened.set()


def whole(storage: StorageContext, index: int) -> bool:
    try:
        load_fit(Path(storage.trial_fs_path) / f"checkpoint_{index:06}", TRIAL, make_fit())
    except BundleError:
        return False
    return True


def soon(gate: threading.Event) -> None:
    threading.Timer(0.3, gate.set).start()


def test_epoch_trains_beside_the_upload_and_is_reported_after_it(storage: StorageContext, gate: threading.Event) -> None:
    alone = _Alone(TRIAL, make_fit(), storage)
    alone.step()
    told = alone.save()

    assert Path(told.checkpoint.path).name == "checkpoint_000000"
    assert not whole(storage, 0), "nothing was waited for"
    soon(gate)
    assert alone.step()["epoch"] == 2
    assert whole(storage, 0), "an epoch that is reported has a whole checkpoint before it"


@pytest.mark.parametrize("waits_for", ["the last epoch", "a rung of the scheduler", "what follows one that is not whole"])
def test_upload_is_waited_for_where_tune_builds_on_it(waits_for: str, storage: StorageContext, gate: threading.Event) -> None:
    fit = make_fit()
    alone = _Alone(TRIAL, fit, storage, rungs=(1,) if "rung" in waits_for else ())
    alone.step()
    if "last" in waits_for:
        fit.epoch = fit.config.epochs
    elif "follows" in waits_for:
        alone.restore(tune.Checkpoint(f"{storage.trial_fs_path}/checkpoint_000000"))  # which is not there
    soon(gate)
    alone.save()
    assert whole(storage, 0)


def test_upload_that_fails_is_raised_by_the_epoch_beside_it_once(storage: StorageContext) -> None:
    alone = _Alone(TRIAL, make_fit(), storage)
    alone.step()
    in_its_place = Path(storage.trial_fs_path) / "checkpoint_000000"
    in_its_place.parent.mkdir()
    in_its_place.write_text("not a folder")
    alone.save()
    with pytest.raises(OSError, match="checkpoint_000000"):
        alone.step()
    in_its_place.unlink()
    alone.save()
    alone.step()
    assert whole(storage, 1)


def test_end_of_a_failed_trial_waits_for_its_upload_and_tells_of_its_failure(
    storage: StorageContext, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    alone = _Alone(TRIAL, make_fit(), storage)
    alone.step()
    alone.save()
    soon(gate)
    alone.cleanup()
    assert whole(storage, 0)

    again = _Alone(TRIAL, make_fit(), storage)
    again.step()
    in_its_place = Path(storage.trial_fs_path) / "checkpoint_000001"
    in_its_place.write_text("not a folder")
    again.save()
    again.cleanup()
    assert "the upload of a checkpoint failed, too" in caplog.text


def test_no_copy_stays_on_the_disk(storage: StorageContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "local"))
    alone = _Alone(TRIAL, make_fit(), storage)
    for _ in range(2):
        alone.step()
        alone.save()
    alone.cleanup()
    assert list((tmp_path / "local").iterdir()) == []
