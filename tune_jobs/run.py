"""Run a study on Ray: its trials with Tune, what goes before and after; resume it, refuse another under its name."""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, ResultGrid, RunConfig, TuneConfig, Tuner
from ray.util.metrics import Counter

from tune_jobs.budget import Budget, BudgetSpentError
from tune_jobs.compute import together
from tune_jobs.data import StudyData, load_data
from tune_jobs.keys import cell_key, study_key
from tune_jobs.lease import Lease, held_lease
from tune_jobs.outcome import StudyOutcome, finished_before, record_outcome, scoring_compute
from tune_jobs.per_cell import PerCellOptuna, make_scheduler
from tune_jobs.placement import place
from tune_jobs.precision import UNET
from tune_jobs.progress import Progress
from tune_jobs.results import failures_of, last_failure, not_begun, trial_compute
from tune_jobs.rois import check_masks, roi_compute, roi_tasks
from tune_jobs.run_log import RunLog, read_runs
from tune_jobs.settings import differences
from tune_jobs.stream_plan import image_memory, plan_in_words, plan_stream, settle_plan
from tune_jobs.studies import SCHEMA_VERSION, finished_cells, refuse_conflict
from tune_jobs.study import StudyConfig, Trial
from tune_jobs.tasks import StudyRun, find_rois, finish_cells, keep_pictures, make_streams, settled_precision
from tune_jobs.training import TrialContext
from tune_jobs.trial import CellTrial
from tune_jobs.tune_state import can_go_on
from tune_jobs.tune_storage import tune_location
from tune_jobs.waiting import Waiting
from wsus.data.audit.warned import image_warnings
from wsus.data.formats.image_warning import warning_notes
from wsus.errors import StudyInterruptedError
from wsus.storage import Store, open_store
from wsus.types import Mode, Split
from wsus.versions import own_versions

logger = logging.getLogger(__name__)
_SAVING_PERIOD = "TUNE_GLOBAL_CHECKPOINT_S"  # of Tune
_SAVING_S_PER_TRIAL = 0.02  # a hundred seconds of 5,000 trials


def run_study(
    config: StudyConfig,
    address: str,
    progress: Progress | None = None,
    data: StudyData | None = None,
    tell_kept: Callable[[Callable[[], str]], None] = lambda _: None,
) -> StudyOutcome:
    """Train what is not trained yet, and publish every cell into the store. Needs a Ray connection (`cluster.session`).

    Args:
        data: what `load_data` made of `config.data`, where that was asked for before Ray was there.
        tell_kept: is given a function that says at any moment what of the study is kept if it is interrupted.
    Raises:
        StudyConflictError: the store holds a study of this name with another configuration or other images.
        StudyBusyError: another driver runs it, or took it over.
        StudyInterruptedError: instead of KeyboardInterrupt; says what is kept.
        DataError, StoreError: before anything is trained.
    """
    start = time.monotonic()
    store = open_store(address)
    store.check_writable()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    placement = place(config.resources, nodes)
    progress = progress or Progress(config.trials(), config.train.epochs, placement.slots)
    data = data or load_data(config.data, progress.say)
    run = StudyRun(config=config, data=data, store=store, placement=placement, progress=progress)
    tell_kept(partial(_kept, run))
    with held_lease(store, config.name, progress.say, on_lost=_interrupter()) as lease:
        try:
            return _run(run, nodes, lease, start)
        except KeyboardInterrupt:
            lease.check()  # a lost lease interrupts, too
            raise StudyInterruptedError(_kept(run)) from None


def _interrupter() -> Callable[[], None]:
    """What interrupts this thread where it is the main one, which may be waiting for a task of hours."""
    main = threading.main_thread()
    if threading.current_thread() is not main or main.ident is None:
        return lambda: None  # the lease is checked at each of Tune's steps
    return partial(signal.pthread_kill, main.ident, signal.SIGINT)


def _kept(run: StudyRun) -> str:
    """What of a study an interruption leaves, and how to go on."""
    kept = run.progress.kept(len(run.config.cells()))
    return f"study {run.config.name}: kept {kept}; nothing more was scored or published; run the same line again to go on"


