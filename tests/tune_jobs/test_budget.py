"""A run's budget: by the clock, by what trials took, and by failures that are all alike."""

from collections.abc import Callable

import pytest

from tune_jobs.budget import Budget, BudgetSpentError
from tune_jobs.study import Resources
from wsus.errors import ConfigError, StudyError


def clock(*seconds: float) -> Callable[[], float]:
    readings = iter(seconds)
    return lambda: next(readings)


def test_hours_by_the_clock() -> None:
    budget = Budget(Resources(max_hours=1.0), clock=clock(100.0, 3699.0, 3700.0))
    budget.check()
    with pytest.raises(BudgetSpentError, match=r"resources.max_hours=1"):
        budget.check()


@pytest.mark.parametrize("name", ["max_core_hours", "max_gpu_hours"])
def test_hours_of_all_trials_together(name: str) -> None:
    budget = Budget(Resources(**{name: 1.0}))  # type: ignore[arg-type]
    for _ in range(2):
        budget.check()
        budget.reported({"cpu_hours": 0.5, "gpu_hours": 0.5})
    with pytest.raises(BudgetSpentError, match=name):
        budget.check()


def test_trials_that_all_fail_alike_stop_the_study() -> None:
    budget = Budget(Resources(alike_failures=3))
    for _ in range(3):
        budget.check()
        budget.failed("CUDA out of memory")
    with pytest.raises(StudyError, match="the first 3 trials that ended all failed alike: CUDA out of memory"):
        budget.check()


def test_failures_of_several_kinds_or_beside_a_trial_that_ended_stop_nothing() -> None:
    several, beside = Budget(Resources(alike_failures=2)), Budget(Resources(alike_failures=2))
    beside.ended()
    for number in range(4):
        several.failed(f"cause {number % 2}")
        beside.failed("one cause")
    several.check()
    beside.check()


def test_none_is_no_budget_and_nought_no_limit_of_failures() -> None:
    budget = Budget(Resources(alike_failures=0))
    for _ in range(100):
        budget.failed("one cause")
        budget.reported({"cpu_hours": 1e6, "gpu_hours": 1e6})
    budget.check()


@pytest.mark.parametrize("name", ["max_hours", "max_core_hours", "max_gpu_hours"])
def test_budget_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"resources.{name} must be > 0; got 0.0"):
        Resources(**{name: 0.0})  # type: ignore[arg-type]
