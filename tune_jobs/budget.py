"""When a run of a study trains no further: its budget is spent, or its trials fail alike. What ended by then is kept.

A study of a thousand trials on fifty nodes must not spend a night on one mistake in its settings.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tune_jobs.study import Resources
from wsus.errors import StudyError


class BudgetSpentError(Exception):
    """Raised within Tune's loop; the run then scores the cells whose trials ended. Its text names the budget."""


class Budget:
    """What one run may take, counted from Tune's events.

    Args:
        clock: seconds, of any origin.
    """

    def __init__(self, resources: Resources, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._resources, self._clock, self._start = resources, clock, clock()
        self._core_hours = self._gpu_hours = 0.0
        self._any_ended = False
        self._causes: Counter[str] = Counter()

    def reported(self, result: Mapping[str, Any]) -> None:
        """A trial ended an epoch."""
        self._core_hours += float(result["cpu_hours"])
        self._gpu_hours += float(result["gpu_hours"])

    def ended(self) -> None:
        """A trial came to its end."""
        self._any_ended = True

    def failed(self, cause: str) -> None:
        """A trial failed for good."""
        self._causes[cause] += 1

    def check(self) -> None:
        """
        Raises:
            BudgetSpentError: by the clock, or by what the trials took.  StudyError: all trials so far failed alike.
        """
        spent = {
            "max_hours": (self._clock() - self._start) / 3600,
            "max_core_hours": self._core_hours,
            "max_gpu_hours": self._gpu_hours,
        }
        for name, value in spent.items():
            limit = getattr(self._resources, name)
            if limit is not None and value >= limit:
                raise BudgetSpentError(f"resources.{name}={limit:g}")
        most = self._resources.alike_failures
        if most and not self._any_ended and len(self._causes) == 1 and self._causes.total() >= most:
            raise StudyError(
                f"the first {most} trials that ended all failed alike: {next(iter(self._causes))}; no more were tried. Mend it "
                "and run the same line again, or set resources.alike_failures=0 to try all trials whatever happens"
            )
