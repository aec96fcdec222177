"""Schedulers and searchers that keep the cells of a study apart.

ASHA and Optuna compare trials with each other. A study's trials may only be compared within one cell and seed: a
VGG16 must not be stopped because a ResNet34 learns faster, nor a seed because another was lucky.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.schedulers.trial_scheduler import FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from tune_jobs.ended import ASHA_REDUCTION
from tune_jobs.keys import optuna_key
from tune_jobs.study import Choice, Range, StudyConfig, Trial, as_whole, is_whole
from wsus.storage import open_store

METRIC = "development_auc"
_TIME = "epoch"
_KEEP_EVERY_S = 30.0


def make_scheduler(config: StudyConfig) -> TrialScheduler:
    """First come, first served, or one ASHA (Li et al. 2020) per cell and seed."""
    if config.scheduler == "none":
        return FirstComeFirstServed()
    settings = {"time_attr": _TIME, "metric": METRIC, "mode": "max", "max_t": config.train.epochs}
    rungs = {"grace_period": config.rungs[0], "reduction_factor": ASHA_REDUCTION}
    return PerCellScheduler(lambda: ASHAScheduler(**settings, **rungs))


class FirstComeFirstServed(FIFOScheduler):
    """Runs trials in the order of their adding, as Tune's own does, which looks at all that ever were each time one may start."""

    def __init__(self) -> None:
        super().__init__()
        self._place: dict[str, int] = {}  # in the queue, by trial_id; a trial that is tried again is added again
        self._added = 0

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._added += 1
        self._place[trial.trial_id] = self._added

    def choose_trial_to_run(self, tune_controller: Any) -> Any | None:
        for status in ("PENDING", "PAUSED"):
            waiting = [trial for trial in tune_controller.get_live_trials() if trial.status == status]
            if waiting:
                return min(waiting, key=lambda trial: self._place[trial.trial_id])
        return None


class PerCellScheduler(FirstComeFirstServed):
    """Asks, for each trial, the scheduler of its cell and seed."""

    def __init__(self, make: Callable[[], TrialScheduler]) -> None:
        super().__init__()
        self._make = make
        self._schedulers: dict[str, TrialScheduler] = {}
        self._metric = METRIC

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True  # each cell's scheduler knows its own

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, trial)
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(self._of(trial).on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        return f"one scheduler per cell and seed ({len(self._schedulers)})"

    def _of(self, trial: Any) -> TrialScheduler:
        group = _group(Trial.from_json(trial.config["trial"]))
        if group not in self._schedulers:
            self._schedulers[group] = self._make()
        return self._schedulers[group]


class PerCellOptuna(Searcher):
    """One Optuna study (TPE) per cell and seed, asked in turn; each is given the default hyperparameters first.

    Tune's state holds them. What they know is written into the store beside, too, as a journal that optuna-dashboard reads.

    store: its locator.
    """

    def __init__(self, config: StudyConfig, trials: Sequence[Trial], store: str) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._store, self._study, self._kept_s = store, config.name, 0.0
        self._trials = list(trials)
        self._samples = config.samples
        self._suggested: dict[str, str] = {}
        self._asked = 0
        self._searches = {_group(trial): _optuna(config, trial) for trial in trials}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._asked >= self._samples * len(self._trials):
            return str(Searcher.FINISHED)
        base = self._trials[self._asked % len(self._trials)]
        hyper = self._searches[_group(base)].suggest(trial_id)
        if not isinstance(hyper, dict):
            return hyper
        hyper = {name: as_whole(name, value) for name, value in hyper.items()}
        trial = Trial(cell=base.cell, seed=base.seed, sample=self._asked // len(self._trials), hyper=hyper)
        self._suggested[trial_id] = _group(base)
        self._asked += 1
        return {"trial": trial.to_json()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._searches[self._suggested[trial_id]].on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._searches[self._suggested[trial_id]].on_trial_complete(trial_id, result, error)
        ended = sum(len(search._completed_trials) for search in self._searches.values())
        if ended == self._samples * len(self._trials) or time.monotonic() - self._kept_s > _KEEP_EVERY_S:
            self._keep()

    def _keep(self) -> None:
        """Write the journal anew, as a whole: an object of a bucket does not grow."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self._kept_s, said = time.monotonic(), optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            with tempfile.TemporaryDirectory(prefix="wsus-optuna-") as folder:
                journal = Path(folder) / "journal"
                storage = JournalStorage(JournalFileBackend(str(journal)))
                for group, search in self._searches.items():
                    study = optuna.create_study(storage=storage, study_name=f"{self._study} {group}", direction="maximize")
                    study.add_trials(search._ot_study.trials)
                open_store(self._store).write_bytes(optuna_key(self._study), journal.read_bytes())
        finally:
            optuna.logging.set_verbosity(said)

    def save(self, checkpoint_path: str) -> None:
        import cloudpickle

        state = (self._suggested, self._asked, self._searches)
        Path(checkpoint_path).write_bytes(cloudpickle.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        import pickle

        content = Path(checkpoint_path).read_bytes()
        self._suggested, self._asked, self._searches = pickle.loads(content)  # Tune's own state: trusted stores only


def _group(trial: Trial) -> str:
    return f"{trial.cell}-seed{trial.seed}"


def _optuna(config: StudyConfig, trial: Trial) -> OptunaSearch:
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.samplers import TPESampler

    def distribution(name: str, space: Range | Choice) -> BaseDistribution:
        if isinstance(space, Choice):
            return CategoricalDistribution(space.options)
        if is_whole(name):
            return IntDistribution(round(space.low), round(space.high), log=space.log)
        return FloatDistribution(space.low, space.high, log=space.log)

    space = {name: distribution(name, values) for name, values in config.search_space.items()}
    train, net = config.train_config(trial.cell, {}), config.net_config(trial.cell, {})
    default = {name: attrgetter(name)(train if hasattr(train, name.partition(".")[0]) else net) for name in space}
    sampler = TPESampler(seed=trial.seed)
    return OptunaSearch(space=space, metric=METRIC, mode="max", points_to_evaluate=[default], sampler=sampler)