def _run(run: StudyRun, nodes: Sequence[Mapping[str, float]], lease: Lease, start: float) -> StudyOutcome:
    config, data, store, placement, progress = run.config, run.data, run.store, run.placement, run.progress
    check_masks(config, data)
    memory = image_memory(config, data, nodes)
    plan = settle_plan(store, config.name, plan_stream(config, memory, placement, nodes))
    resumed = _register(config, data, store, progress.say)
    trials = config.trials()
    progress.cells |= set(finished_cells(store, config.name))
    done = finished_before(config, store)
    if done is not None:
        progress.say(f"study {config.name}: all {len(done.cells)} cells are trained already; nothing to do")
        return done
    progress.say(
        f"study {config.name}: {'resumed' if resumed else 'new'}, {_in_words(data)}, {config.trial_count} trials, {placement}"
    )
    together_with = {"workers": placement.workers} if placement.workers > 1 else {}
    hosts = sorted({str(node["NodeManagerHostname"]) for node in ray.nodes() if node["Alive"]})
    log = RunLog(store, config.name, resources={**placement.trial, **together_with}, started=start, hosts=hosts)
    progress.beat = log.beat
    tasks = roi_tasks(config, data) if Mode.AUTO_ROI in config.modes else []
    for line in plan_in_words(config, memory, plan):
        progress.say(line)
    precisions = settled_precision(run)
    boxes = find_rois(run, tasks, precisions.get(UNET, "auto"))
    streams = make_streams(run, boxes, plan) if plan is not None else None
    context = TrialContext(config=config, data=data, boxes=boxes, precisions=precisions, streams=streams)
    with progress:
        grid = _tune(run, context, trials, lease)
    lease.check()
    failures = [*failures_of(grid, config.rungs), *not_begun(grid, trials)]
    new = finish_cells(run, context, grid)
    keep_pictures(run, again=bool(new))
    log.end()
    outcome = StudyOutcome(
        name=config.name,
        cells=tuple(str(cell) for cell in config.cells() if store.is_published(cell_key(config.name, cell))),
        new=tuple(new),
        failures=tuple(failures),
        wall_s=sum(run["wall_s"] for run in read_runs(store, config.name)),
        by_part={
            "trials": together(trial_compute(result) for result in grid),
            "U-Nets": roi_compute(store, config, tasks),
            "scoring": scoring_compute(store, config),
        },
        concurrency=placement.slots,
    )
    record_outcome(config, outcome, store)
    return outcome


