"""A trial of several workers: the Trainable is the first, the others are Ray actors in the trial's own placement group.

Why not Ray Train's TorchTrainer: in Ray 2.60 it reserves a placement group of its own beside the trial's (so that Tune counts
a trial's workers as nobody's, and two trials can wait for each other), starts its workers anew for each trial, where those here
are kept for the next one as the Trainable is, and brings checkpoints and retries that would stand beside Tune's.

Ray ends the others when the Trainable's process ends. Where one of them ends, the Trainable's next exchange of gradients
fails, the trial with it, and Tune tries it again from its last checkpoint, with new processes.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tune_jobs.checkpoints import load_fit
from tune_jobs.compute import use_device
from tune_jobs.study import Trial
from tune_jobs.training import TrialContext, make_fit, prepare_inputs
from wsus.errors import StudyError
from wsus.training.classifier import EpochReport, Fit
from wsus.training.group import find_meeting, join_group, leave_group, open_meeting
from wsus.training.memory import give_back_memory

_LAST_WORDS_S = 10.0  # how long the cause of a broken exchange is waited for


class Team:
    """All workers of a trial, seen from the first one, whose process this is.

    bundles: what each worker has reserved, one of the placement group's bundles each.
    """

    def __init__(self, context: TrialContext, bundles: Sequence[Mapping[str, float]]) -> None:
        size, shared = len(bundles), ray.put(context)
        self._context = context
        self._device = use_device(cpus=bundles[0].get("CPU", 0), gpus=bundles[0].get("GPU", 0))
        self._others = [_start_worker(shared, place, bundle) for place, bundle in enumerate(bundles[1:], start=1)]
        ray.get([worker.started.remote() for worker in self._others])  # one that cannot start says so here
        host, whole_gpu = ray.util.get_node_ip_address(), self._device.type == "cuda" and bundles[0].get("GPU", 0) >= 1
        meeting = open_meeting(host, size)
        joined = [
            worker.join.remote(host, meeting.port, rank, size, whole_gpu) for rank, worker in enumerate(self._others, start=1)
        ]
        self._group = join_group(meeting, 0, size, own_host=host, whole_gpu=whole_gpu)
        ray.get(joined)

    def make_fit(self, trial: Trial) -> Fit:
        """Let all workers make the training run of a trial; returns the first one's."""
        ready = [worker.prepare.remote(trial) for worker in self._others]
        prepare_inputs(self._context, trial.cell.mode)  # decoding takes as long as it takes; making the run waits for the others
        ray.get(ready)
        with self._beside([worker.make_fit.remote(trial) for worker in self._others]):
            return make_fit(self._context, trial, self._device, self._group)

    def load(self, folder: Path) -> None:
        """Give the others a checkpoint that the first worker has read from a folder of its machine."""
        files = ray.put({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
        ray.get([worker.load.remote(files) for worker in self._others])

    def run_epoch(self, fit: Fit) -> EpochReport:
        """Run an epoch on all workers.

        Raises:
            StudyError: another worker ended or failed.  What `Fit.run_epoch` raises.
        """
        with self._beside([worker.run_epoch.remote() for worker in self._others]):
            return fit.run_epoch()

    def drop(self) -> None:
        """Let go of the last trial's network and images."""
        ray.get([worker.drop.remote() for worker in self._others])

    def close(self) -> None:
        """End the other workers and leave the group."""
        for worker in self._others:
            ray.kill(worker)
        leave_group()

    @contextlib.contextmanager
    def _beside(self, running: Sequence[Any]) -> Iterator[None]:
        """While the others do the same as this worker. Where that fails, the one that began it is named, if it is another."""
        threading.Thread(target=_end_those_that_fail, args=(self._others, running), daemon=True).start()
        try:
            yield
            ray.get(list(running))
        except (RuntimeError, ray.exceptions.RayError) as error:  # torch.distributed raises RuntimeError where a worker is gone
            if found := _failures(running):
                raise StudyError("; ".join(found)) from error
            raise


def _end_those_that_fail(workers: Sequence[Any], running: Sequence[Any]) -> None:
    """Kill a worker whose work failed: its connections close, and those that wait for its part are told so."""
    left = dict(zip(running, workers, strict=True))
    while left:
        (settled,), _ = ray.wait(list(left), num_returns=1)
        worker = left.pop(settled)
        try:
            ray.get(settled)
        except ray.exceptions.RayError:
            ray.kill(worker)


def _failures(running: Sequence[Any]) -> list[str]:
    """What became of those workers that ended or failed; of those that ended alone, where there are any."""
    ray.wait(list(running), num_returns=len(running), timeout=_LAST_WORDS_S)
    ended, failed = [], []
    for rank, reference in enumerate(running, start=1):
        place = f"worker {rank + 1} of {len(running) + 1}"
        try:
            ray.get(reference, timeout=0)
        except ray.exceptions.RayActorError:
            ended.append(f"{place} ended in the midst of the work: killed, or its machine is gone")
        except ray.exceptions.RayTaskError as error:
            failed.append(f"{place}: {error.cause}")
        except ray.exceptions.GetTimeoutError:
            continue  # it waits for this one
    return ended or failed  # those that lost another one fail, too


class TrialWorker:
    """Another worker than the first: does as it is told."""

    def __init__(self, context: TrialContext, cpus: float, gpus: float) -> None:
        self._context = context
        self._device = use_device(cpus=cpus, gpus=gpus)

    def started(self) -> None:
        """Nothing; to be called is to be there."""

    def join(self, host: str, port: int, rank: int, size: int, whole_gpu: bool) -> None:
        own_host = ray.util.get_node_ip_address()
        self._group = join_group(find_meeting(host, port, size), rank, size, own_host=own_host, whole_gpu=whole_gpu)

    def prepare(self, trial: Trial) -> None:
        prepare_inputs(self._context, trial.cell.mode)

    def make_fit(self, trial: Trial) -> None:
        self._trial = trial
        self._fit = make_fit(self._context, trial, self._device, self._group)

    def load(self, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            load_fit(Path(folder), self._trial, self._fit)

    def run_epoch(self) -> None:
        self._fit.run_epoch()

    def drop(self) -> None:
        del self._fit
        give_back_memory()


def _start_worker(context: Any, place: int, bundle: Mapping[str, float]) -> Any:
    cpus, gpus = bundle.get("CPU", 0.0), bundle.get("GPU", 0.0)
    strategy = PlacementGroupSchedulingStrategy(placement_group=get_current_placement_group(), placement_group_bundle_index=place)
    options = {"num_cpus": cpus, "num_gpus": gpus, "memory": bundle.get("memory", 0), "scheduling_strategy": strategy}
    return ray.remote(TrialWorker).options(**options).remote(context, cpus, gpus)
