"""A trial's checkpoint: one folder, safe to load, whole or refused.

fit.pt             all that training needs to go on (tensors and numbers; read with weights_only)
best.safetensors   the weights of the best epoch so far
trial.json         which trial, which epoch, its best development AUC
"""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from tune_jobs.study import Trial
from wsus.errors import StoreError, StudyError
from wsus.models.bundle import verify_sums
from wsus.storage import SUMS, sums_of
from wsus.training.classifier import Fit


def save_fit(folder: Path, trial: Trial, fit: Fit) -> None:
    """Write a checkpoint.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({key: value for key, value in fit.state_dict().items() if key != "best_state"}, buffer)
    note = {"trial": trial.to_json(), "epoch": fit.epoch, "best_epoch": fit.best_epoch, "best_auc": fit.best_auc}
    try:
        (folder / "fit.pt").write_bytes(buffer.getbuffer())
        (folder / "best.safetensors").write_bytes(
            save_safetensors({name: value.contiguous() for name, value in fit.best_state.items()})
        )
        (folder / "trial.json").write_text(json.dumps(note))
        (folder / SUMS).write_text(sums_of(folder))
    except OSError as error:
        raise StoreError(
            f"{folder}: {trial}: epoch {fit.epoch} was not saved ({error.strerror}); make room on the disk"
        ) from error


def load_fit(folder: Path, trial: Trial, fit: Fit) -> None:
    """Let a training run go on where a checkpoint left it.

    Raises:
        BundleError: a file is missing or damaged.  StudyError: it is another trial's.
    """
    verify_sums(folder, ("fit.pt", "best.safetensors", "trial.json"))
    note = json.loads((folder / "trial.json").read_text())
    if note["trial"] != trial.to_json():
        raise StudyError(f"{folder}: a checkpoint of {Trial.from_json(note['trial'])}, not of {trial}")
    try:
        state: dict[str, Any] = torch.load(folder / "fit.pt", map_location=fit.device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise StudyError(f"{folder}: the checkpoint cannot be read ({error})") from error
    fit.load_state_dict({**state, "best_state": load_best(folder)})


def saved_epoch(folder: Path) -> int:
    """After which epoch a checkpoint was written. Raises BundleError where it is missing or damaged."""
    verify_sums(folder, ("trial.json",))
    return int(json.loads((folder / "trial.json").read_text())["epoch"])


def load_best(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint's best epoch."""
    verify_sums(folder, ("best.safetensors",))
    return dict(load_safetensors((folder / "best.safetensors").read_bytes()))
