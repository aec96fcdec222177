"""Localisation of one weak cell on one split: by class and by lesion size, beside what a blind guess reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from wsus.comparison.estimates import OVER_PATIENTS, Estimate, share_estimate
from wsus.comparison.localisation_result import BoxAccuracyCurve, LocalisationFigure, LocalisationGroup, LocalisationResult
from wsus.comparison.predictions import BASELINES, LEVEL_COLUMNS
from wsus.errors import DataError
from wsus.evaluation.box_accuracy import (
    CAM_THRESHOLDS,
    OLDER_THRESHOLDS,
    best_threshold,
    box_accuracy,
    hits_at,
    v2_hits,
)
from wsus.evaluation.clustered_shares import clustered_paired_shares, design_effect
from wsus.evaluation.lesion_size import LesionSizes
from wsus.evaluation.paired import fisher_exact, mcnemar_exact
from wsus.evaluation.pixel_precision import leave_one_out, pixel_average_precision, pixel_precision_bounds
from wsus.evaluation.tails import normal_two_sided, student_two_sided
from wsus.types import CLASS_NAMES

IOU_THRESHOLD = 0.5
SHARES = ("overlap", "iou50", "max_box_acc", "development_box_acc", "pointing", "pointing_15px")
PIXELS = "pxap"
MEANS = ("max_box_acc_v2", "iou", "dice", "energy_in_mask")
_COLUMNS = {
    "overlap": "localised",
    "pointing": "pointing_hit",
    "pointing_15px": "pointing_hit_15px",
    "iou": "iou",
    "dice": "dice",
    "energy_in_mask": "energy_in_mask",
}
_GRIDS = {len(grid): grid for grid in (CAM_THRESHOLDS, OLDER_THRESHOLDS)}
_NOT_COMPUTED = "not computed when the images were scored"
Values = Mapping[str, NDArray[np.float64]]  # criterion -> one value per image, NaN where unknown
_OTHER_VERSION = (
    "expected {} IoUs per image, one per threshold, found {}; the predictions are of another version: train the cell again,"
    " or compare with the version that wrote them"
)
Levels = tuple[NDArray[np.float32], NDArray[np.float32]]  # of the lesion's and of all pixels: images x levels


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
    levels = {prefix: _levels(masked, prefix) for prefix in _prefixes()}
    patients = np.unique(masked["patient_id"].to_numpy(), return_inverse=True)[1]
    groups = tuple(
        LocalisationGroup(
            variable=variable,
            level=level,
            n=int(inside.sum()),
            figures=(
                *_figures(values, inside, patients, confidence),
                _pixel_figure(
                    {prefix: None if of is None else (of[0][inside], of[1][inside]) for prefix, of in levels.items()},
                    patients[inside],
                    confidence,
                ),
            ),
        )
        for variable, level, inside in _groups(masked, sizes)
        if inside.any()
    )
    return LocalisationResult(
        backbone=str(rows["backbone"].iloc[0]),
        split=str(rows["split"].iloc[0]),
        n=len(masked),
        without_mask=len(rows) - len(masked),
        groups=groups,
        fisher_p={name: _between_classes(values[""].get(name), masked, patients) for name in SHARES},
        curve=_curve(masked, chosen),
        pxap_bounds=pixel_precision_bounds(*levels[""]) if levels[""] is not None else None,
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
            _same_grid(ious_NT, chosen_NT)
            values["development_box_acc"] = hits_at(ious_NT, best_threshold(chosen_NT)).astype(float)
    if best_NT is not None:
        values["max_box_acc_v2"] = v2_hits(best_NT)
    return values


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan))


def _curves(rows: pd.DataFrame, column: str) -> NDArray[np.float32] | None:
    """IoUs of every image at every threshold, (images, thresholds); None where they lack for any image."""
    curves_NT = _lists(rows, column)
    if curves_NT is not None and curves_NT.shape[1] not in _GRIDS:
        raise DataError(f"column {column}: {_OTHER_VERSION.format(len(CAM_THRESHOLDS), [curves_NT.shape[1]])}")
    return curves_NT


def _levels(rows: pd.DataFrame, prefix: str) -> Levels | None:
    """How the pixels of lesions and images spread over a map's values; None where that lacks for any image."""
    lesion_NL, image_NL = (_lists(rows, f"{prefix}{name}") for name in LEVEL_COLUMNS)
    return None if lesion_NL is None or image_NL is None else (lesion_NL, image_NL)


