"""Is it worth acting on a probability of malignancy?  Net benefit over the threshold probabilities at which one might act.

Sources: Vickers and Elkin 2006, Medical Decision Making 26:565; the variance is that of a weighted sum of two shares, as in
Sande et al. 2020, Statistics in Medicine 39:2980, here over patients. A threshold probability of 0.1 says that nine needless
biopsies are an acceptable price for one cancer found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsus.errors import DataError
from wsus.evaluation.cases import check_confidence, check_labels, check_scores

THRESHOLDS = tuple(round(0.02 * step, 2) for step in range(1, 50))


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionCurve:
    """Net benefit per case, in true positives, at each threshold probability, shape (T,) each.

    net_benefit: of acting on the cases at or above the threshold.  treat_all: of acting on every case.  Acting on none has 0.
    low, high: pointwise limits of net_benefit at `confidence`, the prevalence taken as known; NaN with one patient of a class.
    prevalence: the share of malignant cases that the figures hold for.
    """

    threshold: NDArray[np.float64]
    net_benefit: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    treat_all: NDArray[np.float64]
    prevalence: float


def decision_curve(
    labels: ArrayLike,
    probabilities: ArrayLike,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    prevalence: float | None = None,
    patients: ArrayLike | None = None,
    confidence: float = 0.95,
) -> DecisionCurve:
    """Net benefit = sensitivity x prevalence - (1 - specificity) x (1 - prevalence) x threshold / (1 - threshold).

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  probabilities: of malignancy, in [0, 1], shape (N,).
        thresholds: probabilities in (0, 1).
        prevalence: share of malignant cases where the test would be used, in (0, 1); that of the cases by default.
        patients: identifiers, shape (N,), where a patient may have several cases; each case its own by default.
    Raises:
        DataError: an unknown label, one class only, a probability outside [0, 1].
        ValueError: shapes that do not fit, a threshold or prevalence outside (0, 1).

    >>> float(decision_curve([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1], [0.5]).net_benefit[0])
    0.0
    """
    positive = check_labels(labels)
    p = check_scores(probabilities, positive.size, name="probability")
    if p.min() < 0 or p.max() > 1:
        outside = float(p[(p < 0) | (p > 1)][0])
        raise DataError(f"probabilities lie in [0, 1]; found {outside!r}. Calibrate raw scores first")
    threshold = np.asarray(thresholds, dtype=np.float64)
    share = float(positive.mean()) if prevalence is None else prevalence
    if not ((threshold > 0) & (threshold < 1)).all() or not 0.0 < share < 1.0:
        raise ValueError(f"thresholds and prevalence lie in (0, 1); got {list(thresholds)} and {prevalence!r}")
    odds = threshold / (1.0 - threshold)
    net_benefit = _called(p[positive], threshold) * share - _called(p[~positive], threshold) * (1.0 - share) * odds
    names = np.arange(p.size) if patients is None else np.asarray(patients)
    if names.shape != p.shape:
        raise ValueError(f"one patient per label, shape {p.shape}; got {names.shape}")
    reach = float(special.ndtri((1.0 + check_confidence(confidence)) / 2.0)) * _standard_error(
        positive, p, threshold, share, np.unique(names, return_inverse=True)[1]
    )
    return DecisionCurve(
        threshold=threshold,
        net_benefit=net_benefit,
        low=net_benefit - reach,
        high=net_benefit + reach,
        treat_all=share - (1.0 - share) * odds,
        prevalence=share,
    )


def _standard_error(
    positive: NDArray[np.bool_], p: NDArray[np.float64], threshold: NDArray[np.float64], share: float, patient: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Over patients, from what each adds to the two shares of calls; shape (T,), NaN with one patient of a class."""
    n_patients = int(patient.max()) + 1
    if min(np.unique(patient[of_class]).size for of_class in (positive, ~positive)) < 2:
        return np.full(threshold.shape, np.nan)
    found = np.empty(threshold.size)
    for place, cut in enumerate(threshold):
        called = (p >= cut).astype(np.float64)
        hits, alarms = called[positive].mean(), called[~positive].mean()
        odds = cut / (1.0 - cut)
        adds = np.where(
            positive,
            share * (called - hits) / positive.sum(),
            -(1.0 - share) * odds * (called - alarms) / (~positive).sum(),
        )
        by_patient = np.bincount(patient, weights=adds, minlength=n_patients)
        found[place] = np.sqrt(by_patient @ by_patient * n_patients / (n_patients - 1))
    return found


def _called(p: NDArray[np.float64], threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of cases at or above each threshold."""
    return 1.0 - np.searchsorted(np.sort(p), threshold, side="left") / p.size
