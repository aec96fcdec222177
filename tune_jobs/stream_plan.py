"""Whether a study's images lie in memory or are streamed, and in what pieces. No Ray needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tune_jobs.data import StudyData
from tune_jobs.keys import study_key
from tune_jobs.placement import Placement
from tune_jobs.study import StudyConfig
from wsus.storage import Store
from wsus.types import Mode, Split

SHARE = 0.25  # of the smallest node's memory, for decoded images
_SHARD_BYTES = 64 * 2**20
_POOL = 8  # shards that a worker takes its batches from
_SHARDS_IN_FLIGHT = 8  # beside the pool: being read (two tasks, each with the file and its array), and in Ray's object store
_IN_STORE = 6  # shards of a worker that half of Ray's object store must hold, with room for as many that are given back


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamPlan:
    """How a study streams. per_shard: images of a shard.  pool: shards that a worker of a trial takes its batches from.

    Both decide the order of the images, so they are kept with the study, whatever the cluster is when it goes on.
    """

    per_shard: int
    pool: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageMemory:
    """What the decoded images of all modes take, and what a node may hold of them, in bytes. named: by the study's settings."""

    needed: int
    budget: int
    named: bool

    @property
    def fits(self) -> bool:
        return self.needed <= self.budget

    def __str__(self) -> str:
        whose = "resources.image_memory_gb" if self.named else f"{SHARE:.0%} of the smallest node's memory"
        return f"{_in_units(self.needed)} decoded, {'within' if self.fits else 'more than'} {_in_units(self.budget)} ({whose})"


def image_memory(config: StudyConfig, data: StudyData, nodes: Sequence[Mapping[str, float]]) -> ImageMemory:
    """Known before anything is decoded. nodes: what each has, as Ray counts it."""
    count = len(data.split(Split.TRAIN)) + len(data.split(Split.DEVELOPMENT))
    needed = count * config.crop.size_px**2 * len(config.modes)
    named = config.resources.image_memory_gb
    working = [node for node in nodes if node.get("CPU")] or nodes  # a head without processors holds no images
    smallest = min((node["memory"] for node in working if node.get("memory")), default=0)
    return ImageMemory(needed=needed, budget=int(SHARE * smallest if named is None else named * 1e9), named=named is not None)


def plan_stream(
    config: StudyConfig, memory: ImageMemory, placement: Placement, nodes: Sequence[Mapping[str, float]]
) -> StreamPlan | None:
    """Shards and pool so that all workers on a node stay within its budget and its object store; None where all images fit."""
    if memory.fits:
        return None
    workers = max((placement.workers_on(node) for node in nodes), default=0) or 1
    store = min((node["object_store_memory"] for node in nodes if node.get("object_store_memory")), default=_SHARD_BYTES)
    room = min(_SHARD_BYTES, memory.budget / workers / (_POOL + _SHARDS_IN_FLIGHT), store / 2 / workers / _IN_STORE)
    return StreamPlan(per_shard=max(1, int(room / config.crop.size_px**2)), pool=_POOL)


def settle_plan(store: Store, name: str, planned: StreamPlan | None) -> StreamPlan | None:
    """The plan that a study began with, or this one for a study that begins. One of an older version began in memory."""
    key = study_key(name, "stream.json")
    if store.exists(study_key(name, "study.json")):
        found: dict[str, Any] | None = store.read_json(key) if store.exists(key) else None
        return StreamPlan(**found) if found else None
    store.write_json(key, asdict(planned) if planned else None)
    return planned


def plan_in_words(config: StudyConfig, memory: ImageMemory, plan: StreamPlan | None) -> list[str]:
    """What a person is told."""
    goes_on = "" if memory.fits == (plan is None) else ", but the study goes on as it began"
    if plan is None:
        return [f"images: {memory}{goes_on}: each machine decodes them once, and all trials share them"]
    size = _in_units(plan.per_shard * config.crop.size_px**2)
    lines = [f"images: {memory}{goes_on}: trials stream them in shards of {plan.per_shard} ({size}), {plan.pool} at a time"]
    if Mode.AUTO_ROI in config.modes:
        lines.append("images: U-Nets do not stream; each holds its training images and masks, at its own size, in memory")
    return lines


def _in_units(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"
