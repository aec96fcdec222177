"""A checkpoint goes on exactly, holds the best weights, and is refused where it is not whole or not one's own."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tune_jobs.checkpoints import load_best, load_fit, save_fit
from tune_jobs.study import Cell, Trial
from wsus.errors import BundleError, StoreError, StudyError
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.storage import SUMS, sums_of
from wsus.training.batches import LabelledImages
from wsus.training.classifier import Fit
from wsus.training.config import TrainConfig
from wsus.types import Mode

TRIAL = Trial(cell=Cell(backbone="vgg16", mode=Mode.WEAK), seed=0, sample=1, hyper={"lr": 1e-3})


def make_fit() -> Fit:
    torch.manual_seed(0)
    images_NHW = np.random.default_rng(0).integers(1, 255, (8, 32, 32), dtype=np.uint8)
    data = LabelledImages.take(images_NHW, np.arange(8), [0, 1] * 4, torch.device("cpu"))
    net = CamNet(NetConfig(backbone="vgg16", width=0.125))
    return Fit(net, data, data, TrainConfig(epochs=3, batch_size=4, ema_decay=0.5), seed=0, device=torch.device("cpu"))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Fit]:
    """A checkpoint after one epoch, and the run that wrote it."""
    fit = make_fit()
    fit.run_epoch()
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    save_fit(folder, TRIAL, fit)
    return folder, fit


def test_run_goes_on_exactly(saved: tuple[Path, Fit]) -> None:
    folder, fit = saved
    resumed = make_fit()
    load_fit(folder, TRIAL, resumed)

    assert (resumed.epoch, resumed.best_epoch, resumed.best_auc) == (1, fit.best_epoch, fit.best_auc)
    theirs, ours = fit.run_epoch(), resumed.run_epoch()
    assert replace(ours, train_s=0, data_wait_s=0) == replace(theirs, train_s=0, data_wait_s=0)
    for name, value in fit.net.state_dict().items():
        assert torch.equal(value, resumed.net.state_dict()[name]), name


def test_best_weights_are_those_of_the_best_epoch(saved: tuple[Path, Fit]) -> None:
    folder, fit = saved
    best = load_best(folder)
    assert best.keys() == fit.best_state.keys()
    assert all(torch.equal(value, fit.best_state[name]) for name, value in best.items())


def test_what_lies_in_it(saved: tuple[Path, Fit]) -> None:
    folder, _ = saved
    assert {path.name for path in folder.iterdir()} == {"fit.pt", "best.safetensors", "trial.json", SUMS}


@pytest.mark.parametrize("name", ["fit.pt", "best.safetensors", "trial.json"])
def test_damaged_file_is_refused(name: str, saved: tuple[Path, Fit]) -> None:
    folder, fit = saved
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=rf"{name}: SHA-256 is .*damaged or changed"):
        load_fit(folder, TRIAL, fit)


@pytest.mark.parametrize("name", ["fit.pt", "best.safetensors", "trial.json"])
def test_missing_file_is_refused(name: str, saved: tuple[Path, Fit]) -> None:
    folder, fit = saved
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: missing"):
        load_fit(folder, TRIAL, fit)


def test_checkpoint_of_another_trial_is_refused(saved: tuple[Path, Fit]) -> None:
    folder, fit = saved
    other = replace(TRIAL, seed=7)
    with pytest.raises(StudyError, match="a checkpoint of vgg16-weak-seed0-sample1, not of vgg16-weak-seed7-sample1"):
        load_fit(folder, other, fit)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("owned",))


def test_checkpoint_with_code_is_not_run(saved: tuple[Path, Fit], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, fit = saved
    torch.save({"net": _Evil()}, folder / "fit.pt")
    (folder / SUMS).write_text(sums_of(folder))
    monkeypatch.chdir(folder)
    with pytest.raises(StudyError, match="the checkpoint cannot be read"):
        load_fit(folder, TRIAL, fit)
    assert not (folder / "owned").exists()


def test_full_disk_is_said_and_what_was_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = make_fit()
    fit.run_epoch()
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "best.safetensors":
            write(path, bytes(content)[:100])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    message = r"vgg16-weak-seed0-sample1: epoch 1 was not saved \(No space left on device\); make room"
    with pytest.raises(StoreError, match=message):
        save_fit(tmp_path, TRIAL, fit)
    with pytest.raises(BundleError, match="no SHA256SUMS, so this is not complete"):
        load_fit(tmp_path, TRIAL, fit)
