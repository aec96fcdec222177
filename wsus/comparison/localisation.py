"""Localisation of one weak cell on one split: by class and by lesion size, beside what a blind guess reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from wsus.comparison.operating_points import share_as_estimate
from wsus.comparison.predictions import BASELINES
from wsus.comparison.result import (
    BoxAccuracyCurve,
    Estimate,
    LocalisationFigure,
    LocalisationGroup,
    LocalisationResult,
)
from wsus.errors import DataError
from wsus.evaluation.box_accuracy import CAM_THRESHOLDS, best_threshold, box_accuracy, hits_at, v2_hits
from wsus.evaluation.intervals import proportion
from wsus.evaluation.lesion_size import LesionSizes
from wsus.evaluation.paired import fisher_exact
from wsus.types import CLASS_NAMES

IOU_THRESHOLD = 0.5
SHARES = ("overlap", "iou50", "max_box_acc", "development_box_acc", "pointing")
MEANS = ("max_box_acc_v2", "iou", "dice", "energy_in_mask")
_COLUMNS = {"overlap": "localised", "pointing": "pointing_hit", "iou": "iou", "dice": "dice", "energy_in_mask": "energy_in_mask"}
_NOT_COMPUTED = "not computed when the images were scored"
Values = Mapping[str, NDArray[np.float64]]  # criterion -> one value per image, NaN where unknown


def localisation_result(
    rows: pd.DataFrame, development: pd.DataFrame | None, sizes: LesionSizes | None, confidence: float
) -> LocalisationResult | None:
    """Figures over the images that have a lesion mask; None where no image has one.

    Args:
        rows: predictions of the cell on the split.
        development: those of the same cell and seed on the development split, which chooses a threshold on the map.
        sizes: the split's images by lesion size.
    Raises:
        DataError: a list of IoUs by threshold is of another length than this version's thresholds.
    """
    masked = _masked(rows)
    if masked.empty:
        return None
    chosen = _masked(development) if development is not None else masked.iloc[:0]
    values = {prefix: _values(masked, chosen, prefix) for prefix in _prefixes()}
    groups = tuple(
        LocalisationGroup(variable=variable, level=level, n=int(inside.sum()), figures=_figures(values, inside, confidence))
        for variable, level, inside in _groups(masked, sizes)
        if inside.any()
    )
    return LocalisationResult(
        backbone=str(rows["backbone"].iloc[0]),
        split=str(rows["split"].iloc[0]),
        n=len(masked),
        without_mask=len(rows) - len(masked),
        groups=groups,
        fisher_p=_fisher(groups),
        curve=_curve(masked, chosen),
    )


def _masked(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["localised"].notna()]


def _prefixes() -> tuple[str, ...]:
    return ("", *(f"{baseline}_" for baseline in BASELINES))


def _groups(rows: pd.DataFrame, sizes: LesionSizes | None) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    yield "all", "all", np.ones(len(rows), dtype=bool)
    for label, name in enumerate(CLASS_NAMES):
        yield "class", name, (rows["label"] == label).to_numpy(dtype=bool)
    if sizes is not None:
        levels = sizes.of(rows["image_id"].astype(str))
        for level in sizes.levels:
            yield sizes.measure, level, (levels == level).fillna(False).to_numpy(dtype=bool)


def _values(rows: pd.DataFrame, development: pd.DataFrame, prefix: str) -> Values:
    """What each image adds to each figure, of the map (no prefix) or of a baseline; criteria that were not computed lack."""
    columns = {name: f"{prefix}{column}" for name, column in _COLUMNS.items()}
    values = {name: _numbers(rows[column]) for name, column in columns.items() if column in rows.columns}
    if "iou" in values:
        values["iou50"] = np.where(np.isnan(values["iou"]), np.nan, values["iou"] >= IOU_THRESHOLD)
    ious_NT, best_NT = (_curves(rows, f"{prefix}{name}") for name in ("iou_by_threshold", "best_iou_by_threshold"))
    if ious_NT is not None:
        values["max_box_acc"] = hits_at(ious_NT, best_threshold(ious_NT)).astype(float)
        chosen_NT = _curves(development, f"{prefix}iou_by_threshold")
        if chosen_NT is not None:
            values["development_box_acc"] = hits_at(ious_NT, best_threshold(chosen_NT)).astype(float)
    if best_NT is not None:
        values["max_box_acc_v2"] = v2_hits(best_NT)
    return values


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan))


def _curves(rows: pd.DataFrame, column: str) -> NDArray[np.float32] | None:
    """IoUs of every image at every threshold, (images, thresholds); None where they lack for any image."""
    if column not in rows.columns or rows.empty or rows[column].isna().any():
        return None
    curves = list(rows[column])
    lengths = {len(curve) for curve in curves}
    if lengths != {len(CAM_THRESHOLDS)}:
        raise DataError(
            f"column {column}: expected {len(CAM_THRESHOLDS)} IoUs per image, one per threshold, found {sorted(lengths)}; "
            "the predictions are of another version: train the cell again, or compare with the version that wrote them"
        )
    return np.stack(curves).astype(np.float32)


def _figures(values: Mapping[str, Values], inside: NDArray[np.bool_], confidence: float) -> tuple[LocalisationFigure, ...]:
    def estimate(prefix: str, criterion: str) -> Estimate:
        if criterion not in values[prefix]:
            return Estimate(note=_NOT_COMPUTED)
        known = values[prefix][criterion][inside]
        known = known[np.isfinite(known)]
        return _share(known, confidence) if criterion in SHARES else _mean(known, confidence)

    return tuple(
        LocalisationFigure(
            criterion=criterion,
            own=estimate("", criterion),
            centre_box=estimate("centre_box_", criterion),
            random_map=estimate("random_map_", criterion),
        )
        for criterion in (*SHARES, *MEANS)
    )


def _share(hits: NDArray[np.float64], confidence: float) -> Estimate:
    return share_as_estimate(proportion(int(hits.sum()), hits.size, confidence))


def _mean(known: NDArray[np.float64], confidence: float) -> Estimate:
    """A mean with Student's interval, clipped to [0, 1]; without one where all images are equal, or there is one or none."""
    mean = float(known.mean()) if known.size else None
    if mean is None or np.ptp(known) == 0:
        return Estimate(value=mean, n=known.size, note="no two images that differ: no interval")
    reach = float(stats.t.ppf((1 + confidence) / 2, known.size - 1) * known.std(ddof=1) / np.sqrt(known.size))
    return Estimate(value=mean, low=max(mean - reach, 0.0), high=min(mean + reach, 1.0), method="Student t", n=known.size)