def _lists(rows: pd.DataFrame, column: str) -> NDArray[np.float32] | None:
    """A column of lists of one length as a matrix; None where a list lacks for any image."""
    if column not in rows.columns or rows.empty or rows[column].isna().any():
        return None
    lists = list(rows[column])
    lengths = sorted({len(values) for values in lists})
    if len(lengths) > 1:
        raise DataError(f"column {column}: {_OTHER_VERSION.format(len(CAM_THRESHOLDS), lengths)}")
    return np.stack(lists).astype(np.float32)


def _same_grid(ious_NT: NDArray[np.float32], chosen_NT: NDArray[np.float32]) -> None:
    found = [ious_NT.shape[1], chosen_NT.shape[1]]
    if found[0] != found[1]:
        raise DataError(f"column iou_by_threshold, this set and the development set: {_OTHER_VERSION.format(found[0], found)}")


def _figures(
    values: Mapping[str, Values], inside: NDArray[np.bool_], patients: NDArray[np.intp], confidence: float
) -> tuple[LocalisationFigure, ...]:
    def estimate(prefix: str, criterion: str) -> Estimate:
        if criterion not in values[prefix]:
            return Estimate(note=_NOT_COMPUTED)
        known = inside & np.isfinite(values[prefix][criterion])
        part = values[prefix][criterion][known]
        return (
            share_estimate(part > 0, patients[known], confidence)
            if criterion in SHARES
            else _mean(part, patients[known], confidence)
        )

    def against_box(criterion: str) -> float | None:
        own, box = (values[prefix].get(criterion) for prefix in ("", "centre_box_"))
        if criterion not in SHARES or own is None or box is None:
            return None
        known = inside & np.isfinite(own) & np.isfinite(box)
        return _paired_p(own[known] > 0, box[known] > 0, patients[known])

    return tuple(
        LocalisationFigure(
            criterion=criterion,
            own=estimate("", criterion),
            centre_box=estimate("centre_box_", criterion),
            random_map=estimate("random_map_", criterion),
            p_box=against_box(criterion),
        )
        for criterion in (*SHARES, *MEANS)
    )


def _pixel_figure(levels: Mapping[str, Levels | None], patients: NDArray[np.intp], confidence: float) -> LocalisationFigure:
    """PxAP with intervals of a jackknife over patients, and its paired test against the centred box."""
    values = {prefix: None if of is None else pixel_average_precision(*of) for prefix, of in levels.items()}
    several = np.unique(patients).size >= 2
    without = {prefix: leave_one_out(*of, patients) if of is not None and several else None for prefix, of in levels.items()}

    def estimate(prefix: str) -> Estimate:
        value, rest = values[prefix], without[prefix]
        if value is None:
            return Estimate(note=_NOT_COMPUTED)
        if rest is None:
            return Estimate(value=value, n=patients.size, note="one patient: no interval")
        reach = float(stats.t.ppf((1 + confidence) / 2, rest.size - 1)) * _jackknife_se(rest)
        low, high = max(value - reach, 0.0), min(value + reach, 1.0)
        return Estimate(value=value, low=low, high=high, method=f"jackknife {OVER_PATIENTS}", n=patients.size)

    own, box = without[""], without["centre_box_"]
    p_box = None
    if own is not None and box is not None and (error := _jackknife_se(own - box)) > 0:
        difference = (values[""] or 0.0) - (values["centre_box_"] or 0.0)
        p_box = student_two_sided(difference / error, own.size - 1).p
    return LocalisationFigure(
        criterion=PIXELS,
        own=estimate(""),
        centre_box=estimate("centre_box_"),
        random_map=estimate("random_map_"),
        p_box=p_box,
    )


