"""Tests of two readers of the same cases, and of two groups of cases.

Sources: McNemar 1947, Psychometrika 12:153 (here exact); Fisher 1922, JRSS 85:87; Holm 1979, Scandinavian Journal of
Statistics 6:65; Tango 1998, Statistics in Medicine 17:891 (the score interval of a difference of paired proportions).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from wsus.evaluation.auc import PairedAucTest
from wsus.evaluation.auc_difference import difference_limit, p_not_above
from wsus.evaluation.cases import check_confidence
from wsus.evaluation.clustered import ClusteredPairedTest
from wsus.evaluation.tails import PValue, rank_of_outcome

ONE_SIDED = 0.975  # of a non-inferiority test, by default: half of a two-sided 5 % (ICH E9, section 3.5)


class Verdict(StrEnum):
    """What a non-inferiority test says of reader a against reader b."""

    NON_INFERIOR = "non-inferior"
    INFERIOR = "inferior"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedCounts:
    """How two readers agree with the truth, case by case."""

    both_correct: int
    only_a_correct: int
    only_b_correct: int
    both_wrong: int

    def __post_init__(self) -> None:
        if min(self.both_correct, self.only_a_correct, self.only_b_correct, self.both_wrong) < 0:
            raise ValueError(f"counts cannot be negative; got {self}")

    @property
    def total(self) -> int:
        """The number of cases."""
        return self.both_correct + self.only_a_correct + self.only_b_correct + self.both_wrong


class McNemarTest(NamedTuple):
    """Exact McNemar test; without discordant pairs p = 1 by convention."""

    counts: PairedCounts
    p_value: float
    log10_p: float


@dataclass(frozen=True, kw_only=True, slots=True)
class NonInferiority:
    """Is a not worse than b by `margin` or more?  H0: a - b <= -margin, one-sided at 1 - confidence.

    lower, upper: one-sided bounds of a - b, each at `confidence` (together a two-sided 2 confidence - 1 interval).
    p_value: of H0.  Non-inferior where lower > -margin; inferior where upper < -margin; else inconclusive.
    """

    margin: float
    diff: float
    lower: float | None
    upper: float | None
    p_value: float | None
    verdict: Verdict
    confidence: float
    notes: tuple[str, ...] = ()


def paired_counts(correct_a: ArrayLike, correct_b: ArrayLike) -> PairedCounts:
    """Count the four outcomes. Args: bool, True where the reader is right, shape (N,) each. Raises ValueError: shapes differ."""
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"two readers of the same cases have shapes (N,) and (N,); got {a.shape} and {b.shape}")
    both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum())
    neither = a.size - both - only_a - only_b
    return PairedCounts(both_correct=both, only_a_correct=only_a, only_b_correct=only_b, both_wrong=neither)


def mcnemar_exact(counts: PairedCounts) -> McNemarTest:
    """Two-sided exact McNemar test: the discordant pairs against Binomial(b + c, 1/2), as R's `binom.test`.

    >>> mcnemar_exact(PairedCounts(both_correct=5, only_a_correct=3, only_b_correct=0, both_wrong=1)).p_value
    0.25
    """
    discordant = counts.only_a_correct + counts.only_b_correct
    p = rank_of_outcome(lambda x: (discordant - x) / (x + 1.0), discordant, counts.only_a_correct, discordant / 2)
    return McNemarTest(counts, p.p, p.log10_p)


def fisher_exact(a: int, b: int, c: int, d: int) -> PValue:
    """Fisher's exact test of the table [[a, b], [c, d]], two-sided as R's `fisher.test`; an empty margin gives p = 1.

    The tables that are no likelier than the observed one are summed, up to a relative 1e-7.

    Raises:
        ValueError: a count is negative.
    """
    if min(a, b, c, d) < 0:
        raise ValueError(f"counts cannot be negative; got {(a, b, c, d)}")
    row, column, other = a + b, a + c, c + d
    lowest, highest = max(0, column - other), min(row, column)

    def ratio(step: NDArray[np.float64]) -> NDArray[np.float64]:
        x = step + lowest
        return (row - x) * (column - x) / ((x + 1.0) * (other - column + x + 1.0))

    return rank_of_outcome(ratio, highest - lowest, a - lowest, row * column / max(row + other, 1) - lowest)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment, in the order given; None (not testable) stays None and is not counted.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    if any(p is not None and not 0.0 <= p <= 1.0 for p in p_values):
        raise ValueError(f"p-values lie in [0, 1]; got {list(p_values)}")
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(tested):
        running = max(running, min(1.0, (len(tested) - rank) * p))
        adjusted[index] = running
    return adjusted


def noninferiority_auc(
    test: PairedAucTest | ClusteredPairedTest, margin: float = 0.05, confidence: float = ONE_SIDED
) -> NonInferiority:
    """Non-inferiority of the AUC of a to that of b, from their DeLong test, or from Obuchowski's over patients.

    The bounds take variances and correlation of that test on the logit scale (`auc_difference`); the test's own interval and P
    are DeLong's. With a variance of the difference that is zero or undefined nothing can be concluded.
    """
    _check_margin(margin)
    if test.se_diff is None or test.se_diff == 0.0:
        reason = test.notes[0] if test.se_diff is None else "the variance of the difference is 0: the bounds have no width"
        return _judge(margin, test.diff, None, None, confidence, (reason,))
    z = float(special.ndtri(check_confidence(confidence)))
    bounds = difference_limit(test, z), difference_limit(test, -z)
    return _judge(margin, test.diff, bounds, p_not_above(test, -margin, z), confidence)


def noninferiority_paired(
    counts: PairedCounts, margin: float = 0.05, confidence: float = ONE_SIDED, *, design_effect: float = 1.0
) -> NonInferiority:
    """Non-inferiority of a's share of correct calls (sensitivity or specificity) to b's, by Tango's score test.

    It has a width without discordant pairs too.

    Args:
        design_effect: how many cases weigh as much as one independent case; every count is divided by it (Rao and Scott).
    Raises:
        ValueError: there is no case, the margin does not lie in (0, 1), or the design effect is not positive.
    """
    _check_margin(margin)
    if counts.total == 0:
        raise ValueError("there is no case to compare two readers on")
    if not design_effect > 0.0:
        raise ValueError(f"a design effect is positive; got {design_effect!r}")
    z = float(special.ndtri(check_confidence(confidence)))
    n, b, c = (count / design_effect for count in (counts.total, counts.only_a_correct, counts.only_b_correct))
    diff = (counts.only_a_correct - counts.only_b_correct) / counts.total
    bounds = _tango_bound(n, b, c, diff, z), -_tango_bound(n, c, b, -diff, z)
    p = float(special.ndtr(-tango_z(n, b, c, -margin)))
    return _judge(margin, diff, bounds, p, confidence)


def _judge(
    margin: float,
    diff: float,
    bounds: tuple[float, float] | None,
    p: float | None,
    confidence: float,
    notes: tuple[str, ...] = (),
) -> NonInferiority:
    verdict = Verdict.INCONCLUSIVE
    if bounds is not None and bounds[0] > -margin:
        verdict = Verdict.NON_INFERIOR
    elif bounds is not None and bounds[1] < -margin:
        verdict = Verdict.INFERIOR
    lower, upper = bounds or (None, None)
    return NonInferiority(
        margin=margin, diff=diff, lower=lower, upper=upper, p_value=p, verdict=verdict, confidence=confidence, notes=notes
    )


def _check_margin(margin: float) -> None:
    if not 0.0 < margin < 1.0:
        raise ValueError(f"margin must lie in (0, 1), such as 0.05; got {margin!r}")


def tango_z(n: float, b: float, c: float, delta: float) -> float:
    """Tango's score statistic of H: a - b = delta, with the nuisance share under H at its maximum likelihood.

    n: cases.  b, c: cases that only a, and only b, called rightly; none of the three need be a whole number.
    """
    variance = n * tango_variance(n, b, c, delta)
    return (b - c - n * delta) / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, b - c - n * delta)


def tango_variance(n: float, b: float, c: float, delta: float) -> float:
    """The variance of one case's difference under H: a - b = delta."""
    linear = -(b + c) + (2 * n - b + c) * delta
    share = (math.sqrt(linear**2 + 8 * n * c * delta * (1 - delta)) - linear) / (4 * n)
    return 2 * share + delta * (1 - delta)


def _tango_bound(n: float, b: float, c: float, diff: float, z: float) -> float:
    """The lower bound: the delta below diff at which the statistic reaches z."""
    if diff == -1.0:
        return -1.0
    return float(optimize.brentq(lambda delta: min(tango_z(n, b, c, delta), 1e9) - z, -1.0 + 1e-12, diff - 1e-15, xtol=1e-12))
