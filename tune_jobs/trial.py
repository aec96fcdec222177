"""One trial as Ray Tune sees it: a Trainable whose step is an epoch and whose checkpoint is safe to load.

A checkpoint is written to the local disk and uploaded beside the next epoch. Tune is told of it when the upload begins; so
that it may build on it:

- An epoch is reported when the checkpoint before it is whole in the store. Of the two that Tune keeps, the older one is
  whole then, and a kill at any moment costs one reported epoch at most.
- `restore` takes the one before where the newest is not whole, and a later one where Tune's own state is of an epoch whose
  checkpoint was deleted since (the driver was killed between the two). Tune then counts one that is not whole among its two,
  so the next upload is waited for before Tune hears of it, and may delete the one that was gone back to.
- The last checkpoint of a trial is waited for, as is every one after which the scheduler may end it: it is what is scored.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from pyarrow.fs import FileSelector, FileType
from ray import tune
from ray.train._internal.checkpoint_manager import _TrainingResult

from tune_jobs.checkpoints import load_fit, save_fit
from tune_jobs.compute import Meter, use_device
from tune_jobs.study import Trial
from tune_jobs.team import Team
from tune_jobs.training import TrialContext, make_fit
from wsus.errors import BundleError, StudyError
from wsus.training.classifier import Fit
from wsus.training.memory import give_back_memory

logger = logging.getLogger(__name__)


class Upload:
    """One upload at a time, beside what else is done."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._running: Future[None] | None = None

    def begin(self, upload: Callable[[], None]) -> None:
        """Begin one; the one before has been waited for."""
        assert self._running is None
        self._running = self._pool.submit(upload)

    def wait(self) -> None:
        """Until nothing is under way. Raises what the upload raised, once."""
        if error := self.settle():
            raise error

    def settle(self) -> BaseException | None:
        """Until nothing is under way; returns what the upload raised."""
        running, self._running = self._running, None
        return running.exception() if running else None


