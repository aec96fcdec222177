"""One cell on one split: discrimination, the operating point, calibration, and how much of it is chance."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import pandas as pd

from wsus.comparison.result import CellResult, DecisionCurveResult, Estimate, PartialAucResult, ReliabilityBin
from wsus.evaluation.auc import AucEstimate, auc_with_interval
from wsus.evaluation.calibration import calibration
from wsus.evaluation.clustered import BootstrapInterval, bootstrap_auc, clustered_auc
from wsus.evaluation.decision_curve import decision_curve
from wsus.evaluation.intervals import Interval, proportion
from wsus.evaluation.likelihood_ratios import RatioOfProportions, ratio_of_proportions
from wsus.evaluation.partial_auc import Focus, partial_auc

_BINS = 10
_FOCUS: tuple[Focus, ...] = ("specificity", "sensitivity")


class CellSettings(Protocol):
    """What is needed of a ComparisonConfig."""

    @property
    def confidence(self) -> float: ...
    @property
    def partial_auc_from(self) -> float: ...
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
    tp, fn = int((positive & called).sum()), int((positive & ~called).sum())
    tn, fp = int((~positive & ~called).sum()), int((~positive & called).sum())
    found = auc_with_interval(rows["label"], rows["pom"], config.confidence) if rows["label"].nunique() == 2 else None
    by_seed = _auc_by_seed(every_seed)
    slope, intercept, in_the_large, bins = _calibrated(rows, config.confidence)
    aucs = [value for value in by_seed.values() if value is not None]
    return CellResult(
        backbone=str(rows["backbone"].iloc[0]),
        mode=str(rows["mode"].iloc[0]),
        split=str(rows["split"].iloc[0]),
        seed=int(rows["seed"].iloc[0]),
        operating_point=float(rows["operating_point"].iloc[0]),
        n=len(rows),
        n_malignant=tp + fn,
        n_benign=tn + fp,
        n_patients=int(rows["patient_id"].nunique()),
        tp=tp,
        fn=fn,
        tn=tn,
        fp=fp,
        auc=Estimate(n=len(rows), note="one class only: no AUC") if found is None else auc_as_estimate(found),
        auc_se=None if found is None or found.variance is None else math.sqrt(found.variance),
        auc_clustered=_clustered(rows, config.confidence),
        auc_bootstrap=_bootstrap(rows, config),
        sensitivity=_share(tp, tp + fn, config.confidence),
        specificity=_share(tn, tn + fp, config.confidence),
        ppv=_share(tp, tp + fp, config.confidence),
        npv=_share(tn, tn + fn, config.confidence),
        accuracy=_share(tp + tn, len(rows), config.confidence),
        lr_positive=_ratio(tp, tp + fn, fp, tn + fp, config.confidence),
        lr_negative=_ratio(fn, tp + fn, tn, tn + fp, config.confidence),
        partial_auc=_partial(rows, config),
        decision_curve=_decision(rows),
        brier=float(np.mean((rows["pom"].to_numpy(dtype=float) - positive) ** 2)),
        calibration_slope=slope,
        calibration_intercept=intercept,
        calibration_in_the_large=in_the_large,
        reliability=bins,
        auc_by_seed=by_seed,
        auc_seed_sd=float(np.std(aucs, ddof=1)) if len(aucs) > 1 else None,
        fallback_crops=int(rows["fallback_crop"].fillna(False).astype(bool).sum()),
    )


def auc_as_estimate(found: AucEstimate) -> Estimate:
    """DeLong's interval; at an AUC of 0 or 1, where that has no width, Newcombe's score interval, with a note."""
    count = found.n_pos + found.n_neg
    if found.ci is None:
        low, high = found.ci_score
        return Estimate(value=found.auc, low=low, high=high, method="Newcombe score", n=count, note="; ".join(found.notes))
    if found.auc in (0.0, 1.0):
        low, high = found.ci_score
        note = f"AUC of {found.auc:.0f}: DeLong's interval has no width there; Newcombe's score interval is given."
        return Estimate(value=found.auc, low=low, high=high, method="Newcombe score", n=count, note=note)
    return Estimate(value=found.auc, low=found.ci[0], high=found.ci[1], method="DeLong", n=count)


def _share(count: int, total: int, confidence: float) -> Estimate:
    found = proportion(count, total, confidence)
    if found.ci is None:
        return Estimate(x=count, n=total, note="no case to count")
    return Estimate(value=found.estimate, low=found.ci[0], high=found.ci[1], method="Clopper-Pearson", x=count, n=total)


def _ratio(x1: int, n1: int, x0: int, n0: int, confidence: float) -> Estimate:
    if n1 == 0 or n0 == 0:
        return Estimate(note="one class only: no likelihood ratio")
    return ratio_as_estimate(ratio_of_proportions(x1, n1, x0, n0, confidence))


def ratio_as_estimate(found: RatioOfProportions) -> Estimate:
    """A ratio of shares with its interval; an infinite end is None, as the note says."""
    count = found.n1 + found.n0
    return Estimate(value=found.estimate, low=found.low, high=found.high, method=found.method, n=count, note=found.note)


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


def _decision(rows: pd.DataFrame) -> DecisionCurveResult | None:
    if rows["label"].nunique() < 2:
        return None
    found = decision_curve(rows["label"], rows["pom"])
    return DecisionCurveResult(
        threshold=tuple(found.threshold.tolist()),
        net_benefit=tuple(found.net_benefit.tolist()),
        treat_all=tuple(found.treat_all.tolist()),
    )


def _auc_by_seed(every_seed: pd.DataFrame) -> dict[int, float | None]:
    found: dict[int, float | None] = {}
    for seed in sorted(int(value) for value in every_seed["seed"].unique()):
        part = every_seed[every_seed["seed"] == seed]
        found[seed] = auc_with_interval(part["label"], part["pom"]).auc if part["label"].nunique() == 2 else None
    return found


def _clustered(rows: pd.DataFrame, confidence: float) -> Estimate:
    """On the logit scale: the plain interval covers too seldom with few patients (`benchmarks/coverage.py`)."""
    if rows["label"].nunique() < 2:
        return Estimate(note="one class only: no AUC")
    found = clustered_auc(rows["label"], rows["pom"], rows["patient_id"], confidence)
    low, high = found.ci_logit or (None, None)
    notes = found.notes or (() if found.ci_logit else (f"AUC of {found.auc:.0f}: an interval over patients would have no width",))
    return Estimate(
        value=found.auc, low=low, high=high, method="Obuchowski, logit", n=found.n_patients, note="; ".join(notes) or None
    )


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


def bootstrap_as_estimate(found: BootstrapInterval) -> Estimate:
    """Percentiles over draws of patients; the note counts draws that held one class only."""
    low, high = found.ci or (None, None)
    note = f"{found.n_undefined} of {found.draws} draws held one class only and were left out" if found.n_undefined else None
    return Estimate(value=found.estimate, low=low, high=high, method="patient bootstrap", n=found.draws, note=note)


def _calibrated(rows: pd.DataFrame, confidence: float) -> tuple[Estimate, Estimate, Estimate, tuple[ReliabilityBin, ...]]:
    """Slope, intercept, calibration in the large, reliability curve."""
    if rows["label"].nunique() < 2:
        nothing = Estimate(note="one class only: no calibration")
        return nothing, nothing, nothing, ()
    found = calibration(rows["label"], rows["pom"], _BINS, confidence)
    note = "; ".join(found.notes) or None
    slope, intercept, in_the_large = (
        Estimate(value=value, n=len(rows), method="logistic", note=note if value is None else None)
        for value in (found.slope, found.intercept, found.in_the_large)
    )
    bins = tuple(
        ReliabilityBin(
            n=part.observed.total,
            mean_pom=part.mean_probability,
            observed=_share(part.observed.count, part.observed.total, confidence),
        )
        for part in found.bins
    )
    return slope, intercept, in_the_large, bins
