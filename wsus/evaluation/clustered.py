"""The AUC where several images belong to one patient: they are not independent.

Sources: Obuchowski 1997, Biometrics 53:567 (cluster-robust variance); Field and Welsh 2007, JRSS B 69:369 (bootstrap of
whole clusters). With one image per patient the variance is DeLong's, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsus.errors import DataError
from wsus.evaluation.auc import logit_interval
from wsus.evaluation.cases import check_confidence, check_labels, check_scores
from wsus.evaluation.intervals import Interval
from wsus.evaluation.placements import Placements, placements, sum_of_products
from wsus.evaluation.tails import normal_two_sided

_CHUNK_CELLS = 4_000_000  # draws x cases held at once: 32 MB a matrix
_MAX_IMAGES = 3_000_000  # beyond it, a patient's integer sum could leave int64


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusteredAuc:
    """An AUC with Obuchowski's variance over patients; variance and interval None where not estimable, as noted.

    ci: AUC +- z se, clipped to [0, 1].  ci_logit: on the logit scale, which covers better near 1; None at an AUC of 0 or 1.
    patients_pos, patients_neg: patients with a malignant, and with a benign image.
    """

    auc: float
    variance: float | None
    ci: Interval | None
    ci_logit: Interval | None
    n_patients: int
    n_images: int
    n_pos: int
    n_neg: int
    patients_pos: int
    patients_neg: int
    confidence: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusteredPairedTest:
    """Two AUCs of the same images compared, allowing for patients. diff = a - b; fields as `PairedAucTest`."""

    a: ClusteredAuc
    b: ClusteredAuc
    covariance: float | None
    diff: float
    se_diff: float | None
    z: float | None
    p_value: float | None
    log10_p: float | None
    ci_diff: Interval | None
    confidence: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BootstrapInterval:
    """Percentile interval over patients drawn with replacement. n_undefined: draws that held one class only, left out.

    se, ci: None where a class has fewer than two patients: the draws would repeat one patient, not the chance of another.
    """

    estimate: float
    se: float | None
    ci: Interval | None
    draws: int
    n_undefined: int
    seed: int
    confidence: float
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedBootstrap:
    """Intervals of two AUCs and of their difference a - b, from the same draws."""

    a: BootstrapInterval
    b: BootstrapInterval
    diff: BootstrapInterval


def clustered_auc(labels: ArrayLike, scores: ArrayLike, patients: ArrayLike, confidence: float = 0.95) -> ClusteredAuc:
    """The AUC of one score with its cluster-robust interval.

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  scores: finite, shape (N,).  patients: any identifiers, shape (N,).
    Raises:
        DataError: an unknown label, one class only, a score that is not finite.
        ValueError: shapes that do not fit, a confidence outside (0, 1).
    """
    positive, patient = _checked(labels, patients)
    placed = placements(positive, check_scores(scores, positive.size))
    components = _Components.of(placed, positive, patient)
    return _estimate(components, placed, _covariance(components, components), check_confidence(confidence))


def clustered_paired(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, patients: ArrayLike, confidence: float = 0.95
) -> ClusteredPairedTest:
    """Compare two scores of the same images, allowing for patients (two-sided). Arguments and errors as `clustered_auc`."""
    positive, patient = _checked(labels, patients)
    check_confidence(confidence)
    placed_a = placements(positive, check_scores(scores_a, positive.size, name="score_a"))
    placed_b = placements(positive, check_scores(scores_b, positive.size, name="score_b"))
    of_a, of_b = _Components.of(placed_a, positive, patient), _Components.of(placed_b, positive, patient)
    var_a, var_b, cov = _covariance(of_a, of_a), _covariance(of_b, of_b), _covariance(of_a, of_b)
    exact_diff = placed_a.auc - placed_b.auc
    var_diff = None if var_a is None or var_b is None or cov is None else var_a + var_b - 2 * cov
    se = None if var_diff is None or var_diff < 0 else math.sqrt(var_diff)
    z = None if se is None or (se == 0 and exact_diff != 0) else float(exact_diff) / se if se > 0 else 0.0
    p = None if z is None else normal_two_sided(z)
    diff, half = float(exact_diff), None if se is None else _z(confidence) * se
    return ClusteredPairedTest(
        a=_estimate(of_a, placed_a, var_a, confidence),
        b=_estimate(of_b, placed_b, var_b, confidence),
        covariance=None if cov is None else float(cov),
        diff=diff,
        se_diff=se,
        z=z,
        p_value=None if p is None else p.p,
        log10_p=None if p is None else p.log10_p,
        ci_diff=None if half is None else (diff - half, diff + half),
        confidence=confidence,
        notes=_paired_notes(var_diff, exact_diff),
    )


def bootstrap_auc(
    labels: ArrayLike, scores: ArrayLike, patients: ArrayLike, *, draws: int = 2000, seed: int = 0, confidence: float = 0.95
) -> BootstrapInterval:
    """Percentile interval of an AUC over patients. The same seed gives the same interval. Errors as `clustered_auc`."""
    positive, patient = _checked(labels, patients)
    ranked = _Ranked.of(positive, check_scores(scores, positive.size), patient)
    values = np.concatenate([ranked.auc(times) for times in _patient_draws(patient, draws, seed)])
    return _percentiles(ranked.estimate, values, seed, check_confidence(confidence), _too_few_patients(positive, patient))


def bootstrap_paired(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    patients: ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedBootstrap:
    """Percentile intervals of two AUCs and of a - b, all on the same patients of each draw. Errors as `clustered_auc`."""
    positive, patient = _checked(labels, patients)
    check_confidence(confidence)
    a = _Ranked.of(positive, check_scores(scores_a, positive.size, name="score_a"), patient)
    b = _Ranked.of(positive, check_scores(scores_b, positive.size, name="score_b"), patient)
    drawn = [(a.auc(times), b.auc(times)) for times in _patient_draws(patient, draws, seed)]
    values_a, values_b = (np.concatenate(values) for values in zip(*drawn, strict=True))
    few = _too_few_patients(positive, patient)
    return PairedBootstrap(
        a=_percentiles(a.estimate, values_a, seed, confidence, few),
        b=_percentiles(b.estimate, values_b, seed, confidence, few),
        diff=_percentiles(a.estimate - b.estimate, values_a - values_b, seed, confidence, few),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Components:
    """Per patient: summed placements less their expectation, times 2 n_pos n_neg so that they are integers."""

    pos: NDArray[np.int64]
    neg: NDArray[np.int64]
    n_pos: int
    n_neg: int
    patients_pos: int
    patients_neg: int

    @classmethod
    def of(cls, placed: Placements, positive: NDArray[np.bool_], patient: NDArray[np.intp]) -> _Components:
        n_patients, n_pos, n_neg = int(patient.max()) + 1, placed.pos.size, placed.neg.size
        held_pos, sum_pos = _per_patient(patient[positive], placed.pos, n_patients)
        held_neg, sum_neg = _per_patient(patient[~positive], placed.neg, n_patients)
        total = int(placed.pos.sum())  # 2 n_pos n_neg AUC, from either side
        return cls(
            pos=n_pos * sum_pos - held_pos * total,
            neg=n_neg * sum_neg - held_neg * total,
            n_pos=n_pos,
            n_neg=n_neg,
            patients_pos=int((held_pos > 0).sum()),
            patients_neg=int((held_neg > 0).sum()),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ranked:
    """Images in the order of their score: class, patient, and where each group of equal scores starts (None without ties)."""

    positive: NDArray[np.bool_]
    patient: NDArray[np.intp]
    starts: NDArray[np.intp] | None
    estimate: float

    @classmethod
    def of(cls, positive: NDArray[np.bool_], scores: NDArray[np.float64], patient: NDArray[np.intp]) -> _Ranked:
        order = np.argsort(scores, kind="stable")
        values = scores[order]
        starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        return cls(
            positive=positive[order],
            patient=patient[order],
            starts=None if starts.size == scores.size else starts,
            estimate=float(placements(positive, scores).auc),
        )

    def auc(self, times_DP: NDArray[np.float64]) -> NDArray[np.float64]:
        """The AUC with each patient's images counted as often as was drawn, shape (D,); NaN where a class was not drawn."""
        weights_DN = times_DP[:, self.patient]
        pos_DG = weights_DN * self.positive
        neg_DG = weights_DN - pos_DG
        if self.starts is not None:
            pos_DG, neg_DG = (np.add.reduceat(part, self.starts, axis=1) for part in (pos_DG, neg_DG))
        below_DG = np.cumsum(neg_DG, axis=1)
        pairs_D = pos_DG.sum(axis=1) * below_DG[:, -1]
        right_D = np.einsum("dg,dg->d", pos_DG, below_DG) - np.einsum("dg,dg->d", pos_DG, neg_DG) / 2
        return np.divide(right_D, pairs_D, out=np.full(pairs_D.shape, np.nan), where=pairs_D > 0)


