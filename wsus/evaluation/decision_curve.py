"""Is it worth acting on a probability of malignancy?  Net benefit over the threshold probabilities at which one might act.

Source: Vickers and Elkin 2006, Medical Decision Making 26:565. A threshold probability of 0.1 says that nine needless
biopsies are an acceptable price for one cancer found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsus.errors import DataError
from wsus.evaluation.cases import check_labels, check_scores

THRESHOLDS = tuple(round(0.02 * step, 2) for step in range(1, 50))


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionCurve:
    """Net benefit per case, in true positives, at each threshold probability, shape (T,) each.

    net_benefit: of acting on the cases at or above the threshold.  treat_all: of acting on every case.  Acting on none has 0.
    prevalence: the share of malignant cases that the figures hold for.
    """

    threshold: NDArray[np.float64]
    net_benefit: NDArray[np.float64]
    treat_all: NDArray[np.float64]
    prevalence: float


def decision_curve(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: Sequence[float] = THRESHOLDS, *, prevalence: float | None = None
) -> DecisionCurve:
    """Net benefit = sensitivity x prevalence - (1 - specificity) x (1 - prevalence) x threshold / (1 - threshold).

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  probabilities: of malignancy, in [0, 1], shape (N,).
        thresholds: probabilities in (0, 1).
        prevalence: share of malignant cases where the test would be used, in (0, 1); that of the cases by default.
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
    return DecisionCurve(
        threshold=threshold,
        net_benefit=_called(p[positive], threshold) * share - _called(p[~positive], threshold) * (1.0 - share) * odds,
        treat_all=share - (1.0 - share) * odds,
        prevalence=share,
    )


def _called(p: NDArray[np.float64], threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of cases at or above each threshold."""
    return 1.0 - np.searchsorted(np.sort(p), threshold, side="left") / p.size