def _register(config: StudyConfig, data: StudyData, store: Store, say: Callable[[str], None]) -> bool:
    """Write study.json, or compare with the one that is there. Returns whether the study existed."""
    key = study_key(config.name, "study.json")
    wanted = config.to_json()
    if store.exists(key):
        refuse_conflict(store, config, data.digest)
        others = differences(store.read_json(key).get("versions", {}), own_versions())
        if others:
            say(f"study {config.name}: goes on under other versions than it began with: {', '.join(others)}; its card names both")
        old = store.read_json(key)
        if old["config"].get("ensemble", False) != config.ensemble:
            say(f"study {config.name}: its cells stand for {'all seeds together' if config.ensemble else 'their best seed'} now")
            store.write_json(key, {**old, "config": {**old["config"], "ensemble": config.ensemble}})
        return True
    records = data.manifest.frame()
    warned = image_warnings(data.manifest.records)
    for sentence in warning_notes(warned["by_kind"]):
        logger.warning("of %d images looked at, %s", warned["looked_at"], sentence)
    store.write_bytes(study_key(config.name, "records.csv"), records.to_csv(index=False).encode())
    store.write_json(study_key(config.name, "left_out.json"), list(data.left_out))
    store.write_json(
        key,
        {
            "schema_version": SCHEMA_VERSION,
            "name": config.name,
            "recipe": config.recipe,
            "config": wanted,
            "manifest_digest": data.digest,
            "data": data.manifest.name,
            "image_warnings": warned,
            "seed": list(config.seeds),
            "versions": own_versions(),
            "platform": platform.platform(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return False


def _tune(run: StudyRun, context: TrialContext, trials: Sequence[Trial], lease: Lease) -> ResultGrid:
    config, placement, progress = run.config, run.placement, run.progress
    path, filesystem = tune_location(run.store, study_key(config.name))
    state = f"{path}/tune"
    bundles = tune.PlacementGroupFactory([dict(placement.worker)] * placement.workers)
    trainable = tune.with_resources(tune.with_parameters(CellTrial, context=context), bundles)
    _ProgressCallback.progress, _ProgressCallback.lease = progress, lease
    _ProgressCallback.waiting = Waiting([placement.worker] * placement.workers, progress.say)
    _ProgressCallback.epochs = _epoch_counter(config.name)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial is named by the callback, without a traceback
    if can_go_on(run.store, study_key(config.name, "tune")):
        progress.say("trials that ended are kept, the others go on from their last checkpoint")
        tuner = Tuner.restore(state, trainable=trainable, resume_errored=True, storage_filesystem=filesystem)
    else:
        tuner = _new_tuner(run, trials, trainable, path, filesystem)
    if find_spec("tensorboardX") is not None and "://" not in run.store.address:  # Tune then writes its files
        progress.say(f"to watch: tensorboard --logdir {run.store.url(study_key(config.name, 'tune'))}")
    _ProgressCallback.budget = Budget(config.resources)
    try:
        with _state_saved_in_proportion(config.trial_count), _signals_kept():
            return tuner.fit()
    except BudgetSpentError as spent:
        progress.say(f"study {config.name}: {spent} is spent; the cells of the trials that ended are scored")
        return Tuner.restore(state, trainable=trainable, storage_filesystem=filesystem).get_results()


def _new_tuner(run: StudyRun, trials: Sequence[Trial], trainable: Any, path: str, filesystem: Any) -> Tuner:
    config = run.config
    optuna = config.search == "optuna" and config.samples > 1
    return Tuner(
        trainable,
        param_space={} if optuna else {"trial": tune.grid_search([trial.to_text() for trial in trials])},
        tune_config=TuneConfig(
            num_samples=config.samples * len(trials) if optuna else 1,
            search_alg=PerCellOptuna(config, trials, run.store.locator) if optuna else None,
            scheduler=make_scheduler(config),
            max_concurrent_trials=config.resources.max_concurrent_trials,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2, checkpoint_frequency=1, checkpoint_at_end=True),
            callbacks=[_ProgressCallback()],
            verbose=0,
        ),
    )


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Whoever owned SIGINT and SIGUSR1 before still does: Tune's own handlers let a study end as if it were finished."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Tune takes none there
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    _ProgressCallback.give_signals_back = staticmethod(give_back)
    try:
        yield
    finally:
        give_back()
        _ProgressCallback.give_signals_back = None


@contextmanager
def _state_saved_in_proportion(trials: int) -> Iterator[None]:
    """Tune saves its state every 10 s, with files of every trial: of over 500 trials less often, or it grows with the square."""
    period_s = trials * _SAVING_S_PER_TRIAL
    if period_s <= 10 or _SAVING_PERIOD in os.environ:
        yield
        return
    os.environ[_SAVING_PERIOD] = f"{period_s:g}"
    try:
        yield
    finally:
        del os.environ[_SAVING_PERIOD]


def _epoch_counter(study: str) -> Counter:
    """Ray exports it to Prometheus as ray_wsus_study_epochs_total: a study that stands still can be seen."""
    counter = Counter("wsus_study_epochs", description="Epochs that trials have ended.", tag_keys=("study",))
    counter.set_default_tags({"study": study})
    return counter


class _ProgressCallback(Callback):
    """Passes Tune's events on. They hang on the class, since Tune pickles the object into its state."""

    progress: Progress | None = None
    lease: Lease | None = None
    epochs: Counter | None = None
    give_signals_back: Callable[[], None] | None = None
    waiting: Waiting | None = None
    budget: Budget | None = None

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if _ProgressCallback.give_signals_back is not None:
            _ProgressCallback.give_signals_back()
            _ProgressCallback.give_signals_back = None
            self._say_what_was_kept(trials)
        if self.lease is not None:
            self.lease.check()
        if self.waiting is not None:
            self.waiting.look(trials)
        if self.budget is not None:
            self.budget.check()

    def _say_what_was_kept(self, trials: list[Any]) -> None:
        for trial in trials:
            if self.progress is not None and trial.last_result.get("epoch"):
                self.progress.kept_from_before(_trial_of(trial), trial.last_result, ended=trial.status == "TERMINATED")

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.progress is not None:
            self.progress.started(_trial_of(trial))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        if self.progress is not None:
            self.progress.reported(_trial_of(trial), result)
        if self.epochs is not None:
            self.epochs.inc()
        if self.budget is not None:
            self.budget.reported(result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.progress is not None:
            self.progress.finished(_trial_of(trial))
        if self.budget is not None:
            self.budget.ended()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.progress is not None:
            self.progress.tried_again(_trial_of(trial), _last_error(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.progress is not None:
            self.progress.failed(_trial_of(trial), _last_error(trial))
        if self.budget is not None:
            self.budget.failed(_last_error(trial))


def _trial_of(trial: Any) -> Trial:
    return Trial.from_json(trial.config["trial"])


def _last_error(trial: Any) -> str:
    """The line of what a trial raised just now. Tune has written it on this machine; into the store it comes later."""
    file = trial.error_file
    return last_failure(Path(file).read_text()) if file and Path(file).is_file() else "no reason was given"


def _trial_name(trial: Any) -> str:
    return str(_trial_of(trial))


def _in_words(data: StudyData) -> str:
    counts = {split: len(data.split(split)) for split in (Split.TRAIN, Split.DEVELOPMENT, Split.INTERNAL, Split.EXTERNAL)}
    return ", ".join(f"{count} {split}" for split, count in counts.items() if count)
