"""Two scores where patients have several images: what stands over patients, and decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsus.evaluation.auc import auc_with_interval, delong_paired
from wsus.evaluation.clustered import (
    ClusteredAuc,
    ClusteredPairedTest,
    bootstrap_auc,
    bootstrap_paired,
    clustered_auc,
    clustered_paired,
)
from wsus.evaluation.clustered_shares import ClusteredPairedShares, clustered_paired_shares, clustered_proportion
from wsus.evaluation.paired import noninferiority_auc
from wsus.two_scores.parts import bootstrap_part, noninferiority_part, pair, paired_part
from wsus.two_scores.settings import StatsSettings

_RULES = {"max": np.maximum.reduceat, "mean": np.add.reduceat}


@dataclass(frozen=True, kw_only=True, slots=True)
class OverPatients:
    """The tests that verdicts use where a patient has several images."""

    auc: ClusteredPairedTest
    sensitivity: ClusteredPairedShares
    specificity: ClusteredPairedShares


def several_images(patients: ArrayLike | None) -> bool:
    """Whether some patient has several cases."""
    names = None if patients is None else np.asarray(patients)
    return names is not None and np.unique(names).size < names.size


def tests_over_patients(
    positive: NDArray[np.bool_], a: NDArray[np.float64], b: NDArray[np.float64], patients: ArrayLike, settings: StatsSettings
) -> OverPatients:
    """AUC, sensitivity and specificity of two scores compared over patients."""
    names = np.asarray(patients)
    right_a, right_b = (a >= settings.threshold) == positive, (b >= settings.threshold) == positive
    return OverPatients(
        auc=clustered_paired(positive, a, b, names, settings.confidence),
        sensitivity=clustered_paired_shares(right_a[positive], right_b[positive], names[positive]),
        specificity=clustered_paired_shares(right_a[~positive], right_b[~positive], names[~positive]),
    )


def clustered_one(
    positive: NDArray[np.bool_], a: NDArray[np.float64], patients: ArrayLike, settings: StatsSettings
) -> dict[str, Any]:
    """One score over patients."""
    found = clustered_auc(positive, a, patients, settings.confidence)
    drawn = bootstrap_auc(positive, a, patients, draws=settings.draws, seed=settings.seed, confidence=settings.confidence)
    return {
        "n_patients": found.n_patients,
        "n_images": found.n_images,
        **_auc("a", found),
        "bootstrap": {"a": bootstrap_part(drawn)},
        "shares": {"a": _shares(positive, a, patients, settings)},
        "by_patient": {rule: _one_by_patient(positive, a, patients, rule, settings) for rule in _RULES},
        "notes": {"a": "; ".join(found.notes)} if found.notes else {},
    }


def clustered_two(
    positive: NDArray[np.bool_],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    patients: ArrayLike,
    settings: StatsSettings,
) -> dict[str, Any]:
    """Two scores over patients."""
    over = tests_over_patients(positive, a, b, patients, settings)
    test = over.auc
    drawn = bootstrap_paired(positive, a, b, patients, draws=settings.draws, seed=settings.seed, confidence=settings.confidence)
    named = (("a", test.a.notes), ("b", test.b.notes), ("paired", test.notes))
    mcnemar = {"mcnemar_pos": over.sensitivity, "mcnemar_neg": over.specificity}
    return {
        "n_patients": test.a.n_patients,
        "n_images": test.a.n_images,
        **_auc("a", test.a),
        **_auc("b", test.b),
        "cov_ab": test.covariance,
        "paired": paired_part(test),
        **{name: {"p": found.p_value, "log10_p": found.log10_p, "note": found.note} for name, found in mcnemar.items()},
        "bootstrap": {name: bootstrap_part(getattr(drawn, name)) for name in ("a", "b", "diff")},
        "shares": {side: _shares(positive, scores, patients, settings) for side, scores in (("a", a), ("b", b))},
        "by_patient": {rule: _two_by_patient(positive, a, b, patients, rule, settings) for rule in _RULES},
        "notes": {name: "; ".join(notes) for name, notes in named if notes},
    }


def _auc(side: str, found: ClusteredAuc) -> dict[str, Any]:
    return {f"var_{side}": found.variance, f"ci_{side}": pair(found.ci), f"ci_logit_{side}": pair(found.ci_logit)}


def _shares(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], patients: ArrayLike, settings: StatsSettings
) -> dict[str, Any]:
    called, names = scores >= settings.threshold, np.asarray(patients)
    parts = {
        "sens": (called, positive),
        "spec": (~called, ~positive),
        "ppv": (positive, called),
        "npv": (~positive, ~called),
        "accuracy": (called == positive, np.ones(positive.size, dtype=bool)),
    }
    found = {key: clustered_proportion(right[of], names[of], settings.confidence) for key, (right, of) in parts.items()}
    return {
        key: {"estimate": one.estimate, "ci": pair(one.ci), "design_effect": one.design_effect, "note": one.note}
        for key, one in found.items()
    }


def _by_patient(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], patients: ArrayLike, rule: str
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """One label (malignant where any image is) and one score per patient."""
    names = np.asarray(patients)
    order = np.argsort(names, kind="stable")
    starts = np.flatnonzero(np.append(True, names[order][1:] != names[order][:-1]))
    joined = _RULES[rule](scores[order], starts)
    if rule == "mean":
        joined = joined / np.diff(np.append(starts, names.size))
    return np.logical_or.reduceat(positive[order], starts), joined


def _one_by_patient(
    positive: NDArray[np.bool_], a: NDArray[np.float64], patients: ArrayLike, rule: str, settings: StatsSettings
) -> dict[str, Any]:
    label, score = _by_patient(positive, a, patients, rule)
    if label.all() or not label.any():
        return {"n": label.size, "note": "all patients are of one class"}
    found = auc_with_interval(label, score, settings.confidence)
    return {"n": label.size, "n_pos": found.n_pos, "auc_a": found.auc, "ci_a": pair(found.ci)}


def _two_by_patient(
    positive: NDArray[np.bool_],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    patients: ArrayLike,
    rule: str,
    settings: StatsSettings,
) -> dict[str, Any]:
    label, score_a = _by_patient(positive, a, patients, rule)
    score_b = _by_patient(positive, b, patients, rule)[1]
    if label.all() or not label.any():
        return {"n": label.size, "note": "all patients are of one class"}
    test = delong_paired(label, score_a, score_b, settings.confidence)
    judged = noninferiority_auc(test, settings.margin, settings.noninferiority_confidence)
    return {
        "n": label.size,
        "n_pos": test.a.n_pos,
        "auc_a": test.a.auc,
        "ci_a": pair(test.a.ci),
        "auc_b": test.b.auc,
        "ci_b": pair(test.b.ci),
        "paired": paired_part(test),
        "noninferiority": noninferiority_part(judged, settings.margin, settings.noninferiority_confidence),
    }
