"""Did a trial reach its end, and why: all epochs, patience, or the scheduler. Loads neither torch nor Ray.

A trial writes it into its last report, its cell into `cell.json`. Earlier versions wrote neither: what an interruption had left
passed for trained there. Of their cells it is found out from the epochs in `history.csv`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tune_jobs.keys import cell_key
from wsus.storage import Store
from wsus.types import ENSEMBLE

if TYPE_CHECKING:
    import pandas as pd

Why = Literal["epochs", "patience", "scheduler"]
ASHA_REDUCTION = 4  # one trial of so many goes on at a rung


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialEnd:
    """How far a trial came.  why: what ended it; None where it did not reach its end."""

    epochs: int
    planned: int
    why: Why | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrialEnd:
        return cls(epochs=value["epochs"], planned=value["planned"], why=value["why"])


def rung_epochs(scheduler: str, epochs: int) -> tuple[int, ...]:
    """Epochs after which the scheduler may end a trial: ASHA's, each ASHA_REDUCTION times the one before, and the last."""
    rungs = (min(3, epochs) * ASHA_REDUCTION**rung for rung in range(epochs.bit_length())) if scheduler == "asha" else ()
    return (*(epoch for epoch in rungs if epoch < epochs), epochs)


def end_of_report(report: Mapping[str, Any], rungs: tuple[int, ...]) -> TrialEnd:
    """From a trial's last report. Tune marks it `done` where the scheduler ended the trial, which itself knows nothing of it."""
    epochs, planned = int(report["epoch"]), int(report["epochs"])
    why: Why | None = report.get("ended") or None
    if why is None and report.get("done"):
        why = "epochs" if epochs >= planned else "scheduler" if epochs in rungs else "patience"  # the last: of an older version
    return TrialEnd(epochs=epochs, planned=planned, why=why)


def ends_of_cell(store: Store, study: str, cell: object, config: Mapping[str, Any]) -> dict[str, TrialEnd]:
    """How far the trials of a published cell came, by the trial's name.

    Args:
        config: the study's configuration, as study.json holds it.
    """
    key = cell_key(study, cell)
    info = store.read_json(f"{key}/cell.json")
    if "ended" in info:
        return {trial: TrialEnd.from_json(value) for trial, value in info["ended"].items()}
    import pandas as pd  # here, since a list of studies seldom meets such a cell

    table = pd.read_csv(io.BytesIO(store.read_bytes(f"{key}/history.csv")))
    settings, rungs = info["hyperparameters"], rung_epochs(config["scheduler"], config["train"]["epochs"])
    return {
        f"{cell}-seed{seed}-sample{sample}": _end_of_history(rows, settings["epochs"], settings["patience"], rungs)
        for (seed, sample), rows in table.groupby(["seed", "sample"])
    }


def stands_as_asked(store: Store, study: str, cell: object, *, ensemble: bool) -> bool:
    """Whether a published cell stands for its seeds in the way that is asked for: all together, or its best one."""
    return bool((store.read_json(f"{cell_key(study, cell)}/cell.json")["best_seed"] == ENSEMBLE) == ensemble)


def half_trained(store: Store, study: str, cell: object, config: Mapping[str, Any]) -> str | None:
    """What a published cell lacks in a few words; None where all of its trials reached their end."""
    ends = ends_of_cell(store, study, cell, config)
    short = [f"{end.epochs} of {end.planned} epochs" for end in ends.values() if end.why is None]
    if not short:
        return None
    return f"{cell}: trained for {short[0]}" + (f", and {len(short) - 1} more of its trials are short" if short[1:] else "")


def _end_of_history(rows: pd.DataFrame, planned: int, patience: int | None, rungs: tuple[int, ...]) -> TrialEnd:
    rows = rows.sort_values("epoch")
    epochs = int(rows["epoch"].iloc[-1])
    best = int(rows["epoch"].iloc[int(rows["development_auc"].to_numpy().argmax())])
    why: Why | None = None
    if epochs >= planned:
        why = "epochs"
    elif patience is not None and epochs - best >= patience:
        why = "patience"
    elif epochs in rungs:
        why = "scheduler"
    return TrialEnd(epochs=epochs, planned=planned, why=why)
