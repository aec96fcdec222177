"""Pieces of the answer of `wsus stats`: one figure's record each, ready for JSON; None where nothing can be estimated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsus.errors import DataError
from wsus.evaluation.auc import AucEstimate, PairedAucTest
from wsus.evaluation.calibration import calibration
from wsus.evaluation.clustered import BootstrapInterval, ClusteredPairedTest
from wsus.evaluation.decision_curve import decision_curve
from wsus.evaluation.diagnostic import DiagnosticAccuracy
from wsus.evaluation.intervals import Interval
from wsus.evaluation.likelihood_ratios import likelihood_ratios
from wsus.evaluation.paired import NonInferiority
from wsus.evaluation.partial_auc import Focus, PartialAuc, partial_auc
from wsus.evaluation.tails import PValue

_FOCUS: tuple[Focus, ...] = ("specificity", "sensitivity")


def auc_part(side: str, found: AucEstimate) -> dict[str, Any]:
    return {
        f"auc_{side}": found.auc,
        f"var_{side}": found.variance,
        f"ci_{side}": pair(found.ci),
        f"ci_logit_{side}": pair(found.ci_logit),
        f"ci_score_{side}": list(found.ci_score),
    }


def paired_part(test: PairedAucTest | ClusteredPairedTest) -> dict[str, Any]:
    return {
        "diff": test.diff,
        "se_diff": test.se_diff,
        "Z": test.z,
        "p": test.p_value,
        "log10_p": test.log10_p,
        "ci_diff": pair(test.ci_diff),
    }


def reader_part(at: DiagnosticAccuracy, strict: DiagnosticAccuracy, fisher_p: PValue) -> dict[str, Any]:
    """`fisher_p`: correct or not, benign against malignant.  `gt_rule`: the counts for score > threshold."""
    return {
        "n_at_threshold": at.n_at_threshold,
        **counts_part(at),
        "sens_ci": pair(at.sensitivity.ci),
        "spec_ci": pair(at.specificity.ci),
        "fisher_p": fisher_p.p,
        "gt_rule": counts_part(strict),
    }


def predictive_part(at: DiagnosticAccuracy) -> dict[str, Any]:
    return {
        "ppv": at.ppv.estimate,
        "ppv_ci": pair(at.ppv.ci),
        "npv": at.npv.estimate,
        "npv_ci": pair(at.npv.ci),
        "accuracy": at.accuracy.estimate,
        "accuracy_ci": pair(at.accuracy.ci),
    }


def ratios_part(at: DiagnosticAccuracy) -> dict[str, Any]:
    """None where a ratio, or an end of its interval, is infinite or undefined; `notes` says which."""
    found = likelihood_ratios(at.tp, at.fn, at.tn, at.fp, at.confidence)
    named = {"lr_pos": found.positive, "lr_neg": found.negative}
    figures = {
        key: value for name, one in named.items() for key, value in ((name, one.estimate), (f"{name}_ci", [one.low, one.high]))
    }
    notes = {name: one.note for name, one in named.items() if one.note is not None}
    return {**figures, "method": found.positive.method, "notes": notes}


def partial_part(positive: NDArray[np.bool_], scores: NDArray[np.float64], confidence: float) -> dict[str, Any]:
    return {focus: _partial_of(partial_auc(positive, scores, focus=focus, confidence=confidence)) for focus in _FOCUS}


def _partial_of(found: PartialAuc) -> dict[str, Any]:
    return {
        "low": found.low,
        "high": found.high,
        "area": found.area,
        "standardised": found.standardised,
        "var": found.variance,
        "ci": pair(found.ci),
        "ci_standardised": pair(found.ci_standardised),
        "notes": list(found.notes),
    }


def counts_part(at: DiagnosticAccuracy) -> dict[str, Any]:
    return {
        "tp": at.tp,
        "fn": at.fn,
        "tn": at.tn,
        "fp": at.fp,
        "sens": at.sensitivity.estimate,
        "spec": at.specificity.estimate,
    }


def noninferiority_part(test: NonInferiority | None, margin: float, confidence: float) -> dict[str, Any]:
    """None (no test is possible) is inconclusive, with the reason."""
    if test is None:
        empty = dict.fromkeys(("diff", "lower", "upper", "p"))
        reason = "a test over patients needs two patients of the class"
        return {"margin": margin, **empty, "verdict": "inconclusive", "confidence_one_sided": confidence, "notes": [reason]}
    return {
        "margin": test.margin,
        "diff": test.diff,
        "lower": test.lower,
        "upper": test.upper,
        "p": test.p_value,
        "verdict": test.verdict.value,
        "confidence_one_sided": test.confidence,
        "notes": list(test.notes),
    }


def calibration_part(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], patients: ArrayLike | None, confidence: float
) -> dict[str, Any]:
    """Slope, intercept, in the large, Brier; all null with the reason where the scores are no probabilities."""
    try:
        found = calibration(positive, scores, confidence=confidence, patients=patients)
    except DataError as error:
        return {"notes": [str(error)]}
    return {
        "brier": found.brier,
        "brier_ci": pair(found.brier_ci),
        "slope": found.slope,
        "slope_ci": pair(found.slope_ci),
        "intercept": found.intercept,
        "intercept_ci": pair(found.intercept_ci),
        "in_the_large": found.in_the_large,
        "in_the_large_ci": pair(found.in_the_large_ci),
        "exactly_0_or_1": found.extreme,
        "notes": list(found.notes),
    }


def decision_part(
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    patients: ArrayLike | None,
    confidence: float,
    prevalence: float | None,
) -> dict[str, Any]:
    """The decision curve with pointwise limits; {"notes": [reason]} where the scores are no probabilities."""
    try:
        found = decision_curve(positive, scores, prevalence=prevalence, patients=patients, confidence=confidence)
    except DataError as error:
        return {"notes": [str(error)]}
    limits = {"low": found.low, "high": found.high}
    return {
        "prevalence": found.prevalence,
        "threshold": found.threshold.tolist(),
        "net_benefit": found.net_benefit.tolist(),
        **{name: [value if np.isfinite(value) else None for value in values.tolist()] for name, values in limits.items()},
        "treat_all": found.treat_all.tolist(),
        "notes": [],
    }


def bootstrap_part(found: BootstrapInterval) -> dict[str, Any]:
    return {
        "se": found.se,
        "ci": pair(found.ci),
        "draws": found.draws,
        "n_undefined": found.n_undefined,
        "seed": found.seed,
        "note": found.note,
    }


def pair(interval: Interval | None) -> list[float | None]:
    """An interval as JSON has it."""
    return [None, None] if interval is None else [interval[0], interval[1]]
