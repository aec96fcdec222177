"""A damaged checkpoint does not end a trial: the one before is used, with a warning."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch
from ray import tune

from tune_jobs.checkpoints import save_fit
from tune_jobs.study import Trial
from tune_jobs.trial import CellTrial, checkpoint_before
from wsus.training.classifier import Fit


class _Alone(CellTrial):
    """A CellTrial outside Tune, with a training run that the test gives."""

    def __init__(self, trial: Trial, fit: Fit) -> None:
        self._trial, self._new_fit = trial, fit
        self._local_ip = "here"
        self._begin({"trial": trial.to_json()})

    def _begin(self, config: dict[str, object]) -> None:
        self._fit = self._new_fit


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Trial]:
    """Two checkpoints of one trial, after its first and second epoch."""
    from test_checkpoints import TRIAL, make_fit

    fit = make_fit()
    for epoch in (1, 2):
        fit.run_epoch()
        folder = tmp_path / f"checkpoint_00000{epoch - 1}"
        folder.mkdir()
        save_fit(folder, TRIAL, fit)
    return tmp_path, TRIAL


def restored_epoch(folder: Path, trial: Trial, name: str) -> int:
    from test_checkpoints import make_fit

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
    assert "a damaged checkpoint is left aside, the trial goes on from checkpoint_000000" in caplog.text


def test_without_a_whole_checkpoint_the_trial_begins_again(kept: tuple[Path, Trial], caplog: pytest.LogCaptureFixture) -> None:
    folder, trial = kept
    shutil.rmtree(folder / "checkpoint_000000")
    (folder / "checkpoint_000001/fit.pt").write_bytes(b"cut")
    with caplog.at_level(logging.WARNING):
        assert restored_epoch(folder, trial, "checkpoint_000001") == 0
    assert "the trial begins again" in caplog.text


def test_checkpoint_before_is_the_nearest(tmp_path: Path) -> None:
    for number in (1, 9, 10, 11):
        (tmp_path / f"checkpoint_{number:06}").mkdir()
    (tmp_path / "other").mkdir()
    found = checkpoint_before(tune.Checkpoint(str(tmp_path / "checkpoint_000010")))
    assert found is not None
    assert Path(found.path).name == "checkpoint_000009"
    assert checkpoint_before(tune.Checkpoint(str(tmp_path / "checkpoint_000001"))) is None
