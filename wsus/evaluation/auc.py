"""The area under the ROC curve: estimate, DeLong interval, paired and unpaired comparison.

Sources: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837; Sun and Xu 2014, IEEE Signal Processing Letters
21:1389 (the O(n log n) form); Robin et al. 2011, BMC Bioinformatics 12:77 (pROC, whose conventions are followed);
Newcombe 2006, Statistics in Medicine 25:559 (the score interval, which does not collapse at an AUC of 0 or 1).
Placements are exact integers and variances exact fractions, rounded once to float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from wsus.evaluation.cases import check_confidence, check_labels, check_scores
from wsus.evaluation.intervals import Interval
from wsus.evaluation.placements import Placements, covariance, placements
from wsus.evaluation.tails import normal_two_sided, student_two_sided


@dataclass(frozen=True, kw_only=True, slots=True)
class AucEstimate:
    """An empirical AUC with its uncertainty; None where that cannot be estimated, with the reason in `notes`.

    exact: the AUC as a fraction.  variance: DeLong's.
    ci: AUC +- z se, clipped to [0, 1]; `ci_clipped` says whether that changed it.
    ci_logit: on the logit scale; None at an AUC of 0 or 1.
    ci_score: Newcombe's score interval; it needs only the AUC and the counts, so it always exists.
    """

    auc: float
    exact: Fraction
    variance: float | None
    ci: Interval | None
    ci_clipped: bool
    ci_logit: Interval | None
    ci_score: Interval
    n_pos: int
    n_neg: int
    confidence: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedAucTest:
    """Two AUCs of the same cases, compared (two-sided). diff = a - b; its interval is not clipped.

    auc_equal, var_diff_zero: exact, not up to rounding. A zero variance with equal AUCs gives z = 0, p = 1; with
        different AUCs nothing can be tested, and z, p_value and log10_p are None.
    """

    a: AucEstimate
    b: AucEstimate
    covariance: float | None
    diff: float
    se_diff: float | None
    z: float | None
    p_value: float | None
    log10_p: float | None
    ci_diff: Interval | None
    auc_equal: bool
    var_diff_zero: bool
    confidence: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpairedAucTest:
    """Two AUCs of independent cases, compared (two-sided) on Student's t with `df`, as pROC does; None as noted."""

    d: float | None
    df: float | None
    p_value: float | None
    log10_p: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RocCurve:
    """Points of an empirical ROC curve from (0, 0) to (1, 1), shape (K,) each.

    threshold: a case is called malignant where score >= threshold; the first is +inf.
    """

    false_positive_rate: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    threshold: NDArray[np.float64]


def auc_with_interval(labels: ArrayLike, scores: ArrayLike, confidence: float = 0.95) -> AucEstimate:
    """The AUC of one score with its DeLong variance and intervals.

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  scores: finite, higher is more malignant, shape (N,).
    Raises:
        DataError: an unknown label, one class only, a score that is not finite.
        ValueError: shapes that do not fit, a confidence outside (0, 1).

    >>> auc_with_interval([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).auc
    0.75
    """
    positive = check_labels(labels)
    placed = placements(positive, check_scores(scores, positive.size))
    return _estimate(placed, covariance(placed, placed), check_confidence(confidence))


def delong_paired(labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, confidence: float = 0.95) -> PairedAucTest:
    """DeLong's test of two scores of the same cases. Arguments and errors as `auc_with_interval`."""
    positive = check_labels(labels)
    of_a = placements(positive, check_scores(scores_a, positive.size, name="score_a"))
    of_b = placements(positive, check_scores(scores_b, positive.size, name="score_b"))
    return _compare(of_a, of_b, check_confidence(confidence))


def delong_unpaired(a: AucEstimate, b: AucEstimate) -> UnpairedAucTest:
    """Compare AUCs of two independent sets of cases: D = (a - b) / sqrt(var a + var b), with Welch's degrees of freedom.

    As pROC's `roc.test(paired=FALSE)`: the degrees of freedom count all cases of a set, less one.
    """
    if a.variance is None or b.variance is None:
        return UnpairedAucTest(d=None, df=None, p_value=None, log10_p=None, notes=(a.notes or b.notes)[:1])
    total = a.variance + b.variance
    if total == 0.0:
        reason = "both variances are 0, so the difference cannot be tested"
        return UnpairedAucTest(d=None, df=None, p_value=None, log10_p=None, notes=(reason,))
    d = float(a.exact - b.exact) / math.sqrt(total)  # of rounded AUCs, a small difference would lose its digits
    share_a, share_b = a.variance / total, b.variance / total
    df = 1.0 / (share_a**2 / (a.n_pos + a.n_neg - 1) + share_b**2 / (b.n_pos + b.n_neg - 1))
    p = student_two_sided(d, df)
    return UnpairedAucTest(d=d, df=df, p_value=p.p, log10_p=p.log10_p)


def newcombe_interval(auc: float, n_pos: int, n_neg: int, confidence: float = 0.95) -> Interval:
    """The AUCs theta with |auc - theta| <= z sqrt(var(theta)): a score interval (Newcombe 2006, method 5).

    var(theta) = theta (1 - theta) (1 + N (1 - theta) / (2 - theta) + N theta / (1 + theta)) / (n_pos n_neg), with
    N = (n_pos + n_neg) / 2 - 1. It never leaves [0, 1] and has a width at an AUC of 0 or 1.
    """
    return score_limits(auc, n_pos, n_neg, _z(check_confidence(confidence)))