def _fisher(groups: tuple[LocalisationGroup, ...]) -> dict[str, float | None]:
    benign, malignant = (next((group for group in groups if group.level == name), None) for name in CLASS_NAMES)
    found: dict[str, float | None] = {}
    for criterion in SHARES:
        found[criterion] = None
        if benign is not None and malignant is not None:
            first, second = benign.figure(criterion).own, malignant.figure(criterion).own
            if first.x is not None and first.n is not None and second.x is not None and second.n is not None:
                found[criterion] = fisher_exact(first.x, first.n - first.x, second.x, second.n - second.x).p
    return found


def _curve(rows: pd.DataFrame, development: pd.DataFrame) -> BoxAccuracyCurve | None:
    curves = [_curves(rows, f"{prefix}iou_by_threshold") for prefix in _prefixes()]
    own, centre, random = curves
    if own is None or centre is None or random is None:
        return None
    chosen = _curves(development, "iou_by_threshold")
    return BoxAccuracyCurve(
        thresholds=CAM_THRESHOLDS,
        own=tuple(box_accuracy(own).tolist()),
        centre_box=tuple(box_accuracy(centre).tolist()),
        random_map=tuple(box_accuracy(random).tolist()),
        best=CAM_THRESHOLDS[best_threshold(own)],
        development=None if chosen is None else CAM_THRESHOLDS[best_threshold(chosen)],
    )