def _jackknife_se(without: NDArray[np.float64]) -> float:
    """Of a figure, from its values without each patient (Efron and Stein 1981, Annals of Statistics 9:586)."""
    return float(np.sqrt((without.size - 1) * without.var()))


def _paired_p(own: NDArray[np.bool_], box: NDArray[np.bool_], patients: NDArray[np.intp]) -> float | None:
    """Map against box on the same images: McNemar's test, exact, or over patients where one has several images."""
    if own.size == 0:
        return None
    found = clustered_paired_shares(own, box, patients)
    return found.p_value if found.n_patients < own.size else mcnemar_exact(found.counts).p_value


def _mean(known: NDArray[np.float64], patients: NDArray[np.intp], confidence: float) -> Estimate:
    """A mean with Student's interval over patients, clipped to [0, 1]; none where all images are equal, or of one patient."""
    mean = float(known.mean()) if known.size else None
    held = np.unique(patients).size
    if mean is None or np.ptp(known) == 0 or held < 2:
        return Estimate(value=mean, n=known.size, note="no two images that differ, or one patient: no interval")
    rest = np.bincount(patients, weights=known - mean)
    spread = float(np.sqrt(rest @ rest * held / (held - 1))) / known.size
    reach = float(stats.t.ppf((1 + confidence) / 2, held - 1)) * spread
    return Estimate(value=mean, low=max(mean - reach, 0.0), high=min(mean + reach, 1.0), method="Student t", n=known.size)


def _between_classes(hits: NDArray[np.float64] | None, rows: pd.DataFrame, patients: NDArray[np.intp]) -> float | None:
    """Benign against malignant, two-sided: Fisher's exact test, or where a patient has several images Rao and Scott's.

    That is the difference of the two shares over its standard error at the pooled share, each count divided by its design effect.
    """
    if hits is None:
        return None
    known, malignant = np.isfinite(hits), (rows["label"] == 1).to_numpy()
    groups = [known & ~malignant, known & malignant]
    if not all(group.any() for group in groups):
        return None
    x, n = ([int((hits[group] > 0).sum()) for group in groups], [int(group.sum()) for group in groups])
    if np.unique(patients[known]).size == int(known.sum()):
        return fisher_exact(x[0], n[0] - x[0], x[1], n[1] - x[1]).p
    effects = [design_effect((hits[group] > 0).astype(float), patients[group]) for group in groups]
    effective = [total / effect for total, effect in zip(n, effects, strict=True)]
    shares = [count / total for count, total in zip(x, n, strict=True)]
    pooled = (shares[0] * effective[0] + shares[1] * effective[1]) / sum(effective)
    variance = pooled * (1 - pooled) * (1 / effective[0] + 1 / effective[1])
    return normal_two_sided((shares[0] - shares[1]) / float(np.sqrt(variance))).p if variance > 0 else 1.0


def _curve(rows: pd.DataFrame, development: pd.DataFrame) -> BoxAccuracyCurve | None:
    curves = [_curves(rows, f"{prefix}iou_by_threshold") for prefix in _prefixes()]
    own, centre, random = curves
    if own is None or centre is None or random is None:
        return None
    grid = _GRIDS[own.shape[1]]
    chosen = _curves(development, "iou_by_threshold")
    return BoxAccuracyCurve(
        thresholds=grid,
        own=tuple(box_accuracy(own).tolist()),
        centre_box=tuple(box_accuracy(centre).tolist()),
        random_map=tuple(box_accuracy(random).tolist()),
        best=grid[best_threshold(own)],
        development=None if chosen is None else grid[best_threshold(chosen)],
    )
