"""A cell inside parts of a split."""

from __future__ import annotations

import numpy as np
import pandas as pd

from wsus.comparison.estimates import Estimate, auc_estimate, share_estimate
from wsus.comparison.result import SubgroupResult
from wsus.data.described import DESCRIBED
from wsus.evaluation.lesion_size import LesionSizes

_VARIABLES = tuple(column.name for column in DESCRIBED if column.subgroup)
_MAX_LEVELS = 8
_AGE_EDGES = (40.0, 50.0, 60.0)  # years, as screening programmes divide
_AGE_NAMES = ("< 40 years", "40 to 49 years", "50 to 59 years", "≥ 60 years")


def subgroup_results(rows: pd.DataFrame, sizes: LesionSizes | None, confidence: float, minimum: int) -> list[SubgroupResult]:
    """One cell on one split by scanner, BI-RADS category, histology, calipers in the picture, age, and lesion size.

    Args:
        sizes: the split's images by lesion size; None where it is unknown.
        minimum: cases of each class below which no AUC is given; the note then says how many there were.
    """
    groupings = {variable: _levels(rows, variable) for variable in _VARIABLES}
    order = {variable: sorted(levels.dropna().unique(), key=_others_last) for variable, levels in groupings.items()}
    groupings["age_years"], order["age_years"] = _ages(rows), list(_AGE_NAMES)
    if sizes is not None:
        groupings[sizes.measure], order[sizes.measure] = sizes.of(rows["image_id"].astype(str)), list(sizes.levels)
    results = []
    for variable, levels in groupings.items():
        parts = [(level, rows[(levels == level).fillna(False).to_numpy(dtype=bool)]) for level in order[variable]]
        parts = [(level, part) for level, part in parts if len(part)]
        if len(parts) > 1:
            results += [_result(part, variable, level, confidence, minimum) for level, part in parts]
    return results


def _result(part: pd.DataFrame, variable: str, level: str, confidence: float, minimum: int) -> SubgroupResult:
    malignant = (part["label"] == 1).to_numpy()
    called, patients = part["called_malignant"].to_numpy(dtype=bool), part["patient_id"].to_numpy()
    return SubgroupResult(
        backbone=str(part["backbone"].iloc[0]),
        split=str(part["split"].iloc[0]),
        variable=variable,
        level=str(level),
        n=len(part),
        n_malignant=int(malignant.sum()),
        auc=_auc(part, confidence, minimum),
        sensitivity=share_estimate(called[malignant], patients[malignant], confidence),
        specificity=share_estimate(~called[~malignant], patients[~malignant], confidence),
    )


def _ages(rows: pd.DataFrame) -> pd.Series:
    """The age group of every row, null where the age is unknown."""
    if "age_years" not in rows.columns:
        return pd.Series(None, index=rows.index, dtype=object)
    ages = pd.to_numeric(rows["age_years"], errors="coerce").astype(float)
    names = np.array(_AGE_NAMES, dtype=object)[np.searchsorted(_AGE_EDGES, ages.fillna(0.0).to_numpy(), side="right")]
    return pd.Series(names, index=rows.index, dtype=object).where(ages.notna())


def _levels(rows: pd.DataFrame, variable: str) -> pd.Series:
    """The subgroup of every row, null where it is unknown; the rarer ones together where there are too many."""
    if variable not in rows.columns:
        return pd.Series(None, index=rows.index, dtype=object)
    values = rows[variable]
    levels = values.where(values.isna(), values.astype(str)).astype(object)
    counts = levels.value_counts()
    if len(counts) <= _MAX_LEVELS:
        return levels
    ordered = sorted(counts.index, key=lambda level: (-int(counts[level]), level))
    rarer = ordered[_MAX_LEVELS - 1 :]
    return levels.where(~levels.isin(rarer), f"{len(rarer)} others")


def _others_last(level: str) -> tuple[bool, str]:
    return level.endswith(" others"), level


def _auc(part: pd.DataFrame, confidence: float, minimum: int) -> Estimate:
    n_malignant = int((part["label"] == 1).sum())
    n_benign = len(part) - n_malignant
    if min(n_malignant, n_benign) < minimum:
        note = f"{n_benign} benign and {n_malignant} malignant: fewer than {minimum} of a class, no AUC"
        return Estimate(n=len(part), note=note)
    return auc_estimate(part, confidence)
