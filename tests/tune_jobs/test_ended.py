"""Whether a trial reached its end, and why: from what it reported, and from what an earlier version kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tune_jobs.ended import TrialEnd, end_of_report, ends_of_cell, half_trained, rung_epochs
from wsus.storage import FolderStore

ASHA = rung_epochs("asha", 18)


@pytest.mark.parametrize(
    ("report", "rungs", "why"),
    [
        ({"epoch": 18, "done": True, "ended": "epochs"}, (18,), "epochs"),
        ({"epoch": 9, "done": True, "ended": "patience"}, (18,), "patience"),
        ({"epoch": 3, "done": True, "ended": ""}, ASHA, "scheduler"),  # Tune marks what the scheduler ends
        ({"epoch": 3, "done": False, "ended": ""}, ASHA, None),  # an interruption
        ({"epoch": 17, "done": False, "ended": ""}, (18,), None),
        ({"epoch": 18, "done": True}, (18,), "epochs"),  # an earlier version
        ({"epoch": 7, "done": True}, (18,), "patience"),
        ({"epoch": 12, "done": True}, ASHA, "scheduler"),
        ({"epoch": 5, "done": False}, (18,), None),
    ],
)
def test_a_last_report_says_why_a_trial_ended(report: dict[str, Any], rungs: tuple[int, ...], why: str | None) -> None:
    assert end_of_report({"epochs": 18, **report}, rungs) == TrialEnd(epochs=report["epoch"], planned=18, why=why)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("aucs", "patience", "scheduler", "why"),
    [
        ([0.5] * 6, None, "none", "epochs"),
        ([0.5, 0.9, 0.8, 0.7], 2, "none", "patience"),
        ([0.5, 0.9, 0.8], 2, "none", None),
        ([0.5, 0.9, 0.8], None, "asha", "scheduler"),
        ([0.5, 0.9], None, "asha", None),
        ([0.5, 0.9, 0.8, 0.7], None, "none", None),
    ],
)
def test_epochs_of_an_earlier_version_are_explained_or_not(
    tmp_path: Path, aucs: list[float], patience: int | None, scheduler: str, why: str | None
) -> None:
    store, cell = FolderStore(tmp_path), "resnet34-weak"
    store.write_json(f"studies/s/cells/{cell}/cell.json", {"hyperparameters": {"epochs": 6, "patience": patience}})
    rows = "".join(f"2,1,{number},{auc}\n" for number, auc in enumerate(aucs, start=1))
    store.write_bytes(f"studies/s/cells/{cell}/history.csv", f"seed,sample,epoch,development_auc\n{rows}".encode())
    config = {"scheduler": scheduler, "train": {"epochs": 6}}

    ends = ends_of_cell(store, "s", cell, config)

    assert ends == {"resnet34-weak-seed2-sample1": TrialEnd(epochs=len(aucs), planned=6, why=why)}  # type: ignore[arg-type]
    assert (half_trained(store, "s", cell, config) is None) == (why is not None)
