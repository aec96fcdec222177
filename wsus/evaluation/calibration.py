"""Is a probability of malignancy what it says?

Sources: Brier 1950, Monthly Weather Review 78:1; Cox 1958, Biometrika 45:562 (calibration intercept and slope);
Van Calster et al. 2019, BMC Medicine 17:230; Liang and Zeger 1986, Biometrika 73:13 (the sandwich over patients).
Intervals are Wald's, from the inverse information as R's `glm`; where a patient has several images, from the sandwich.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsus.errors import DataError
from wsus.evaluation.cases import check_confidence, check_labels, check_scores
from wsus.evaluation.clustered_shares import clustered_proportion
from wsus.evaluation.intervals import Interval, Proportion, proportion

_EXTREME = 0.001  # stands for a probability of exactly 0 (or 1 less it) where none is nearer to 0 without being 0
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
    extreme: probabilities of exactly 0 or 1, which have no logit; `notes` says what stands for them in the fits.
    """

    brier: float
    brier_ci: Interval | None
    brier_reference: float
    slope: float | None
    slope_ci: Interval | None
    intercept: float | None
    intercept_ci: Interval | None
    in_the_large: float | None
    in_the_large_ci: Interval | None
    extreme: int
    bins: tuple[ReliabilityBin, ...]
    notes: tuple[str, ...] = ()


def calibration(
    labels: ArrayLike,
    probabilities: ArrayLike,
    n_bins: int = 10,
    confidence: float = 0.95,
    *,
    patients: ArrayLike | None = None,
) -> Calibration:
    """Brier score, logistic calibration (logit P(malignant) = intercept + slope logit p) and a reliability curve.

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  probabilities: in [0, 1], shape (N,).
        n_bins: bins with equally many cases; equal probabilities stay together, so there may be fewer.
        patients: identifiers, shape (N,), where some patient may have several cases: intervals are then over patients.
    Raises:
        DataError: an unknown label, one class only, a probability outside [0, 1].
        ValueError: shapes that do not fit, n_bins < 1, a confidence outside (0, 1).
    """
    positive = check_labels(labels)
    p = check_scores(probabilities, positive.size, name="probability")
    outside = (p < 0) | (p > 1)
    if outside.any():
        found = float(p[outside][0])
        raise DataError(
            f"probabilities lie in [0, 1]; {int(outside.sum())} do not, such as {found!r}. Calibrate raw scores first"
        )
    patient = _several_images(patients, positive.size)
    z = float(special.ndtri((1.0 + check_confidence(confidence)) / 2.0))
    y, notes = positive.astype(np.float64), list[str]()
    logits, extreme = _logits(p, notes)

    design_N2 = np.column_stack([np.ones(y.size), logits])
    line = _fit_line(design_N2, y, notes)
    shift = _fit(design_N2[:, :1], y, offset=logits)
    if shift is None:
        notes.append("calibration in the large could not be fitted: the probabilities are too extreme")
    none = np.zeros(y.size)
    intercept_ci, slope_ci = (None, None) if line is None else _wald(line, design_N2, y, none, patient, z)
    (in_the_large_ci,) = (None,) if shift is None else _wald(shift, design_N2[:, :1], y, logits, patient, z)
    errors = (p - y) ** 2
    return Calibration(
        brier=float(errors.mean()),
        brier_ci=_mean_ci(errors, patient, z),
        brier_reference=float(y.mean() * (1 - y.mean())),
        slope=None if line is None else float(line[1]),
        slope_ci=slope_ci,
        intercept=None if line is None else float(line[0]),
        intercept_ci=intercept_ci,
        in_the_large=None if shift is None else float(shift[0]),
        in_the_large_ci=in_the_large_ci,
        extreme=extreme,
        bins=reliability_curve(positive, p, n_bins, confidence, patients=patients),
        notes=tuple(notes),
    )


