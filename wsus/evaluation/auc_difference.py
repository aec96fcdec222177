"""Limits of the difference of two AUCs of the same cases, from each AUC's own limits on the logit scale.

An AUC near 1 does not vary alike above and below, so that difference +- z se errs to one side in sets of a hundred: at a nominal
5 % it called a worse reader non-inferior in up to 6.8 % (`benchmarks/patients.py`). Here the difference's lower limit is

    d - sqrt((a - l_a)^2 - 2 r (a - l_a)(u_b - b) + (u_b - b)^2)

with l and u the limits of each AUC at the same z, and r the correlation of the two AUCs (DeLong's, or Obuchowski's over
patients); the upper limit likewise. With symmetric limits it is d +- z se. At an AUC of 0 or 1, which has no logit, the limits
are those of Newcombe's score interval at the number of cases, over patients that of patients.

Sources: Zou and Donner 2008, Statistics in Medicine 27:1693 (method of variance estimates recovery, MOVER), after Newcombe
1998, Statistics in Medicine 17:2635; Newcombe 2006, Statistics in Medicine 25:559 (score
interval of one AUC).
"""

from __future__ import annotations

import math

from scipy import optimize, special

from wsus.evaluation.auc import AucEstimate, PairedAucTest, score_limits
from wsus.evaluation.clustered import ClusteredAuc, ClusteredPairedTest
from wsus.evaluation.intervals import Interval

_FARTHEST_Z = 38.0  # beyond it double precision has no p


def difference_limit(test: PairedAucTest | ClusteredPairedTest, z: float) -> float:
    """The lower limit of a - b at z standard errors, the upper one where z is negative.

    Raises:
        ValueError: the test has no variance.
    """
    (low_a, high_a), (low_b, high_b) = (_limits(one, abs(z)) for one in (test.a, test.b))
    down_a, up_a, down_b, up_b = test.a.auc - low_a, high_a - test.a.auc, test.b.auc - low_b, high_b - test.b.auc
    own, other = (down_a, up_b) if z >= 0 else (up_a, down_b)
    squared = own**2 - 2 * _correlation(test) * own * other + other**2
    return test.diff - math.copysign(math.sqrt(max(squared, 0.0)), z)


def p_not_above(test: PairedAucTest | ClusteredPairedTest, delta: float, z: float) -> float:
    """One-sided p of H: a - b <= delta; below the level of z exactly where `difference_limit` at z lies above delta."""

    def distance(at: float) -> float:
        return difference_limit(test, at) - delta

    low, high = -_FARTHEST_Z, _FARTHEST_Z
    if distance(z) > 0:
        low = z
    elif distance(-z) < 0:
        high = -z
    else:
        low, high = sorted((-z, z))
    if distance(low) <= 0 or distance(high) >= 0:  # the limits end before delta, as AUCs do at 0 and 1
        return float(special.ndtr(-low if distance(low) <= 0 else -high))
    return float(special.ndtr(-optimize.brentq(distance, low, high, xtol=1e-12)))


def _limits(estimate: AucEstimate | ClusteredAuc, z: float) -> Interval:
    if estimate.variance is None:
        raise ValueError("an AUC without a variance has no limits")
    auc = estimate.auc
    if 0.0 < auc < 1.0:
        logit, half = float(special.logit(auc)), z * math.sqrt(estimate.variance) / (auc * (1.0 - auc))
        return float(special.expit(logit - half)), float(special.expit(logit + half))
    if isinstance(estimate, ClusteredAuc):
        return score_limits(auc, estimate.patients_pos, estimate.patients_neg, z)
    return score_limits(auc, estimate.n_pos, estimate.n_neg, z)


def _correlation(test: PairedAucTest | ClusteredPairedTest) -> float:
    variances = (test.a.variance or 0.0) * (test.b.variance or 0.0)
    if test.covariance is None or variances <= 0.0:
        return 0.0
    return min(max(test.covariance / math.sqrt(variances), -1.0), 1.0)
