"""One cell on one split: discrimination, the operating point, calibration, and how much of it is chance."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsus.comparison.estimates import (
    Estimate,
    auc_as_estimate,
    auc_estimate,
    auc_over_patients,
    bootstrap_as_estimate,
    ratio_estimate,
    share_estimate,
)
from wsus.comparison.patient_level import patient_level_cell
from wsus.comparison.result import CellResult, DecisionCurveResult, PartialAucResult, ReliabilityBin
from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.calibration import Calibration, calibration
from wsus.evaluation.clustered import bootstrap_auc, clustered_auc
from wsus.evaluation.decision_curve import decision_curve
from wsus.evaluation.intervals import Interval
from wsus.evaluation.partial_auc import Focus, partial_auc
from wsus.types import ENSEMBLE

_BINS = 10
_FOCUS: tuple[Focus, ...] = ("specificity", "sensitivity")


class CellSettings(Protocol):
    """What is needed of a ComparisonConfig."""

    @property
    def confidence(self) -> float: ...
    @property
    def partial_auc_from(self) -> float: ...
    @property
    def prevalence(self) -> float | None: ...
    @property
    def bootstrap(self) -> int: ...
    @property
    def seed(self) -> int: ...


def cell_result(rows: pd.DataFrame, every_seed: pd.DataFrame, config: CellSettings) -> CellResult:
    """The figures of one cell on one split.

    Args:
        rows: its predictions by the chosen seed.  every_seed: those of all its seeds on the same split.
    """
    positive = (rows["label"] == 1).to_numpy()
    called = rows["called_malignant"].to_numpy(dtype=bool)
    patients = rows["patient_id"].to_numpy()
    two_classes = bool(positive.any() and not positive.all())
    found = auc_with_interval(rows["label"], rows["pom"], config.confidence) if two_classes else None
    calibrated = calibration(rows["label"], rows["pom"], _BINS, config.confidence, patients=patients) if two_classes else None
    by_seed = _auc_by_seed(every_seed)
    aucs = [value for value in by_seed.values() if value is not None]

    def share(right: NDArray[np.bool_], of: NDArray[np.bool_]) -> Estimate:
        return share_estimate(right[of], patients[of], config.confidence)

    return CellResult(
        backbone=str(rows["backbone"].iloc[0]),
        mode=str(rows["mode"].iloc[0]),
        split=str(rows["split"].iloc[0]),
        seed=int(rows["seed"].iloc[0]),
        operating_point=float(rows["operating_point"].iloc[0]),
        n=len(rows),
        n_malignant=int(positive.sum()),
        n_benign=int((~positive).sum()),
        n_patients=int(rows["patient_id"].nunique()),
        tp=int((positive & called).sum()),
        fn=int((positive & ~called).sum()),
        tn=int((~positive & ~called).sum()),
        fp=int((~positive & called).sum()),
        auc=auc_estimate(rows, config.confidence),
        auc_images=Estimate(n=len(rows), note="one class only: no AUC") if found is None else auc_as_estimate(found),
        auc_se=_standard_error(rows) if two_classes else None,
        auc_clustered=_clustered(rows, config.confidence),
        auc_bootstrap=_bootstrap(rows, config),
        sensitivity=share(called, positive),
        specificity=share(~called, ~positive),
        ppv=share(positive, called),
        npv=share(~positive, ~called),
        accuracy=share(called == positive, np.ones(len(rows), dtype=bool)),
        lr_positive=ratio_estimate(called[positive], called[~positive], rows, config.confidence),
        lr_negative=ratio_estimate(~called[positive], ~called[~positive], rows, config.confidence),
        partial_auc=_partial(rows, config),
        decision_curve=_decision(rows, config),
        brier=_brier(rows, calibrated),
        calibration_slope=_calibrated(calibrated, "slope", len(rows)),
        calibration_intercept=_calibrated(calibrated, "intercept", len(rows)),
        calibration_in_the_large=_calibrated(calibrated, "in_the_large", len(rows)),
        extreme_poms=0 if calibrated is None else calibrated.extreme,
        reliability=() if calibrated is None else _bins(calibrated),
        patient_level=patient_level_cell(rows, config.confidence),
        unlike_training=_unlike_training(rows, config.confidence),
        auc_by_seed=by_seed,
        auc_seed_sd=float(np.std(aucs, ddof=1)) if len(aucs) > 1 else None,
        fallback_crops=int(rows["fallback_crop"].fillna(False).astype(bool).sum()),
    )


def _standard_error(rows: pd.DataFrame) -> float | None:
    """Over patients; with one image per patient it is DeLong's."""
    variance = clustered_auc(rows["label"], rows["pom"], rows["patient_id"]).variance
    return None if variance is None else math.sqrt(variance)