def _checked(labels: ArrayLike, patients: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    positive = check_labels(labels)
    if positive.size > _MAX_IMAGES:
        raise DataError(f"{positive.size:,} images; at most {_MAX_IMAGES:,} are compared with patients")
    names = np.asarray(patients)
    if names.shape != positive.shape:
        raise ValueError(f"one patient per label, shape {positive.shape}; got {names.shape}")
    return positive, np.unique(names, return_inverse=True)[1]


def _per_patient(
    patient: NDArray[np.intp], placed: NDArray[np.int64], n_patients: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    held, summed = np.zeros(n_patients, dtype=np.int64), np.zeros(n_patients, dtype=np.int64)
    np.add.at(held, patient, 1)
    np.add.at(summed, patient, placed)
    return held, summed


def _covariance(a: _Components, b: _Components) -> Fraction | None:
    """Obuchowski 1997, equations (1) to (4): S10 / n_pos + S01 / n_neg + (S11 + S11') / (n_pos n_neg), exactly."""
    n_pos, n_neg, i10, i01, patients = a.n_pos, a.n_neg, a.patients_pos, a.patients_neg, a.pos.size
    if i10 < 2 or i01 < 2:
        return None
    scale = (2 * n_pos * n_neg) ** 2
    s10 = Fraction(i10, (i10 - 1) * n_pos) * sum_of_products(a.pos, b.pos)
    s01 = Fraction(i01, (i01 - 1) * n_neg) * sum_of_products(a.neg, b.neg)
    s11 = Fraction(patients, patients - 1) * (sum_of_products(a.pos, b.neg) + sum_of_products(a.neg, b.pos))
    return (s10 / n_pos + s01 / n_neg + s11 / (n_pos * n_neg)) / scale


def _estimate(components: _Components, placed: Placements, exact: Fraction | None, confidence: float) -> ClusteredAuc:
    auc = float(placed.auc)
    ci: Interval | None = None
    ci_logit: Interval | None = None
    notes: tuple[str, ...] = ()
    if exact is None:
        notes = ("two patients per class are needed for a variance over patients",)
    elif exact < 0:
        exact, notes = None, ("the variance over patients came out negative: the set is too small to estimate it",)
    else:
        half = _z(confidence) * math.sqrt(exact)
        ci = max(0.0, auc - half), min(1.0, auc + half)
        ci_logit = logit_interval(placed.auc, half) if 0 < placed.auc < 1 else None
    return ClusteredAuc(
        auc=auc,
        variance=None if exact is None else float(exact),
        ci=ci,
        ci_logit=ci_logit,
        n_patients=components.pos.size,
        n_images=placed.pos.size + placed.neg.size,
        n_pos=placed.pos.size,
        n_neg=placed.neg.size,
        patients_pos=components.patients_pos,
        patients_neg=components.patients_neg,
        confidence=confidence,
        notes=notes,
    )


def _paired_notes(var_diff: Fraction | None, diff: Fraction) -> tuple[str, ...]:
    if var_diff is None:
        return ("two patients per class are needed for a variance over patients",)
    if var_diff < 0:
        return ("the variance of the difference came out negative: the set is too small to estimate it",)
    if var_diff == 0 and diff != 0:
        return ("the variance of the difference is 0 though the AUCs differ: not estimable",)
    return ("the variance of the difference is 0 and the AUCs are equal: z = 0 and p = 1 by convention",) if var_diff == 0 else ()


def _patient_draws(patient: NDArray[np.intp], draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each patient is in each draw, shape (chunk of draws, patients)."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}")
    rng = np.random.default_rng(seed)
    n_patients = int(patient.max()) + 1
    chunk = max(1, _CHUNK_CELLS // patient.size)
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        drawn = rng.integers(0, n_patients, size=(size, n_patients)) + n_patients * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_patients).reshape(size, n_patients).astype(np.float64)


def _too_few_patients(positive: NDArray[np.bool_], patient: NDArray[np.intp]) -> str | None:
    """Why nothing can be estimated by drawing patients; None where it can."""
    counts = np.unique(patient[positive]).size, np.unique(patient[~positive]).size
    if min(counts) >= 2:
        return None
    found = f"{counts[0]} patient(s) with a malignant and {counts[1]} with a benign image"
    return f"{found}: a bootstrap over patients needs two of each"


def _percentiles(
    estimate: float, values: NDArray[np.float64], seed: int, confidence: float, refused: str | None
) -> BootstrapInterval:
    defined = values[np.isfinite(values)]
    tail = (1.0 - confidence) / 2.0
    enough = refused is None and defined.size >= 2
    low, high = np.quantile(defined, [tail, 1.0 - tail]) if enough else (math.nan, math.nan)
    return BootstrapInterval(
        estimate=estimate,
        se=float(defined.std(ddof=1)) if enough else None,
        ci=(float(low), float(high)) if enough else None,
        draws=values.size,
        n_undefined=values.size - defined.size,
        seed=seed,
        confidence=confidence,
        note=refused,
    )


def _z(confidence: float) -> float:
    return float(special.ndtri(1.0 - (1.0 - confidence) / 2.0))
