"""What a trial takes of a cluster, and how many trials it holds at a time. No Ray needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tune_jobs.study import Resources
from wsus.errors import StudyError


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """worker: what each of a trial's `workers` takes, as Ray counts it (CPU, GPU, memory in bytes).  slots: trials at a time."""

    worker: Mapping[str, float]
    workers: int
    slots: int

    @property
    def trial(self) -> dict[str, float]:
        """What a whole trial takes."""
        return {name: amount * self.workers for name, amount in self.worker.items()}

    def workers_on(self, node: Mapping[str, float]) -> int:
        """How many workers a node may hold at a time. node: what it has, as Ray counts it."""
        return min(_room(node, self.worker), self.slots * self.workers)

    def __str__(self) -> str:
        return f"{self.slots} at a time" + (f", {self.workers} workers each" if self.workers > 1 else "")


def place(wanted: Resources, nodes: Sequence[Mapping[str, float]]) -> Placement:
    """Divide a cluster between trials. nodes: what each has, as Ray counts it; a worker needs one that holds all of it.

    Raises:
        StudyError: the nodes have no room for one trial.
    """
    workers = wanted.workers_per_trial
    with_gpus = [node for node in nodes if node.get("GPU")]
    gpus = wanted.gpus_per_trial if wanted.gpus_per_trial is not None else float(workers if with_gpus else 0)
    worker = {"GPU": gpus / workers} if gpus else {}
    cpus = wanted.cpus_per_trial / workers if wanted.cpus_per_trial else _cpus_beside(worker, with_gpus)
    worker = {"CPU": cpus, **worker}
    if wanted.memory_mb_per_trial:
        worker["memory"] = wanted.memory_mb_per_trial * 2**20 // workers
    if wanted.scaling:  # what the cluster has now says nothing
        return Placement(worker=worker, workers=workers, slots=wanted.max_concurrent_trials or 1)
    room = sum(_room(node, worker) for node in nodes)
    if room < workers:
        raise StudyError(
            f"a trial wants {_in_words(worker)}{f' for each of {workers} workers' if workers > 1 else ''}; the cluster has room "
            f"for {room} ({'; '.join(_in_words(node) for node in nodes) or 'no node'}); lower "
            f"{'resources.workers_per_trial, ' if workers > 1 else ''}resources.{', resources.'.join(_settings(worker))}"
        )
    return Placement(worker=worker, workers=workers, slots=min(room // workers, wanted.max_concurrent_trials or room))


def _cpus_beside(worker: Mapping[str, float], nodes_with_gpus: Sequence[Mapping[str, float]]) -> float:
    """One CPU without GPUs; with them an even part of what the poorest node has beside its GPUs."""
    if not worker:
        return 1.0
    shares = [node.get("CPU", 0) // room for node in nodes_with_gpus if (room := _room(node, worker))]
    return float(max(1, min(shares, default=1)))


def _room(node: Mapping[str, float], worker: Mapping[str, float]) -> int:
    """How many workers a node holds; one that takes a part of a GPU takes it of a single one."""

    def holds(name: str, amount: float) -> int:
        has = node.get(name, 0)
        return int(has) * int(1 / amount + 1e-9) if name == "GPU" and amount < 1 else int(has / amount + 1e-9)

    return min(holds(name, amount) for name, amount in worker.items())


def _in_words(amounts: Mapping[str, float]) -> str:
    known = {"CPU": "CPU", "GPU": "GPU", "memory": "MiB of memory"}
    return ", ".join(f"{amounts[n] / (2**20 if n == 'memory' else 1):.6g} {word}" for n, word in known.items() if amounts.get(n))


def _settings(worker: Mapping[str, float]) -> list[str]:
    names = {"CPU": "cpus_per_trial", "GPU": "gpus_per_trial", "memory": "memory_mb_per_trial"}
    return [names[name] for name in worker]
