"""One trial as Ray Tune sees it: a Trainable whose step is an epoch and whose checkpoint is safe to load."""

from __future__ import annotations

import gc
import logging
import time
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from pyarrow.fs import FileSelector, FileType
from ray import tune

from tune_jobs.checkpoints import load_fit, save_fit
from tune_jobs.compute import Meter, use_device
from tune_jobs.study import Trial
from tune_jobs.team import Team
from tune_jobs.training import TrialContext, make_fit
from wsus.errors import BundleError, StudyError

logger = logging.getLogger(__name__)


class CellTrial(tune.Trainable):
    """Trains one trial of a study; `config["trial"]` is a Trial as JSON, the rest comes as TrialContext.

    Where the trial's resources are several bundles, this is the first of as many workers (see `team.py`).

    Actors are reused for the next trial: everything of the last one is dropped in `reset_config`, and every random
    number follows from the trial's seed.
    """

    _team: Team | None = None

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:
        self._context = context
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
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        save_fit(Path(checkpoint_dir), self._trial, self._fit)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        load_fit(Path(checkpoint_dir), self._trial, self._fit)
        if self._team:
            self._team.load(Path(checkpoint_dir))

    def restore(self, checkpoint_path: Any) -> None:
        """Go on from a checkpoint; from the one before where it is damaged, from the beginning where there is none."""
        try:
            super().restore(checkpoint_path)
        except (BundleError, StudyError) as error:
            damaged = checkpoint_path.checkpoint if hasattr(checkpoint_path, "checkpoint") else checkpoint_path
            before = checkpoint_before(damaged)
            follows = f"goes on from {Path(before.path).name}" if before else "begins again"
            logger.warning("%s: a damaged checkpoint is left aside, the trial %s (%s)", self._trial, follows, error)
            self._begin({"trial": self._trial.to_json()})
            if before is not None:
                self.restore(before)

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
        self._meter = Meter(self._device, cpus=self._cpus, gpus=self._gpus)
        if self._team:
            self._fit = self._team.make_fit(self._trial)
        else:
            self._fit = make_fit(self._context, self._trial, self._device)

    def _drop(self) -> None:
        if self._team:
            self._team.drop()
        self.__dict__.pop("_fit", None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def checkpoint_before(checkpoint: tune.Checkpoint) -> tune.Checkpoint | None:
    """The checkpoint that a trial kept before this one; None where there is none."""
    path = PurePosixPath(checkpoint.path)
    listed = checkpoint.filesystem.get_file_info(FileSelector(str(path.parent), allow_not_found=True))
    names = [PurePosixPath(info.path).name for info in listed if info.type == FileType.Directory]
    earlier = sorted(name for name in names if name.startswith("checkpoint_") and name < path.name)
    return tune.Checkpoint(str(path.parent / earlier[-1]), filesystem=checkpoint.filesystem) if earlier else None
