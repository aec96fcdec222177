"""What of a study runs as plain Ray tasks: U-Nets, shards, scoring of cells, pictures of the hardest cases, the comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import ray
import torch
from ray.tune import ResultGrid

from tune_jobs.cell import TrialOutcome, finish_cell
from tune_jobs.compare import ComparedStudy, compare_study
from tune_jobs.compute import Compute, Meter, use_device
from tune_jobs.data import StudyData
from tune_jobs.ended import TrialEnd, ends_of_cell, stands_as_asked
from tune_jobs.hard_cases import keep_hard_cases
from tune_jobs.keys import cell_key, hard_cases_key, study_key
from tune_jobs.placement import Placement
from tune_jobs.precision import all_float32, measure_precision, needs_measuring, settle_precision
from tune_jobs.progress import Progress
from tune_jobs.results import history, trial_compute, trial_end
from tune_jobs.rois import Boxes, RoiTask, read_boxes, run_roi_task, unpublished, with_whole_images
from tune_jobs.run_log import CARD_NOTES, read_runs
from tune_jobs.stream import RayShards
from tune_jobs.stream_plan import StreamPlan
from tune_jobs.study import Cell, StudyConfig, Trial
from tune_jobs.training import ModeStream, TrialContext
from wsus.data.roi import CropConfig
from wsus.data.shards import ShardCut, ShardSet, cut, read_index, shard_sum, write_index, write_shard
from wsus.storage import Store, open_store
from wsus.training.config import Precision
from wsus.types import ImageRecord, Mode, Split
from wsus.versions import own_versions

_Ended = tuple[Trial, Any, pd.DataFrame, Compute, TrialEnd]  # a trial, its last checkpoint, its epochs, what it took, its end
_How = tuple[CropConfig, Mode, Boxes | None]  # how a mode's images become a network's inputs


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """What every part of one run of a study needs; a task takes as much of the cluster as one worker of a trial."""

    config: StudyConfig
    data: StudyData
    store: Store
    placement: Placement
    progress: Progress


def settled_precision(run: StudyRun) -> Mapping[str, Precision]:
    """What each network of the study trains in; measured by a task where the study does not say yet."""

    def measure() -> dict[str, Any]:
        if not run.placement.worker.get("GPU") and not needs_measuring(run.config):
            return all_float32(run.config)  # no worker is started for this
        return dict(_unwrapped(_remote(_precision_task, run).remote(run.config)))

    return settle_precision(run.config, run.store, measure, run.progress.say)


def find_rois(run: StudyRun, tasks: Sequence[RoiTask], precision: Precision) -> Boxes | None:
    """The boxes of all images, from U-Nets that are trained where they are not published yet; None where no mode needs them."""
    if not tasks:
        return None
    missing = unpublished(run.store, run.config, tasks)
    kept = f", {len(tasks) - len(missing)} of them published already" if len(missing) < len(tasks) else ""
    run.progress.say(f"automatic regions of interest: {len(tasks)} U-Nets, cross-fitted{kept}")
    if missing:  # else no worker is started, which would load torch for nothing
        _train_unets(run, missing, precision)
    boxes = read_boxes(run.store, run.config, tasks)
    missed = sum(box is None for box in boxes.values())
    run.progress.say(f"automatic regions of interest: found in {len(boxes) - missed} of {len(boxes)} images")
    share = run.config.segmenter.whole_image_share
    return with_whole_images(boxes, run.data.split(Split.TRAIN), share, run.config.data.splits.seed)


def make_streams(run: StudyRun, boxes: Boxes | None, plan: StreamPlan) -> dict[Mode, ModeStream]:
    """The shards of every mode, written where the store has none of these images and this cut. Raises DataError, StoreError."""
    streams = {}
    for mode in run.config.modes:
        train, development = (
            RayShards(address=run.store.locator, shards=_shards(run, boxes, plan, mode, split))
            for split in (Split.TRAIN, Split.DEVELOPMENT)
        )
        streams[mode] = ModeStream(train=train, development=development, pool=plan.pool)
    return streams


def finish_cells(run: StudyRun, context: TrialContext, grid: ResultGrid) -> list[str]:
    """Publish the cells from trials that reached their end; one that stands already on the same trials is left alone."""
    study = run.store.read_json(study_key(run.config.name, "study.json"))
    runs = [{name: run_note.get(name) for name in CARD_NOTES} for run_note in read_runs(run.store, run.config.name)]
    provenance = {
        "study": run.config.name,
        "manifest_digest": study["manifest_digest"],
        "versions": own_versions(),  # of the run that scored it
        "runs": runs,
    }
    ended: dict[str, list[_Ended]] = {}
    for result in grid:
        if result.checkpoint is not None and (end := trial_end(result, run.config.rungs)) and end.why is not None:
            trial = Trial.from_json(result.config["trial"])
            one = (trial, result.checkpoint, history(result), trial_compute(result), end)
            ended.setdefault(str(trial.cell), []).append(one)
    shared = ray.put(context)
    remote = _remote(_cell_task, run)
    pending = {}
    for cell in run.config.cells():
        trials = ended.get(str(cell), [])
        if trials and not _stands(run, cell, {str(trial): end for trial, *_, end in trials}):
            pending[remote.remote(shared, cell, trials, run.store.locator, provenance)] = cell
    finished = []
    for cell in _as_they_end(pending):
        finished.append(str(cell))
        run.progress.scored(str(cell))
    return finished


def keep_pictures(run: StudyRun, *, again: bool) -> None:
    """Keep the pictures of the hardest cases of all cells. again: some cell is new, so they may be others."""
    name = run.config.name
    cells = any(run.store.is_published(cell_key(name, cell)) for cell in run.config.cells())
    if cells and (again or not run.store.is_published(hard_cases_key(name))):
        count = _unwrapped(_remote(_pictures_task, run).remote(run.config, run.data, run.store.locator))
        run.progress.say(f"hardest cases: pictures of {count} kept")


def compare_on_ray(address: str, name: str) -> ComparedStudy:
    """`compare_study` as a Ray task, which reads the store wherever it runs. Raises as it does."""
    return _unwrapped(ray.remote(_compare_task).remote(open_store(address).locator, name))


def _train_unets(run: StudyRun, tasks: Sequence[RoiTask], precision: Precision) -> None:
    shared = ray.put((run.config, run.data, precision))
    remote = _remote(_roi_task, run)
    pending = {remote.remote(shared, task, run.store.locator): task for task in tasks}
    for task in _as_they_end(pending):
        run.progress.say(f"U-Net {task.name}: {len(task.train)} training images, boxes of {len(task.find)} others")


def _shards(run: StudyRun, boxes: Boxes | None, plan: StreamPlan, mode: Mode, split: Split) -> ShardSet:
    records, crop = run.data.split(split), run.config.crop
    boxes = boxes if mode is Mode.AUTO_ROI else None
    made = cut(records, crop, mode, digest=run.data.digest, boxes=boxes, per_shard=plan.per_shard, scattered=split is Split.TRAIN)
    where = f"{len(made.rows)} shards of {split} images for the mode {mode.value} in {run.store.url(made.prefix)}"
    found = read_index(run.store, made.prefix)
    if found is not None:
        run.progress.say(f"images: {where}: there already")
        return found
    run.progress.say(f"images: writing {where}")
    return write_index(run.store, made, _write_shards(run, made, records, (crop, mode, boxes)), crop.size_px)


def _write_shards(run: StudyRun, made: ShardCut, records: Sequence[ImageRecord], how: _How) -> list[str]:
    """Digests of all shards of a cut, written by tasks on all nodes, each of which holds one shard."""
    remote = ray.remote(_shard_task).options(num_cpus=1, max_retries=run.config.max_failures, scheduling_strategy="SPREAD")
    shared, count = ray.put(how), len(made.rows)
    most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))  # shards asked for at a time; each names its images
    sums: dict[int, str] = {}
    pending: dict[Any, int] = {}

    def settle() -> None:
        done = ray.wait(list(pending), num_returns=1)[0][0]
        sums[pending.pop(done)] = _unwrapped(done)
        if len(sums) % max(20, count // 10) == 0:
            run.progress.say(f"images: {len(sums)} of {count} shards written")

    for number, rows in enumerate(made.rows):
        if len(pending) == most:
            settle()
        part = replace(run.data, manifest=run.data.manifest.with_records([records[row] for row in rows]))
        pending[remote.remote(part, shared, run.store.locator, made.prefix, number)] = number
    while pending:
        settle()
    return [sums[number] for number in range(count)]


def _shard_task(data: StudyData, how: _How, address: str, prefix: str, number: int) -> str:
    store = open_store(address, patient=True)
    written = shard_sum(store, prefix, number)  # by a run that was killed before all were
    return written or write_shard(store, prefix, number, data.here().manifest.records, *how)


def _precision_task(config: StudyConfig) -> dict[str, Any]:
    reserved = ray.get_runtime_context().get_assigned_resources()
    return measure_precision(config, cpus=float(reserved.get("CPU", 0)), gpus=float(reserved.get("GPU", 0)))


def _roi_task(shared: tuple[StudyConfig, StudyData, Precision], task: RoiTask, address: str) -> None:
    config, data, precision = shared
    device, meter = _reserved()
    store = open_store(address, patient=True)
    run_roi_task(config, data.here(), task, store, device=device, meter=meter, precision=precision)


def _cell_task(
    context: TrialContext,
    cell: Cell,
    trials: list[_Ended],
    address: str,
    provenance: dict[str, Any],
) -> None:
    device, meter = _reserved()
    here = replace(context, data=context.data.here())
    with ExitStack() as stack:
        outcomes = []
        for trial, checkpoint, history, compute, end in trials:
            folder = Path(stack.enter_context(checkpoint.as_directory()))
            outcomes.append(TrialOutcome(trial=trial, checkpoint=folder, history=history, compute=compute, end=end))
        finish_cell(here, cell, outcomes, open_store(address, patient=True), provenance, device=device, meter=meter)


def _pictures_task(config: StudyConfig, data: StudyData, address: str) -> int:
    device, _ = _reserved()
    return keep_hard_cases(config, data.here(), open_store(address, patient=True), device=device)


def _compare_task(address: str, name: str) -> ComparedStudy:
    return compare_study(open_store(address, patient=True), name)


def _stands(run: StudyRun, cell: Cell, ended: Mapping[str, TrialEnd]) -> bool:
    """Whether a cell is published that was made of these trials, all of which ended, at the same epochs, in the same way."""
    name = run.config.name
    if not run.store.is_published(cell_key(name, cell)):
        return False
    stands_on = ends_of_cell(run.store, name, cell, run.config.to_json())
    same = {trial: end.epochs for trial, end in stands_on.items()} == {trial: end.epochs for trial, end in ended.items()}
    together = run.config.ensemble and len({trial.rpartition("-sample")[0] for trial in ended}) > 1
    same = same and stands_as_asked(run.store, name, cell, ensemble=together)
    return same and all(end.why is not None for end in stands_on.values())


def _remote(task: Any, run: StudyRun) -> Any:
    """A task's function, to be called on a worker that has as much as one worker of a trial."""
    worker = run.placement.worker
    options = {"num_cpus": worker["CPU"], "num_gpus": worker.get("GPU", 0), "max_retries": run.config.max_failures}
    return ray.remote(task).options(**options, **({"memory": int(worker["memory"])} if "memory" in worker else {}))


def _reserved() -> tuple[torch.device, Meter]:
    """The device of this Ray task, and a meter, from what is reserved for it."""
    reserved = ray.get_runtime_context().get_assigned_resources()
    cpus, gpus = float(reserved.get("CPU", 0)), float(reserved.get("GPU", 0))
    device = use_device(cpus=cpus, gpus=gpus)
    return device, Meter(device, cpus=cpus, gpus=gpus)


def _as_they_end(pending: Mapping[Any, Any]) -> Iterator[Any]:
    """What each reference stands for, as its task ends; what a task raised is raised here."""
    waiting = list(pending)
    while waiting:
        (ready,), waiting = ray.wait(waiting, num_returns=1)
        _unwrapped(ready)
        yield pending[ready]


def _unwrapped(reference: Any) -> Any:
    """The value of a task; what it raised is raised here as itself, without Ray's wrapping."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from None
