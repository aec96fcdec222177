"""How many cases a comparison needs, and what the one that was made could have shown.

Sources: Obuchowski 1998, Statistical Methods in Medical Research 7:371, and Liu, Ma, Wu and Tai 2006, Statistics in
Medicine 25:1219 (AUC, paired non-inferiority); Connor 1987, Biometrics 43:207 (McNemar); Hoenig and Heisey 2001, The
American Statistician 55:19, on why the power is never computed from the difference that was observed: what is taken from
the data is the spread alone, and the true difference is stated beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from wsus.evaluation.auc import PairedAucTest
from wsus.evaluation.paired import PairedCounts


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerOfTest:
    """What a test can show. power, needed_*: None where the spread is unknown, as `note` says.

    power: that the test comes out with the cases that there are, if the true difference is `assumed_diff`.
    needed_pos, needed_neg: malignant and benign cases for `target` power; None for a class that the test does not use.
    """

    assumed_diff: float
    target: float
    power: float | None
    needed_pos: int | None
    needed_neg: int | None
    note: str | None = None


def power_noninferiority_auc(
    test: PairedAucTest, margin: float = 0.05, *, assumed_diff: float = 0.0, target: float = 0.8, confidence: float = 0.95
) -> PowerOfTest:
    """Power of the one-sided test of non-inferiority on AUC, and the cases for `target` power at the same share of classes.

    The variance of the difference falls as 1 / n with both classes growing alike; its size is DeLong's estimate.

    Args:
        margin: of non-inferiority.  assumed_diff: the true a - b, above -margin; 0 says that a is as good as b.
        confidence: one-sided.
    Raises:
        ValueError: a margin, difference, target or confidence that cannot be.
    """
    _check(target, confidence)
    distance = margin + assumed_diff
    if not 0.0 < margin < 1.0 or distance <= 0.0:
        raise ValueError(
            f"non-inferiority needs a margin in (0, 1) and a true difference above -margin; got {margin}, {assumed_diff}"
        )
    if test.se_diff is None or test.se_diff == 0.0:
        note = test.notes[0] if test.notes else "the variance of the difference is 0: its spread is unknown"
        return PowerOfTest(assumed_diff=assumed_diff, target=target, power=None, needed_pos=None, needed_neg=None, note=note)
    z = float(special.ndtri(confidence))
    factor = ((z + float(special.ndtri(target))) * test.se_diff / distance) ** 2
    return PowerOfTest(
        assumed_diff=assumed_diff,
        target=target,
        power=float(special.ndtr(distance / test.se_diff - z)),
        needed_pos=max(2, math.ceil(test.a.n_pos * factor)),
        needed_neg=max(2, math.ceil(test.a.n_neg * factor)),
    )


def power_mcnemar(
    counts: PairedCounts, assumed_diff: float = 0.05, *, target: float = 0.8, alpha: float = 0.05, malignant: bool = True
) -> PowerOfTest:
    """Power of the exact two-sided McNemar test, and the cases of the class for `target` power.

    The share of discordant cases is the observed one, or |assumed_diff| where that is larger: a difference needs as many.

    Args:
        counts: the cases of one class.  malignant: which class that is; the other one needs no case.
        assumed_diff: the true difference of the two shares of right calls, not 0.
    Raises:
        ValueError: there is no case; a difference, target or alpha that cannot be.
    """
    _check(target, 1.0 - alpha)
    if not 0.0 < abs(assumed_diff) < 1.0:
        raise ValueError(f"the assumed difference must lie in (-1, 1) and not be 0, such as 0.05; got {assumed_diff!r}")
    if counts.total == 0:
        raise ValueError("there is no case to compare two readers on")
    observed = (counts.only_a_correct + counts.only_b_correct) / counts.total
    discordant = max(observed, abs(assumed_diff))
    needed = mcnemar_cases(discordant, assumed_diff, target=target, alpha=alpha)
    return PowerOfTest(
        assumed_diff=assumed_diff,
        target=target,
        power=mcnemar_power(counts.total, discordant, assumed_diff, alpha=alpha),
        needed_pos=needed if malignant else None,
        needed_neg=None if malignant else needed,
        note=None
        if observed >= abs(assumed_diff)
        else "fewer discordant cases than the difference takes: they were taken to be as many",
    )


def mcnemar_power(n: int, discordant: float, diff: float, *, alpha: float = 0.05) -> float:
    """Exact power of the exact McNemar test on n pairs: the chance that a two-sided p is at most alpha.

    Args:
        discordant: share of pairs on which the two differ, in [|diff|, 1].  diff: p(only a right) - p(only b right).
    Raises:
        ValueError: n < 1, or shares that cannot be.
    """
    _check_shares(n, discordant, diff)
    middle, reach = n * discordant, 9.0 * math.sqrt(n * discordant * (1.0 - discordant)) + 9.0
    pairs = np.arange(max(0, math.floor(middle - reach)), min(n, math.ceil(middle + reach)) + 1)
    largest = _largest_significant(pairs, alpha)
    share_a = (discordant + diff) / (2.0 * discordant)
    rejected = special.bdtr(largest, pairs, share_a) + special.bdtr(largest, pairs, 1.0 - share_a)
    ways = special.gammaln(n + 1) - special.gammaln(pairs + 1) - special.gammaln(n - pairs + 1)
    weights = np.exp(ways + special.xlogy(pairs, discordant) + special.xlog1py(n - pairs, -discordant))
    return float(weights @ np.where(largest >= 0, rejected, 0.0))


def mcnemar_cases(discordant: float, diff: float, *, target: float = 0.8, alpha: float = 0.05) -> int:
    """The fewest pairs with which the exact McNemar test has `target` power, found by bisection from Connor's formula.

    Arguments and errors as `mcnemar_power`.
    """
    _check(target, 1.0 - alpha)
    low, high = 1, max(2, math.ceil(connor_cases(discordant, diff, target=target, alpha=alpha)))
    while mcnemar_power(high, discordant, diff, alpha=alpha) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        reached = mcnemar_power(middle, discordant, diff, alpha=alpha) >= target
        low, high = (low, middle) if reached else (middle, high)
    return high


def connor_cases(discordant: float, diff: float, *, target: float = 0.8, alpha: float = 0.05) -> float:
    """Connor's pairs for McNemar's test without correction: (z sqrt(psi) + z' sqrt(psi - d^2))^2 / d^2; not rounded."""
    _check_shares(1, discordant, diff)
    z, z_power = float(special.ndtri(1.0 - alpha / 2.0)), float(special.ndtri(target))
    return (z * math.sqrt(discordant) + z_power * math.sqrt(discordant - diff**2)) ** 2 / diff**2


def _largest_significant(pairs: NDArray[np.int64], alpha: float) -> NDArray[np.int64]:
    """For each number of discordant pairs the largest count of the rarer kind that the exact test calls significant, or -1.

    From the normal approximation, step by step to where the binomial distribution passes alpha / 2.
    """
    z = float(special.ndtri(1.0 - alpha / 2.0))
    largest = np.maximum(np.floor((pairs - z * np.sqrt(pairs) - 1.0) / 2.0), -1.0).astype(np.int64)
    while (above := (largest >= 0) & (special.bdtr(np.maximum(largest, 0), pairs, 0.5) > alpha / 2.0)).any():
        largest = largest - above
    while (below := special.bdtr(largest + 1, pairs, 0.5) <= alpha / 2.0).any():
        largest = largest + below
    return largest


def _check(target: float, confidence: float) -> None:
    if not 0.0 < target < 1.0 or not 0.0 < confidence < 1.0:
        raise ValueError(f"power and level must lie in (0, 1), such as 0.8 and 0.95; got {target!r} and {confidence!r}")


def _check_shares(n: int, discordant: float, diff: float) -> None:
    if n < 1 or not 0.0 < abs(diff) <= discordant <= 1.0:
        raise ValueError(
            f"McNemar's test needs a pair, a difference other than 0 and a discordant share in [|difference|, 1]; "
            f"got {n} pairs, difference {diff!r}, share {discordant!r}"
        )
