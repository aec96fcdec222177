"""AUC inside parts of a split, and the cases that most cells got wrong."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.comparison_cells import auc_as_estimate
from wsus.evaluation.comparison_result import Estimate, HardCase, SubgroupResult

_SIZE_EDGES_MM = ((0.0, 10.0, "< 10 mm"), (10.0, 20.0, "10 to < 20 mm"), (20.0, float("inf"), "≥ 20 mm"))
_VARIABLES = ("device", "birads", "lesion_size_mm")
_ATTRIBUTES = ("birads", "device", "histology", "lesion_size_mm")
_MAX_LEVELS = 8


def subgroup_results(rows: pd.DataFrame, confidence: float, minimum: int) -> list[SubgroupResult]:
    """AUC of one cell on one split by scanner, BI-RADS category and lesion size (mm).

    Args:
        minimum: cases of each class below which no AUC is given; the note then says how many there were.
    """
    results = []
    for variable in _VARIABLES:
        levels = _levels(rows, variable)
        for level in sorted(levels.dropna().unique(), key=_level_order):
            part = rows[(levels == level).fillna(False).to_numpy(dtype=bool)]
            results.append(
                SubgroupResult(
                    backbone=str(rows["backbone"].iloc[0]),
                    split=str(rows["split"].iloc[0]),
                    variable=variable,
                    level=str(level),
                    n=len(part),
                    n_malignant=int((part["label"] == 1).sum()),
                    auc=_auc(part, confidence, minimum),
                )
            )
    return results


def hard_cases(rows: pd.DataFrame, limit: int) -> tuple[HardCase, ...]:
    """Images of the internal and external split that at least half of the cells called wrongly, worst first."""
    scored = rows[rows["split"].isin(["internal", "external"])]
    if scored.empty:
        return ()
    wrong = scored["called_malignant"].astype(bool) != (scored["label"] == 1)
    error = (scored["pom"] - scored["label"]).abs()
    by_image = scored.assign(wrong=wrong, error=error).groupby(["split", "image_id"], as_index=False)
    summary = by_image.agg(
        label=("label", "first"), wrong=("wrong", "sum"), cells=("wrong", "size"), pom=("pom", "mean"), error=("error", "mean")
    )
    summary = summary[2 * summary["wrong"] >= summary["cells"]]
    summary = summary.sort_values(["error", "split", "image_id"], ascending=[False, True, True]).head(limit)
    known = {(row["split"], row["image_id"]): row for row in scored.to_dict("records")}
    return tuple(
        HardCase(
            image_id=str(row["image_id"]),
            split=str(row["split"]),
            label=int(row["label"]),
            wrong=int(row["wrong"]),
            cells=int(row["cells"]),
            mean_pom=float(row["pom"]),
            attributes=_attributes(known[row["split"], row["image_id"]]),
        )
        for row in summary.to_dict("records")
    )


def _attributes(row: dict[Hashable, Any]) -> dict[str, str]:
    known = {name: row[name] for name in _ATTRIBUTES if name in row and pd.notna(row[name])}
    return {name: f"{value:.0f}" if isinstance(value, float) else str(value) for name, value in known.items()}


def _levels(rows: pd.DataFrame, variable: str) -> pd.Series:
    """The subgroup of every row; null where it is unknown, or where there are too many levels or one only."""
    nothing = pd.Series(None, index=rows.index, dtype=object)
    if variable not in rows.columns:
        return nothing
    values = rows[variable]
    if variable == "lesion_size_mm":
        sizes = pd.to_numeric(values, errors="coerce")
        levels = nothing.copy()
        for low, high, name in _SIZE_EDGES_MM:
            levels[(sizes >= low) & (sizes < high)] = name
    else:
        levels = values.where(values.isna(), values.astype(str)).astype(object)
    return levels if 2 <= levels.dropna().nunique() <= _MAX_LEVELS else nothing


def _level_order(level: str) -> tuple[int, str]:
    sizes = [name for _, _, name in _SIZE_EDGES_MM]
    return (sizes.index(level), level) if level in sizes else (0, level)


def _auc(part: pd.DataFrame, confidence: float, minimum: int) -> Estimate:
    n_malignant = int((part["label"] == 1).sum())
    n_benign = len(part) - n_malignant
    if min(n_malignant, n_benign) < minimum:
        note = f"{n_benign} benign and {n_malignant} malignant: fewer than {minimum} of a class, no AUC"
        return Estimate(n=len(part), note=note)
    return auc_as_estimate(auc_with_interval(part["label"], part["pom"], confidence))
