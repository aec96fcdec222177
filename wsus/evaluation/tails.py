"""Two-sided p-values with their logarithm to base 10, so that a very small one is not lost as 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

LN10 = math.log(10.0)
_TIE = 1e-7  # R counts an outcome as equally likely up to this relative difference (binom.test, fisher.test)
_WHOLE = 2_000_000  # outcomes that are summed one by one: 0.1 s
_SMALLEST = 1e-290  # below this, double precision begins to lose digits: work with logarithms


class PValue(NamedTuple):
    """A p-value. p may underflow to 0.0; log10_p does not."""

    p: float
    log10_p: float


def normal_two_sided(z: float) -> PValue:
    """P(|N(0, 1)| >= |z|)."""
    log10_p = (math.log(2.0) + float(special.log_ndtr(-abs(z)))) / LN10
    return PValue(math.erfc(abs(z) / math.sqrt(2.0)), min(log10_p, 0.0))


def student_two_sided(t: float, df: float) -> PValue:
    """P(|T| >= |t|) of Student's t with `df` degrees of freedom, by the incomplete beta function I_x(df/2, 1/2)."""
    square = t * t
    x, complement = df / (df + square), square / (df + square)
    p = float(special.betaincc(0.5, df / 2, complement) if complement < 0.5 else special.betainc(df / 2, 0.5, x))
    if p > _SMALLEST:
        return PValue(p, min(math.log10(p), 0.0))
    return PValue(p, _log_betainc(df / 2, 0.5, x, complement) / LN10)


def rank_of_outcome(ratio: Callable[[NDArray[np.float64]], NDArray[np.float64]], last: int, observed: int, mean: float) -> PValue:
    """The probability of every outcome that is no likelier than the observed one, as R's binom.test and fisher.test sum it.

    The distribution is given by the ratios of neighbouring probabilities alone and has one peak. No factorial is
    computed, so nothing overflows and the rounding error stays near that of a sum. Of a support of more than _WHOLE outcomes
    only those are summed that are likelier than 1e-300 of the peak, and the observed one's neighbours.

    Args:
        ratio: j -> P(j + 1) / P(j), not increasing, for j = 0 .. last - 1 as floats.  last: the last outcome.
        observed: the observed outcome.  mean: near the peak.
    """
    if last <= _WHOLE:
        return _rank(ratio(np.arange(last, dtype=np.float64)), observed)
    middle = round(min(max(mean, 0), last))
    low, high = _reach(ratio, middle, last, -1), _reach(ratio, middle, last, 1)
    if low <= observed <= high:
        return _rank(ratio(np.arange(low, high, dtype=np.float64)), observed - low)
    return _far_tail(ratio, observed, low, high)


def _reach(ratio: Callable[[NDArray[np.float64]], NDArray[np.float64]], middle: int, last: int, direction: int) -> int:
    """The outcome beyond which, going from the middle, each is less likely than 1e-300 of the peak."""
    step = 1024
    while True:
        place = min(max(middle + direction * step, 0), last)
        first, stop = sorted((middle, place))
        fall = float(np.log(ratio(np.arange(first, stop, dtype=np.float64))).sum()) * direction
        if place in (0, last) or fall < -691.0:
            return place
        step *= 2


def _far_tail(ratio: Callable[[NDArray[np.float64]], NDArray[np.float64]], observed: int, low: int, high: int) -> PValue:
    """P of an outcome beyond the window: 0 in double precision; its logarithm from the steps between, by the trapezoid rule."""
    edge = low if observed < low else high
    steps = np.linspace(min(edge, observed), max(edge, observed) - 1, 200_001)
    fall = float(np.trapezoid(np.log(ratio(steps)), steps)) * (1 if observed > edge else -1)
    return PValue(0.0, (fall - 691.0) / LN10)


def _rank(step_ratios: NDArray[np.float64], observed: int) -> PValue:
    """`rank_of_outcome` of a whole support. step_ratios: shape (K,) of K + 1 outcomes."""
    mode = int(np.count_nonzero(step_ratios >= 1.0))
    weights = np.concatenate([np.cumprod(1.0 / step_ratios[:mode][::-1])[::-1], [1.0], np.cumprod(step_ratios[mode:])])
    if weights[observed] > _SMALLEST:
        extreme = weights <= weights[observed] * (1.0 + _TIE)
        p = min(float(weights[extreme].sum() / weights.sum()), 1.0)
        return PValue(p, math.log10(p))
    steps = np.log(step_ratios)
    logs = np.concatenate([-np.cumsum(steps[:mode][::-1])[::-1], [0.0], np.cumsum(steps[mode:])])
    extreme = logs <= logs[observed] + _TIE
    tail = float(np.exp(logs[extreme] - logs[observed]).sum())
    log10_p = (float(logs[observed]) + math.log(tail) - math.log(float(weights.sum()))) / LN10
    return PValue(10.0**log10_p, log10_p)


def _log_betainc(a: float, b: float, x: float, complement: float) -> float:
    """log I_x(a, b) for x left of the mean, by the continued fraction DLMF 8.17.22 (modified Lentz)."""
    tiny, numerator, denominator = 1e-300, 1.0, 1.0 - (a + b) * x / (a + 1.0)
    denominator = 1.0 / (denominator or tiny)
    fraction = denominator
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            denominator = 1.0 / ((1.0 + term * denominator) or tiny)
            numerator = (1.0 + term / numerator) or tiny
            change = numerator * denominator
            fraction *= change
        if abs(change - 1.0) < 1e-15:
            break
    return a * math.log(x) + b * math.log(complement) - math.log(a) - float(special.betaln(a, b)) + math.log(fraction)
