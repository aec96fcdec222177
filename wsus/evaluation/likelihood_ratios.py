"""Likelihood ratios of a test with two outcomes: LR+ = sensitivity / (1 - specificity), LR- = (1 - sensitivity) / specificity.

Each is a ratio of two independent proportions, and may have two intervals. Score: Koopman 1984, Biometrics 40:513, without
a continuity correction. Exact unconditional: the smallest interval that keeps its coverage whatever the two proportions
are, among those that order the outcomes by their score limits (Buehler 1957, JASA 52:482; Lloyd and Kabaila 2003,
Australian and New Zealand Journal of Statistics 45:167), the nuisance proportion looked for where the data allow it
(Berger and Boos 1994, JASA 89:1012). Clopper-Pearson is the same construction for a single proportion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from wsus.evaluation.cases import check_confidence
from wsus.evaluation.intervals import Interval, clopper_pearson

EXACT, SCORE = "exact unconditional", "score"
_MAX_EXACT = 2_000  # cases; beyond it the score interval is given, which then differs by less than 1 %
_ORDER = 0.95  # confidence of the score limits that order the outcomes
_GAMMA = 1e-4  # Berger and Boos: the share of the error that is spent on narrowing the nuisance proportion
_SAME = 1e-9  # a score statistic this close to the limit counts as reaching it, as the observed one does


@dataclass(frozen=True, kw_only=True, slots=True)
class RatioOfProportions:
    """(x1 / n1) / (x0 / n0) with its interval.

    estimate: None where it is infinite (x0 = 0) or undefined (both 0), as `note` says.
    low, high: None where the bound is infinite or there is none.
    method: EXACT or SCORE.
    """

    x1: int
    n1: int
    x0: int
    n0: int
    estimate: float | None
    low: float | None
    high: float | None
    method: str
    confidence: float
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LikelihoodRatios:
    """How many times likelier a call is in a malignant than in a benign case: called malignant (LR+), called benign (LR-)."""

    positive: RatioOfProportions
    negative: RatioOfProportions


def likelihood_ratios(tp: int, fn: int, tn: int, fp: int, confidence: float = 0.95) -> LikelihoodRatios:
    """Both likelihood ratios of a 2 x 2 table, with exact intervals (score intervals beyond 2,000 cases).

    Raises:
        ValueError: a count is negative, a class has no case, a confidence outside (0, 1).

    >>> likelihood_ratios(tp=90, fn=10, tn=80, fp=20).positive.estimate
    4.5
    """
    return LikelihoodRatios(
        positive=ratio_of_proportions(tp, tp + fn, fp, tn + fp, confidence),
        negative=ratio_of_proportions(fn, tp + fn, tn, tn + fp, confidence),
    )


def ratio_of_proportions(
    x1: int, n1: int, x0: int, n0: int, confidence: float = 0.95, *, method: str | None = None
) -> RatioOfProportions:
    """The ratio of two independent proportions x1 / n1 and x0 / n0.

    Args:
        method: EXACT or SCORE; by default EXACT up to 2,000 cases.
    Raises:
        ValueError: counts that cannot be, an unknown method, a confidence outside (0, 1).
    """
    check_confidence(confidence)
    if not (0 <= x1 <= n1 and 0 <= x0 <= n0 and n1 > 0 and n0 > 0):
        raise ValueError(f"two proportions need 0 <= x <= n and n >= 1; got {x1} of {n1} and {x0} of {n0}")
    method = method or (EXACT if n1 + n0 <= _MAX_EXACT else SCORE)
    if method not in (EXACT, SCORE):
        raise ValueError(f"method must be {EXACT!r} or {SCORE!r}; got {method!r}")
    low = high = note = None
    if x1 == x0 == 0:
        note = "both shares are 0: the ratio is undefined"
    else:
        bound = _exact_low if method == EXACT else _score_low
        low = bound(x1, n1, x0, n0, confidence)
        over = bound(x0, n0, x1, n1, confidence)  # of the ratio turned over
        high = None if over == 0.0 else 1.0 / over
    if x0 == 0 and x1 > 0:
        note = "the lower share is 0: the ratio is infinite"
    return RatioOfProportions(
        x1=x1,
        n1=n1,
        x0=x0,
        n0=n0,
        estimate=None if x0 == 0 else x1 * n0 / (n1 * x0),
        low=low,
        high=high,
        method=method,
        confidence=confidence,
        note=note,
    )


def _score_low(x1: int, n1: int, x0: int, n0: int, confidence: float) -> float:
    """The ratio below the estimate at which the score statistic reaches the normal quantile; 0 where x1 = 0."""
    if x1 == 0:
        return 0.0
    z = _z(confidence)

    def excess(log_ratio: float) -> float:
        return float(_score(np.array([x1]), n1, np.array([x0]), n0, math.exp(log_ratio))[0]) - z

    top = math.log(x1 * n0 / (n1 * max(x0, 0.5)))
    while excess(top) > 0:
        top += 1.0
    bottom = top - 1.0
    while excess(bottom) < 0:
        bottom -= 1.0
    return math.exp(optimize.brentq(excess, bottom, top, xtol=1e-13, rtol=1e-13))


def _score(x1: NDArray[np.int64], n1: int, x0: NDArray[np.int64], n0: int, ratio: float) -> NDArray[np.float64]:
    """The score statistic of H: p1 = ratio p0, with p0 under H at its maximum likelihood; 0 where nothing can vary."""
    n = n1 + n0
    linear = n1 * ratio + x1 + n0 + x0 * ratio
    root = np.sqrt(np.maximum(linear**2 - 4 * n * ratio * (x1 + x0), 0.0))
    p0 = np.clip(2 * (x1 + x0) / (linear + root), 0.0, min(1.0, 1.0 / ratio))
    p1 = np.minimum(ratio * p0, 1.0)
    variance = p1 * (1 - p1) / n1 + ratio**2 * p0 * (1 - p0) / n0
    distance = x1 / n1 - ratio * x0 / n0
    return np.divide(distance, np.sqrt(variance), out=np.zeros_like(distance), where=variance > 0)


def _exact_low(x1: int, n1: int, x0: int, n0: int, confidence: float) -> float:
    """The ratio below which outcomes as extreme as this one have a probability under alpha / 2, whatever p0 may be.

    As extreme are the outcomes whose own score limit is no lower: the limit of 95 %, at any confidence, so that more confidence
    is a wider interval. Their probability rises with the ratio at every p0, and bisection finds the limit. p0 is looked for
    in its Clopper-Pearson interval of 1 - gamma, and gamma is paid for.
    """
    if x1 == 0:
        return 0.0
    tail = (1.0 - confidence) / 2.0
    gamma = min(_GAMMA, tail / 100.0)
    nuisance, wanted = clopper_pearson(x0, n0, 1.0 - gamma), math.log(tail - gamma)
    start = math.log(_score_low(x1, n1, x0, n0, _ORDER))
    fewest = _fewest_extreme(n1, n0, math.exp(start), _z(_ORDER))

    def excess(log_ratio: float) -> float:
        return math.log(max(_largest_probability(fewest, n1, n0, math.exp(log_ratio), nuisance), 1e-300)) - wanted

    bottom, top = start - 0.05, start + 0.05
    while excess(bottom) > 0:
        bottom -= 4 * (top - bottom)
    while excess(top) < 0:
        top += 4 * (top - bottom)
    return math.exp(optimize.brentq(excess, bottom, top, xtol=1e-7, rtol=1e-7))


def _fewest_extreme(n1: int, n0: int, ratio: float, z: float) -> NDArray[np.int64]:
    """For x0 = 0 .. n0 the smallest x1 whose score statistic reaches z (n1 + 1 where none does), by bisection."""
    x0 = np.arange(n0 + 1)
    low, high = np.zeros(n0 + 1, dtype=np.int64), np.full(n0 + 1, n1 + 1)
    while (low < high).any():
        middle = (low + high) // 2
        reached = (middle > n1) | (_score(np.minimum(middle, n1), n1, x0, n0, ratio) >= z - _SAME)
        low, high = np.where(reached, low, np.minimum(middle + 1, high)), np.where(reached, middle, high)
    return low


def _largest_probability(fewest: NDArray[np.int64], n1: int, n0: int, ratio: float, nuisance: Interval) -> float:
    """The largest probability of x1 >= fewest[x0] over p0, with p1 = ratio p0: on a grid, then on a finer one at its peak.

    The grid has a step of half a standard error or less both on the arcsine scale of p0 and on that of p1.
    """
    low, high = nuisance[0], max(nuisance[0], min(nuisance[1], 1.0 / ratio))
    p0 = np.sort(np.concatenate([_even(low, high, n0), _even(low * ratio, high * ratio, n1) / ratio])).clip(0.0, 1.0)
    for _ in range(2):
        at_least = np.cumsum(_binomial(n1, np.minimum(ratio * p0, 1.0))[:, ::-1], axis=1)[:, ::-1]
        at_least = np.concatenate([at_least, np.zeros((p0.size, 1))], axis=1)
        found = np.einsum("pk,pk->p", _binomial(n0, p0), at_least[:, fewest])
        peak = int(found.argmax())
        p0 = np.linspace(p0[max(peak - 1, 0)], p0[min(peak + 1, p0.size - 1)], 9)
    return float(found.max())


def _even(low: float, high: float, n: int) -> NDArray[np.float64]:
    """Proportions from low to high whose arcsine roots lie half a standard error of n cases apart, or less."""
    ends = np.arcsin(np.sqrt(np.minimum([low, high], 1.0)))
    count = 2 + math.ceil((ends[1] - ends[0]) * 4.0 * math.sqrt(n))
    found: NDArray[np.float64] = np.sin(np.linspace(ends[0], ends[1], count)) ** 2
    return found


def _binomial(n: int, p_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """The binomial distribution at every p, shape (P, n + 1)."""
    k = np.arange(n + 1)
    ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    found: NDArray[np.float64] = np.exp(ways + special.xlogy(k, p_P[:, None]) + special.xlog1py(n - k, -p_P[:, None]))
    return found


def _z(confidence: float) -> float:
    return float(special.ndtri(1.0 - (1.0 - confidence) / 2.0))
