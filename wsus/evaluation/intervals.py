"""Exact intervals of a proportion."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import special

from wsus.evaluation.cases import check_confidence

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Proportion:
    """A share of cases with its Clopper-Pearson interval; estimate and interval are None where there is no case."""

    count: int
    total: int
    estimate: float | None
    ci: Interval | None


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a proportion (Clopper and Pearson 1934, Biometrika 26:404), as R's `binom.test`.

    Exactly 0 at the low end where count = 0, exactly 1 at the high end where count = total.

    Raises:
        ValueError: count lies outside [0, total], or total is not positive.

    >>> clopper_pearson(0, 1)
    (0.0, 0.975)
    """
    check_confidence(confidence)
    if total < 1 or not 0 <= count <= total:
        raise ValueError(f"a proportion needs 0 <= count <= total and total >= 1; got {count} of {total}")
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if count == 0 else float(special.betaincinv(count, total - count + 1, tail))
    high = 1.0 if count == total else float(special.betaincinv(count + 1, total - count, 1.0 - tail))
    return low, high


def proportion(count: int, total: int, confidence: float = 0.95) -> Proportion:
    """`count` of `total` with its Clopper-Pearson interval; total = 0 gives None for both."""
    if total == 0 and count == 0:
        return Proportion(count=0, total=0, estimate=None, ci=None)
    return Proportion(count=count, total=total, estimate=count / total, ci=clopper_pearson(count, total, confidence))
