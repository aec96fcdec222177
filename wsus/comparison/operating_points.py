"""Operating points chosen on the development split, and what they give on the sets that did not choose them."""

from __future__ import annotations

import pandas as pd

from wsus.comparison.estimates import share_estimate
from wsus.comparison.result import OperatingPointResult
from wsus.evaluation.diagnostic import sensitivity_point, youden_point

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
    malignant, patients = (rows["label"] == 1).to_numpy(), rows["patient_id"].to_numpy()
    results = []
    for point in points:
        called = (rows["pom"] >= point.threshold).to_numpy()
        results.append(
            OperatingPointResult(
                backbone=str(rows["backbone"].iloc[0]),
                mode=str(rows["mode"].iloc[0]),
                split=str(rows["split"].iloc[0]),
                rule=point.rule,
                threshold=point.threshold,
                sensitivity=share_estimate(called[malignant], patients[malignant], confidence),
                specificity=share_estimate(~called[~malignant], patients[~malignant], confidence),
            )
        )
    return results