def _unlike_training(rows: pd.DataFrame, confidence: float) -> Estimate | None:
    """The share of images that the guard flagged; None where there was none."""
    if "unlike_training" not in rows.columns:
        return None
    known = rows[rows["unlike_training"].notna()]
    if known.empty:
        return None
    return share_estimate(known["unlike_training"].astype(bool).to_numpy(), known["patient_id"].to_numpy(), confidence)


def _partial(rows: pd.DataFrame, config: CellSettings) -> tuple[PartialAucResult, ...]:
    if rows["label"].nunique() < 2:
        return ()
    return tuple(_partial_of(rows, focus, config) for focus in _FOCUS)


def _partial_of(rows: pd.DataFrame, focus: Focus, config: CellSettings) -> PartialAucResult:
    low = config.partial_auc_from
    found = partial_auc(rows["label"], rows["pom"], focus=focus, low=low, confidence=config.confidence)

    def estimate(value: float, ci: Interval | None) -> Estimate:
        ends = ci or (None, None)
        return Estimate(value=value, low=ends[0], high=ends[1], method="logit", n=len(rows), note="; ".join(found.notes) or None)

    return PartialAucResult(
        focus=focus,
        low=found.low,
        high=found.high,
        area=estimate(found.area, found.ci),
        standardised=estimate(found.standardised, found.ci_standardised),
    )


def _decision(rows: pd.DataFrame, config: CellSettings) -> DecisionCurveResult | None:
    if rows["label"].nunique() < 2:
        return None
    found = decision_curve(
        rows["label"], rows["pom"], prevalence=config.prevalence, patients=rows["patient_id"], confidence=config.confidence
    )
    return DecisionCurveResult(
        threshold=tuple(found.threshold.tolist()),
        net_benefit=tuple(found.net_benefit.tolist()),
        low=tuple(found.low.tolist()),
        high=tuple(found.high.tolist()),
        treat_all=tuple(found.treat_all.tolist()),
        prevalence=found.prevalence,
    )


def _auc_by_seed(every_seed: pd.DataFrame) -> dict[int, float | None]:
    found: dict[int, float | None] = {}
    for seed in sorted(int(value) for value in every_seed["seed"].unique() if value != ENSEMBLE):
        part = every_seed[every_seed["seed"] == seed]
        found[seed] = auc_with_interval(part["label"], part["pom"]).auc if part["label"].nunique() == 2 else None
    return found


def _clustered(rows: pd.DataFrame, confidence: float) -> Estimate:
    if rows["label"].nunique() < 2:
        return Estimate(note="one class only: no AUC")
    return auc_over_patients(rows, confidence)


def _bootstrap(rows: pd.DataFrame, config: CellSettings) -> Estimate:
    if config.bootstrap == 0 or rows["label"].nunique() < 2:
        return Estimate(note="the bootstrap was left out" if config.bootstrap == 0 else "one class only: no AUC")
    found = bootstrap_auc(
        rows["label"],
        rows["pom"],
        rows["patient_id"],
        draws=config.bootstrap,
        seed=config.seed,
        confidence=config.confidence,
    )
    return bootstrap_as_estimate(found)


def _brier(rows: pd.DataFrame, found: Calibration | None) -> Estimate:
    if found is None:
        errors = (rows["pom"].to_numpy(dtype=float) - (rows["label"] == 1).to_numpy()) ** 2
        return Estimate(value=float(errors.mean()), n=len(rows), note="one class only: no interval")
    low, high = found.brier_ci or (None, None)
    return Estimate(value=found.brier, low=low, high=high, method="Wald", n=len(rows))


def _calibrated(found: Calibration | None, name: str, n: int) -> Estimate:
    """Slope, intercept or calibration in the large of a logistic fit, with Wald's interval."""
    if found is None:
        return Estimate(note="one class only: no calibration")
    low, high = getattr(found, f"{name}_ci") or (None, None)
    value = getattr(found, name)
    note = "; ".join(found.notes) or None
    return Estimate(value=value, low=low, high=high, n=n, method="logistic, Wald", note=note)


def _bins(found: Calibration) -> tuple[ReliabilityBin, ...]:
    return tuple(
        ReliabilityBin(
            n=part.observed.total,
            mean_pom=part.mean_probability,
            observed=Estimate(
                value=part.observed.estimate,
                low=part.observed.ci[0] if part.observed.ci else None,
                high=part.observed.ci[1] if part.observed.ci else None,
                method="Clopper-Pearson",
                x=part.observed.count,
                n=part.observed.total,
            ),
        )
        for part in found.bins
    )