def reliability_curve(
    labels: ArrayLike,
    probabilities: ArrayLike,
    n_bins: int = 10,
    confidence: float = 0.95,
    *,
    patients: ArrayLike | None = None,
) -> tuple[ReliabilityBin, ...]:
    """Observed share of malignant cases by probability, in bins with equally many cases. Arguments as `calibration`."""
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1; got {n_bins}")
    positive = check_labels(labels)
    p = check_scores(probabilities, positive.size, name="probability")
    patient = _several_images(patients, positive.size)
    order = np.argsort(p, kind="stable")
    first_of_tie = np.searchsorted(p[order], p[order])  # ties go to the bin of their first case
    bin_of_case = first_of_tie * min(n_bins, p.size) // p.size
    groups = [order[bin_of_case == index] for index in np.unique(bin_of_case)]
    return tuple(
        ReliabilityBin(
            low=float(p[group].min()),
            high=float(p[group].max()),
            mean_probability=float(p[group].mean()),
            observed=_observed(positive[group], None if patient is None else patient[group], confidence),
        )
        for group in groups
    )


def _several_images(patients: ArrayLike | None, n_cases: int) -> NDArray[np.intp] | None:
    """Every case's patient as a number; None where no patient has several cases."""
    if patients is None:
        return None
    names = np.asarray(patients)
    if names.shape != (n_cases,):
        raise ValueError(f"one patient per label, shape ({n_cases},); got {names.shape}")
    known, patient = np.unique(names, return_inverse=True)
    return None if known.size == n_cases else patient


def _observed(positive: NDArray[np.bool_], patient: NDArray[np.intp] | None, confidence: float) -> Proportion:
    if patient is None:
        return proportion(int(positive.sum()), positive.size, confidence)
    found = clustered_proportion(positive, patient, confidence)
    return Proportion(count=found.count, total=found.total, estimate=found.estimate, ci=found.ci)


def _logits(p: NDArray[np.float64], notes: list[str]) -> tuple[NDArray[np.float64], int]:
    """Logits; a probability of exactly 0 or 1 counts as the most extreme of the others, so that it does not rule the fit."""
    extreme = (p == 0) | (p == 1)
    count = int(extreme.sum())
    if count == 0:
        return np.asarray(special.logit(p)), 0
    inner = p[~extreme]
    nearest = min(_EXTREME, float(np.minimum(inner, 1 - inner).min(initial=_EXTREME)))
    notes.append(
        f"{count} of {p.size} probabilities are exactly 0 or 1 and have no logit: slope, intercept and calibration in the large"
        f" take them as {nearest:.3g} and 1 - {nearest:.3g}"
    )
    return np.asarray(special.logit(np.clip(p, nearest, 1 - nearest))), count


def _wald(
    beta: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    offset: NDArray[np.float64],
    patient: NDArray[np.intp] | None,
    z: float,
) -> list[Interval | None]:
    """Each coefficient +- z se; None for all where a sandwich over patients needs more patients."""
    mean = special.expit(x @ beta + offset)
    bread = np.linalg.inv((x * (mean * (1 - mean))[:, None]).T @ x)
    variance = bread
    if patient is not None:
        n_patients = int(patient.max()) + 1
        if n_patients <= beta.size:
            return [None] * beta.size
        scores = np.zeros((n_patients, beta.size))
        np.add.at(scores, patient, x * (y - mean)[:, None])
        variance = bread @ (scores.T @ scores) @ bread * n_patients / (n_patients - 1)
    half = z * np.sqrt(np.diag(variance))
    return [(float(value - reach), float(value + reach)) for value, reach in zip(beta, half, strict=True)]


def _mean_ci(values: NDArray[np.float64], patient: NDArray[np.intp] | None, z: float) -> Interval | None:
    """The mean +- z se, clipped to [0, 1], with the variance over patients."""
    groups = np.arange(values.size) if patient is None else patient
    n_groups = int(groups.max()) + 1
    if n_groups < 2:
        return None
    rest = np.bincount(groups, weights=values - values.mean())
    half = z * float(np.sqrt(rest @ rest * n_groups / (n_groups - 1))) / values.size
    return max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half)


def _fit_line(design_N2: NDArray[np.float64], y: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64] | None:
    logits = design_N2[:, 1]
    in_class = logits[y == 1], logits[y == 0]
    if np.ptp(logits) == 0:
        notes.append("slope and intercept are not estimable: all probabilities are equal")
        return None
    if in_class[0].min() >= in_class[1].max() or in_class[1].min() >= in_class[0].max():
        notes.append("slope and intercept are not estimable: the probabilities separate the classes, so the slope is infinite")
        return None
    line = _fit(design_N2, y, offset=np.zeros(y.size))
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
