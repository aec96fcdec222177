"""Trials are run in the order in which Tune's own scheduler runs them, without a look at those that have ended."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from ray.tune.schedulers.trial_scheduler import FIFOScheduler

from tune_jobs.per_cell import FirstComeFirstServed


@dataclass(eq=False)
class Queued:
    trial_id: str
    status: str = "PENDING"


@dataclass
class Controller:
    """What a scheduler sees of Tune's controller, which takes a trial that is tried again to the end of its list."""

    scheduler: FirstComeFirstServed
    trials: list[Queued] = field(default_factory=list)

    def add(self, trial: Queued) -> None:
        if trial in self.trials:
            self.trials.remove(trial)
        self.trials.append(trial)
        trial.status = "PENDING"
        self.scheduler.on_trial_add(self, trial)

    def get_trials(self) -> list[Queued]:
        return self.trials

    def get_live_trials(self) -> set[Queued]:
        return {trial for trial in self.trials if trial.status not in ("TERMINATED", "ERROR")}


@pytest.mark.parametrize("seed", range(20))
def test_the_next_trial_is_that_of_tunes_own_scheduler(seed: int) -> None:
    choose, scheduler, reference = random.Random(seed), FirstComeFirstServed(), FIFOScheduler()
    controller, added = Controller(scheduler), 0
    for _ in range(300):
        event = choose.choice(["add", "add", "run", "end", "end", "fail", "pause", "again"])
        running = [trial for trial in controller.trials if trial.status == "RUNNING"]
        if event == "add":
            controller.add(Queued(f"{choose.random()}"))
            added += 1
        elif event == "run":
            chosen = scheduler.choose_trial_to_run(controller)
            if chosen is not None:
                chosen.status = "RUNNING"
        elif running:
            trial = choose.choice(running)
            if event == "again":
                controller.add(trial)
            else:
                trial.status = {"end": "TERMINATED", "fail": "ERROR", "pause": "PAUSED"}[event]
        assert scheduler.choose_trial_to_run(controller) is reference.choose_trial_to_run(controller)
    assert added > 40
