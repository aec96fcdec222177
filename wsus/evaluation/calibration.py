"""Is a probability of malignancy what it says?

Sources: Brier 1950, Monthly Weather Review 78:1; Cox 1958, Biometrika 45:562 (calibration intercept and slope);
Van Calster et al. 2019, BMC Medicine 17:230.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsus.errors import DataError
from wsus.evaluation.cases import check_labels, check_scores
from wsus.evaluation.intervals import Proportion, proportion

_CLIP = 1e-12  # a probability of exactly 0 or 1 has no logit
_MAX_STEPS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Cases of similar probability. low, high: their smallest and largest probability."""

    low: float
    high: float
    mean_probability: float
    observed: Proportion


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Calibration of probabilities.

    brier: mean squared error, 0 is perfect.  brier_reference: that of always saying the set's share of malignant cases.
    slope: 1 is right, below 1 too extreme.  intercept: of the same fit.  in_the_large: intercept with slope 1; 0 is
        right, above 0 the probabilities are too low.  None where the fit does not exist, with the reason in `notes`.
    """

    brier: float
    brier_reference: float
    slope: float | None
    intercept: float | None
    in_the_large: float | None
    bins: tuple[ReliabilityBin, ...]
    notes: tuple[str, ...] = ()


def calibration(labels: ArrayLike, probabilities: ArrayLike, n_bins: int = 10, confidence: float = 0.95) -> Calibration:
    """Brier score, logistic calibration (logit P(malignant) = intercept + slope logit p) and a reliability curve.

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  probabilities: in [0, 1], shape (N,).
        n_bins: bins with equally many cases; equal probabilities stay together, so there may be fewer.
    Raises:
        DataError: an unknown label, one class only, a probability outside [0, 1].
        ValueError: shapes that do not fit, n_bins < 1.
    """
    positive = check_labels(labels)
    p = check_scores(probabilities, positive.size, name="probability")
    outside = (p < 0) | (p > 1)
    if outside.any():
        found = float(p[outside][0])
        raise DataError(
            f"probabilities lie in [0, 1]; {int(outside.sum())} do not, such as {found!r}. Calibrate raw scores first"
        )
    y = positive.astype(np.float64)
    logits = special.logit(np.clip(p, _CLIP, 1 - _CLIP))
    notes: list[str] = []
    line = _fit_line(y, logits, notes)
    shift = _fit(np.ones((y.size, 1)), y, offset=logits)
    if shift is None:
        notes.append("calibration in the large could not be fitted: the probabilities are too extreme")
    return Calibration(
        brier=float(np.mean((p - y) ** 2)),
        brier_reference=float(y.mean() * (1 - y.mean())),
        slope=None if line is None else float(line[1]),
        intercept=None if line is None else float(line[0]),
        in_the_large=None if shift is None else float(shift[0]),
        bins=reliability_curve(positive, p, n_bins, confidence),
        notes=tuple(notes),
    )


def reliability_curve(
    labels: ArrayLike, probabilities: ArrayLike, n_bins: int = 10, confidence: float = 0.95
) -> tuple[ReliabilityBin, ...]:
    """Observed share of malignant cases by probability, in bins with equally many cases. Arguments as `calibration`."""
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1; got {n_bins}")
    positive = check_labels(labels)
    p = check_scores(probabilities, positive.size, name="probability")
    order = np.argsort(p, kind="stable")
    first_of_tie = np.searchsorted(p[order], p[order])  # ties go to the bin of their first case
    bin_of_case = first_of_tie * min(n_bins, p.size) // p.size
    groups = [order[bin_of_case == index] for index in np.unique(bin_of_case)]
    return tuple(
        ReliabilityBin(
            low=float(p[group].min()),
            high=float(p[group].max()),
            mean_probability=float(p[group].mean()),
            observed=proportion(int(positive[group].sum()), group.size, confidence),
        )
        for group in groups
    )


def _fit_line(y: NDArray[np.float64], logits: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64] | None:
    in_class = logits[y == 1], logits[y == 0]
    if np.ptp(logits) == 0:
        notes.append("slope and intercept are not estimable: all probabilities are equal")
        return None
    if in_class[0].min() >= in_class[1].max() or in_class[1].min() >= in_class[0].max():
        notes.append("slope and intercept are not estimable: the probabilities separate the classes, so the slope is infinite")
        return None
    line = _fit(np.column_stack([np.ones(y.size), logits]), y, offset=np.zeros(y.size))
    if line is None:
        notes.append("slope and intercept could not be fitted: the probabilities are too extreme")
    return line


def _fit(x: NDArray[np.float64], y: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Maximum-likelihood logistic regression by Newton's method with step halving; None where it does not converge."""

    def loss(beta: NDArray[np.float64]) -> float:
        eta = x @ beta + offset
        return float(np.sum(np.logaddexp(0.0, eta) - y * eta))

    beta = np.zeros(x.shape[1])
    for _ in range(_MAX_STEPS):
        mean = special.expit(x @ beta + offset)
        gradient = x.T @ (y - mean)
        curvature = (x * (mean * (1 - mean))[:, None]).T @ x
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            return None
        current = loss(beta)
        while loss(beta + step) > current + 1e-12 * abs(current) and np.abs(step).max() > 1e-14:
            step = step / 2
        beta = beta + step
        if not np.isfinite(beta).all():
            return None
        if np.abs(step).max() <= 1e-10 * (1 + np.abs(beta).max()):
            return beta
    return None
