"""Two-sided p-values with their logarithm to base 10, so that a very small one is not lost as 0."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

LN10 = math.log(10.0)
_TIE = 1e-7  # R counts an outcome as equally likely up to this relative difference (binom.test, fisher.test)
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


def rank_of_outcome(step_ratios: NDArray[np.float64], observed: int) -> PValue:
    """The probability of every outcome that is no likelier than the observed one, as R's binom.test and fisher.test sum it.

    The distribution is given by the ratios of neighbouring probabilities alone and has one peak. No factorial is
    computed, so nothing overflows and the rounding error stays near that of a sum.

    Args:
        step_ratios: P(j + 1) / P(j) for j = 0 .. K - 1, not increasing, shape (K,); the support has K + 1 outcomes.
        observed: index of the observed outcome in the support.
    """
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
