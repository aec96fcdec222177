"""Operating points chosen on the development split, and what they give on the sets that did not choose them."""

from __future__ import annotations

import pandas as pd

from wsus.comparison.result import Estimate, OperatingPointResult
from wsus.evaluation.diagnostic import diagnostic_at, sensitivity_point, youden_point
from wsus.evaluation.intervals import Proportion

TARGET_SENSITIVITY = 0.95


def operating_point_results(
    rows: pd.DataFrame, development: pd.DataFrame | None, confidence: float
) -> list[OperatingPointResult]:
    """Sensitivity and specificity of one cell on one split at thresholds of its development split.

    Args:
        rows: predictions on the split.  development: those of the same cell and seed on the development split.
    """
    if development is None or development["label"].nunique() < 2 or rows["label"].nunique() < 2:
        return []
    points = (
        youden_point(development["label"], development["pom"]),
        sensitivity_point(development["label"], development["pom"], TARGET_SENSITIVITY),
    )
    results = []
    for point in points:
        found = diagnostic_at(rows["label"], rows["pom"], point.threshold, confidence)
        results.append(
            OperatingPointResult(
                backbone=str(rows["backbone"].iloc[0]),
                mode=str(rows["mode"].iloc[0]),
                split=str(rows["split"].iloc[0]),
                rule=point.rule,
                threshold=point.threshold,
                sensitivity=share_as_estimate(found.sensitivity),
                specificity=share_as_estimate(found.specificity),
            )
        )
    return results


def share_as_estimate(share: Proportion) -> Estimate:
    """A share with its Clopper-Pearson interval; None with a note where there was no case to count."""
    if share.ci is None:
        return Estimate(x=0, n=0, note="no case to count")
    low, high = share.ci
    return Estimate(value=share.estimate, low=low, high=high, method="Clopper-Pearson", x=share.count, n=share.total)