class CellTrial(tune.Trainable):
    """Trains one trial of a study; `config["trial"]` is a Trial as JSON, the rest comes as TrialContext.

    Where the trial's resources are several bundles, this is the first of as many workers (see `team.py`).

    Actors are reused for the next trial: everything of the last one is dropped in `reset_config`, and every random
    number follows from the trial's seed.
    """

    _team: Team | None = None
    _storage: Any  # Tune's StorageContext
    _went_back: bool  # Tune counts a checkpoint that is not whole among those it keeps

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:
        self._context = context
        self._upload = Upload()
        resources = self.trial_resources.required_resources
        self._cpus, self._gpus = float(resources.get("CPU", 1)), float(resources.get("GPU", 0))
        bundles = self.trial_resources.bundles
        self._device = use_device(cpus=bundles[0].get("CPU", 1), gpus=bundles[0].get("GPU", 0))
        self._team = Team(self._context, bundles) if len(bundles) > 1 else None
        self._begin(config)

    def step(self) -> dict[str, Any]:
        start = time.perf_counter()
        report = self._team.run_epoch(self._fit) if self._team else self._fit.run_epoch()
        elapsed = time.perf_counter() - start
        self._upload.wait()
        compute = self._meter.lap()  # also holds what came before the epoch: making the network, saving, waiting for orders
        return {
            **asdict(report),
            "epoch_s": elapsed,
            "cpu_hours": compute.cpu_hours,
            "gpu_hours": compute.gpu_hours,
            "peak_memory_mb": compute.peak_memory_mb,
            "peak_gpu_memory_mb": compute.peak_gpu_memory_mb,
            "device": compute.devices[0],
            "epochs": self._fit.config.epochs,
            "done": self._fit.done,
            "ended": _why_ended(self._fit),
        }

    def save(self, checkpoint_dir: str | None = None) -> _TrainingResult:
        """As Trainable.save, but for the upload, which goes on when this returns."""
        if checkpoint_dir is not None:
            return super().save(checkpoint_dir)
        self._upload.wait()
        folder = tempfile.mkdtemp(prefix="wsus-checkpoint-")
        try:
            self.save_checkpoint(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        storage, metrics = self._storage, dict(self._last_result or {})
        storage._update_checkpoint_index(metrics)
        self._upload.begin(lambda: _persist(storage, folder))
        if self._went_back or self._fit.done or self._fit.epoch in self._context.config.rungs:
            self._upload.wait()
            self._went_back = False
        return _TrainingResult(tune.Checkpoint(storage.checkpoint_fs_path, storage.storage_filesystem), metrics)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        save_fit(Path(checkpoint_dir), self._trial, self._fit)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        load_fit(Path(checkpoint_dir), self._trial, self._fit)
        if self._team:
            self._team.load(Path(checkpoint_dir))

    def restore(self, checkpoint_path: tune.Checkpoint | _TrainingResult) -> None:
        """Go on from a checkpoint; where it is not whole, from the nearest other one; from the beginning where there is none."""
        told = checkpoint_path if isinstance(checkpoint_path, _TrainingResult) else _TrainingResult(checkpoint_path, {})
        candidates = [told, *(_TrainingResult(other, {}) for other in other_checkpoints(told.checkpoint))]
        for candidate in candidates:
            try:
                self._restore(candidate)
                if candidate is told or not self._fit.done:  # Tune, which does not know of that end, asks for one more epoch
                    return
                error: Exception = StudyError(f"{candidate.checkpoint.path}: of the trial's last epoch")
            except (BundleError, StudyError) as caught:
                error = caught
            logger.warning("%s: a checkpoint is left aside (%s)", self._trial, error)
            self._begin({"trial": self._trial.to_json()})
            self._went_back, self._iteration = True, 0
        logger.warning("%s: no checkpoint is whole; the trial begins again", self._trial)

    def _restore(self, told: _TrainingResult) -> None:
        """Load a checkpoint that Tune was told of.

        Raises:
            BundleError, StudyError: it is not there, not whole, or what lies there is of another trial or epoch.
        """
        place = told.checkpoint
        if place.filesystem.get_file_info(place.path).type == FileType.NotFound:
            raise StudyError(f"{place.path}: no such checkpoint; its upload never began, or it was deleted")
        super().restore(told)
        self._iteration = self._fit.epoch
        epoch = told.metrics.get("epoch", self._fit.epoch)
        if self._fit.epoch != epoch:
            raise StudyError(f"{place.path}: a checkpoint of epoch {self._fit.epoch}, not of {epoch}; a driver before left it")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._drop()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        if self._team:
            self._team.close()
            self._team = None
        self._drop()

    def _begin(self, config: dict[str, Any]) -> None:
        self._trial = Trial.from_json(config["trial"])
        self._went_back = False
        self._meter = Meter(self._device, cpus=self._cpus, gpus=self._gpus)
        if self._team:
            self._fit = self._team.make_fit(self._trial)
        else:
            self._fit = make_fit(self._context, self._trial, self._device)

    def _drop(self) -> None:
        if error := self._upload.settle():  # of a trial that failed: its next attempt goes on from the checkpoint before
            logger.warning("%s: the upload of a checkpoint failed, too (%s)", self._trial, error)
        if self._team:
            self._team.drop()
        self.__dict__.pop("_fit", None)
        give_back_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _why_ended(fit: Fit) -> str:
    """What a trial says of its own end; nothing while it goes on. Whether the scheduler ends it is not known here."""
    if not fit.done:
        return ""
    return "epochs" if fit.epoch >= fit.config.epochs else "patience"


def _persist(storage: Any, folder: str) -> None:
    """Copy a checkpoint to the current place of Tune's storage, and delete it here."""
    try:
        storage.persist_current_checkpoint(tune.Checkpoint.from_directory(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def other_checkpoints(checkpoint: tune.Checkpoint) -> list[tune.Checkpoint]:
    """A trial's other checkpoints: those before this one, the nearest first, then those after it, the nearest first."""
    path = PurePosixPath(checkpoint.path)
    listed = checkpoint.filesystem.get_file_info(FileSelector(str(path.parent), allow_not_found=True))
    names = sorted(PurePosixPath(info.path).name for info in listed if info.type == FileType.Directory)
    kept = [name for name in names if name.startswith("checkpoint_")]
    before, after = [n for n in kept if n < path.name], [n for n in kept if n > path.name]
    return [tune.Checkpoint(str(path.parent / n), filesystem=checkpoint.filesystem) for n in (*reversed(before), *after)]
