"""What Ray Tune kept of the trials: their epochs, what they took, and why some failed.

A result is a `ray.tune.Result`; nothing of Ray is needed to read one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from tune_jobs.compute import Compute
from tune_jobs.ended import TrialEnd, end_of_report
from tune_jobs.study import Trial

_NOT_BEGUN = "not begun"
_FAILURE = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)
_OUT_OF_REACH = re.compile(r"The actor (died unexpectedly|\w+ is unavailable)")  # Ray's words, of no fault of the trial's own


def history(result: Any) -> pd.DataFrame:
    """One row per epoch; an epoch that was trained again after an interruption counts once."""
    columns = [
        "epoch",
        "train_loss",
        "development_loss",
        "development_auc",
        "best_auc",
        "best_epoch",
        "lr",
        "train_s",
        "data_wait_s",
        "epoch_s",
    ]
    return result.metrics_dataframe[columns].drop_duplicates("epoch", keep="last").sort_values("epoch", ignore_index=True)


def trial_compute(result: Any) -> Compute:
    """What a trial took until it ended or failed; an epoch that was trained again after an interruption counts again."""
    epochs = result.metrics_dataframe
    if epochs is None or "cpu_hours" not in epochs.columns or epochs["cpu_hours"].isna().all():
        return Compute()  # it never reported, or an older version trained it
    epochs = epochs[epochs["cpu_hours"].notna()]
    return Compute(
        seconds=float(epochs["epoch_s"].sum()),
        cpu_hours=float(epochs["cpu_hours"].sum()),
        gpu_hours=float(epochs["gpu_hours"].sum()),
        peak_memory_mb=float(epochs["peak_memory_mb"].max()),
        peak_gpu_memory_mb=float(epochs["peak_gpu_memory_mb"].max()),
        devices=tuple(dict.fromkeys(epochs["device"].astype(str))),
    )


def trial_end(result: Any, rungs: tuple[int, ...]) -> TrialEnd | None:
    """How far a trial came and what ended it; None where it failed, or never reported."""
    return None if result.error is not None or "epoch" not in result.metrics else end_of_report(result.metrics, rungs)


def failures_of(grid: Iterable[Any], rungs: tuple[int, ...]) -> list[dict[str, str]]:
    """Trials without an end. One that never reported has no config in its result, but its folder has its name."""
    failed = []
    for result in grid:
        end = trial_end(result, rungs)
        if result.error is not None:
            failed.append((Path(result.path).name, cause(result.error)))
        elif end is None or end.why is None:
            came = f"did not reach its end (epoch {end.epochs})" if end and end.epochs else _NOT_BEGUN
            failed.append((Path(result.path).name, came))
    return [{"trial": name, "cell": name.split("-seed")[0], "error": error} for name, error in failed]


def not_begun(grid: Iterable[Any], trials: Iterable[Trial]) -> list[dict[str, str]]:
    """As failures_of: the trials that a spent budget left no time to begin."""
    begun = {Path(result.path).name for result in grid}
    return [{"trial": str(trial), "cell": str(trial.cell), "error": _NOT_BEGUN} for trial in trials if str(trial) not in begun]


def cause(error: BaseException | str | None) -> str:
    """The line that a person needs of what a trial raised."""
    origin = getattr(error, "cause", None) or error
    text = str(origin).strip()
    if "Traceback" in text or "\n" in text:
        text = [line.strip() for line in text.splitlines() if line.strip()][-1]
    return text or type(origin).__name__


def last_failure(errors: str) -> str:
    """The line that a person needs of a trial's `error.txt`, into which Tune writes one failure below the other."""
    said = _FAILURE.split(errors)[-1].strip()
    if _OUT_OF_REACH.match(said):
        return f"its process or its node is gone or out of reach ({cause(said)})"
    return cause(said)