def score_limits(auc: float, n_pos: int, n_neg: int, z: float) -> Interval:
    """`newcombe_interval` at z standard errors."""
    return _score_low(auc, n_pos, n_neg, z**2), 1.0 - _score_low(1.0 - auc, n_pos, n_neg, z**2)


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """The corners of the ROC curve, one per distinct score. Arguments and errors as `auc_with_interval`."""
    positive = check_labels(labels)
    values = check_scores(scores, positive.size)
    order = np.argsort(-values, kind="stable")
    values, called = values[order], np.cumsum(positive[order])
    last_of_tie = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    true_positives = np.concatenate([[0], called[last_of_tie]])
    false_positives = np.concatenate([[0], last_of_tie + 1]) - true_positives
    return RocCurve(
        false_positive_rate=false_positives / false_positives[-1],
        sensitivity=true_positives / true_positives[-1],
        threshold=np.concatenate([[np.inf], values[last_of_tie]]),
    )


def _estimate(placed: Placements, exact_variance: Fraction | None, confidence: float) -> AucEstimate:
    exact = placed.auc
    auc, n_pos, n_neg = float(exact), placed.pos.size, placed.neg.size
    variance = None if exact_variance is None else float(exact_variance)
    score = newcombe_interval(auc, n_pos, n_neg, confidence)
    notes: list[str] = []
    ci = ci_logit = None
    clipped = False
    if variance is None:
        notes.append(single_case_reason(n_pos, n_neg))
    else:
        half = _z(confidence) * math.sqrt(variance)
        clipped = auc - half < 0.0 or auc + half > 1.0
        ci = max(0.0, auc - half), min(1.0, auc + half)
        if exact in (0, 1):
            notes.append(f"the AUC is {auc:.0f}: DeLong's variance is 0 and its interval collapses; use the score interval")
        else:
            ci_logit = logit_interval(exact, half)
    return AucEstimate(
        auc=auc,
        exact=exact,
        variance=variance,
        ci=ci,
        ci_clipped=clipped,
        ci_logit=ci_logit,
        ci_score=score,
        n_pos=n_pos,
        n_neg=n_neg,
        confidence=confidence,
        notes=tuple(notes),
    )


def _compare(of_a: Placements, of_b: Placements, confidence: float) -> PairedAucTest:
    var_a, var_b, cov = covariance(of_a, of_a), covariance(of_b, of_b), covariance(of_a, of_b)
    a, b = _estimate(of_a, var_a, confidence), _estimate(of_b, var_b, confidence)
    exact_diff = of_a.auc - of_b.auc
    var_diff = None if var_a is None or var_b is None or cov is None else var_a + var_b - 2 * cov
    diff = float(exact_diff)
    se = None if var_diff is None else math.sqrt(var_diff)
    half = None if se is None else _z(confidence) * se
    z, note = _statistic(exact_diff, se, single_case_reason(a.n_pos, a.n_neg))
    p = None if z is None else normal_two_sided(z)
    return PairedAucTest(
        a=a,
        b=b,
        covariance=None if cov is None else float(cov),
        diff=diff,
        se_diff=se,
        z=z,
        p_value=None if p is None else p.p,
        log10_p=None if p is None else p.log10_p,
        ci_diff=None if half is None else (diff - half, diff + half),
        auc_equal=exact_diff == 0,
        var_diff_zero=var_diff == 0,
        confidence=confidence,
        notes=() if note is None else (note,),
    )


def _statistic(diff: Fraction, se: float | None, undefined: str) -> tuple[float | None, str | None]:
    """The statistic of the paired test, and what a reader must know of it."""
    if se is None:
        return None, undefined
    if se > 0:
        return float(diff) / se, None
    if diff == 0:
        return 0.0, "the variance of the difference is 0 and the AUCs are equal: z = 0 and p = 1 by convention"
    return None, f"the variance of the difference is 0 though the AUCs differ by {float(diff):g}: not estimable"


def single_case_reason(n_pos: int, n_neg: int) -> str:
    """Why nothing but the AUC is given where a class has one case."""
    return (
        f"the sample variance of a single placement is undefined (n_pos={n_pos}, n_neg={n_neg}): two cases per class are needed"
    )


def logit_interval(auc: Fraction, half: float) -> Interval:
    """logit(A) +- half / (A (1 - A)), brought back; half = z se, and A lies strictly between 0 and 1."""
    logit = math.log(auc / (1 - auc))
    half_logit = half / float(auc * (1 - auc))
    return float(special.expit(logit - half_logit)), float(special.expit(logit + half_logit))


def _score_low(auc: float, n_pos: int, n_neg: int, z_squared: float) -> float:
    extra = (n_pos + n_neg) / 2 - 1

    def spread(theta: float) -> float:
        return z_squared * theta * (1 + extra * (1 - theta) / (2 - theta) + extra * theta / (1 + theta)) / (n_pos * n_neg)

    if auc == 0.0:
        return 0.0
    if auc == 1.0:  # a factor (1 - theta) is divided out of both sides, and with it the root at 1
        return float(optimize.brentq(lambda theta: 1 - theta - spread(theta), 0.0, 1.0, xtol=1e-15))
    return float(optimize.brentq(lambda theta: (auc - theta) ** 2 - (1 - theta) * spread(theta), 0.0, auc, xtol=1e-15))


def _z(confidence: float) -> float:
    return float(special.ndtri(1.0 - (1.0 - confidence) / 2.0))
