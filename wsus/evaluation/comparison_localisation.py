"""Localisation of one weak cell on one split: three criteria by class, beside what a blind guess reaches."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsus.evaluation.comparison_result import Estimate, LocalisationRate, LocalisationResult
from wsus.evaluation.intervals import proportion
from wsus.evaluation.paired import fisher_exact

IOU_THRESHOLD = 0.5
_SOURCES = {"overlap": "localised", "iou50": "iou", "pointing": "pointing_hit"}


def localisation_result(rows: pd.DataFrame, confidence: float) -> LocalisationResult | None:
    """Rates over the images that have a lesion mask; None where no image has one."""
    masked = rows[rows["localised"].notna()]
    if masked.empty:
        return None
    return LocalisationResult(
        backbone=str(rows["backbone"].iloc[0]),
        split=str(rows["split"].iloc[0]),
        n=len(masked),
        without_mask=len(rows) - len(masked),
        rates=tuple(_rate(masked, criterion, column, confidence) for criterion, column in _SOURCES.items()),
        mean_iou=_mean(masked, "iou"),
        mean_dice=_mean(masked, "dice"),
        mean_energy_in_mask=_mean(masked, "energy_in_mask"),
    )


def _rate(rows: pd.DataFrame, criterion: str, column: str, confidence: float) -> LocalisationRate:
    ours = [_share(rows, criterion, column, label, confidence) for label in (0, 1)]
    centre = [_share(rows, criterion, f"centre_box_{column}", label, confidence) for label in (0, 1)]
    random = [_share(rows, criterion, f"random_map_{column}", label, confidence) for label in (0, 1)]
    return LocalisationRate(
        criterion=criterion,
        benign=ours[0],
        malignant=ours[1],
        fisher_p=_fisher(*ours),
        centre_box_benign=centre[0],
        centre_box_malignant=centre[1],
        random_map_benign=random[0],
        random_map_malignant=random[1],
    )


def _share(rows: pd.DataFrame, criterion: str, column: str, label: int, confidence: float) -> Estimate:
    if column not in rows.columns:
        return Estimate(note=f"{column} was not computed")
    values = pd.to_numeric(rows.loc[rows["label"] == label, column], errors="coerce").to_numpy(dtype=float)
    known: NDArray[np.float64] = values[np.isfinite(values)]
    hits = int((known >= (IOU_THRESHOLD if criterion == "iou50" else 0.5)).sum())
    share = proportion(hits, known.size, confidence)
    if share.ci is None:
        return Estimate(x=0, n=0, note="no image of this class has a mask")
    return Estimate(value=share.estimate, low=share.ci[0], high=share.ci[1], method="Clopper-Pearson", x=hits, n=known.size)


def _fisher(benign: Estimate, malignant: Estimate) -> float | None:
    if benign.x is None or benign.n is None or malignant.x is None or malignant.n is None:
        return None
    return fisher_exact(benign.x, benign.n - benign.x, malignant.x, malignant.n - malignant.x).p


def _mean(rows: pd.DataFrame, column: str) -> float | None:
    if column not in rows.columns:
        return None
    values = pd.to_numeric(rows[column], errors="coerce").to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None
