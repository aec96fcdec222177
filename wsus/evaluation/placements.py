"""How many cases of the other class each case lies above: the exact integers under the AUC and its variance.

A placement (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837, the structural components V10 and V01) is
counted twice over, 2 x (strictly on the right side) + (tied), so that a midrank is an integer. Their sums and sums
of products are Python integers of any size: a variance that is zero comes out as exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from wsus.errors import DataError

_INT64_MAX = 2**63 - 1
_MAX_CASES = 1_000_000_000  # beyond it, the square of a doubled placement would not fit into int64


@dataclass(frozen=True, kw_only=True, slots=True)
class Placements:
    """Doubled placements of one score.

    pos: int64, one per malignant case in the order of the cases, benign cases below it, in [0, 2 n_neg].
    neg: int64, one per benign case, malignant cases above it, in [0, 2 n_pos].
    """

    pos: NDArray[np.int64]
    neg: NDArray[np.int64]

    @property
    def auc(self) -> Fraction:
        """The empirical AUC: the share of (malignant, benign) pairs in the right order, a tie counting one half."""
        return Fraction(int(self.pos.sum()), 2 * self.pos.size * self.neg.size)


def placements(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Placements:
    """Doubled placements of checked cases in O(n log n).

    Args:
        positive: True where malignant, shape (N,), both classes present.  scores: finite, shape (N,).
    """
    n_cases = positive.size
    if n_cases > _MAX_CASES:
        raise DataError(f"{n_cases:,} cases; at most {_MAX_CASES:,} are compared exactly")
    order = np.argsort(scores)
    in_order, pos_in_order = scores[order], positive[order]
    pos_so_far = np.cumsum(pos_in_order)
    last_of_tie = np.flatnonzero(np.append(in_order[1:] != in_order[:-1], True))
    if last_of_tie.size == n_cases:  # no ties: counting up to the case itself is enough
        pos_below_twice = 2 * pos_so_far
        neg_below_twice = 2 * np.arange(1, n_cases + 1) - pos_below_twice
    else:
        pos_upto = np.concatenate([[0], pos_so_far[last_of_tie]])
        neg_upto = np.concatenate([[-1], last_of_tie]) + 1 - pos_upto
        sizes = np.diff(last_of_tie, prepend=-1)
        pos_below_twice = np.repeat(pos_upto[1:] + pos_upto[:-1], sizes)
        neg_below_twice = np.repeat(neg_upto[1:] + neg_upto[:-1], sizes)
    n_pos = int(pos_so_far[-1])
    placed = np.empty(n_cases, dtype=np.int64)
    placed[order] = np.where(pos_in_order, neg_below_twice, 2 * n_pos - pos_below_twice)
    return Placements(pos=placed[positive], neg=placed[~positive])


def covariance(a: Placements, b: Placements) -> Fraction | None:
    """DeLong's covariance of two AUCs of the same cases (of one AUC with itself: its variance), exactly.

    S10 / n_pos + S01 / n_neg with sample covariances of the placements; None where a class has fewer than two cases.
    """
    n_pos, n_neg = a.pos.size, a.neg.size
    if n_pos < 2 or n_neg < 2:
        return None
    over_pos = _scatter(a.pos, b.pos) * (n_neg - 1)
    over_neg = _scatter(a.neg, b.neg) * (n_pos - 1)
    return Fraction(over_pos + over_neg, 4 * n_pos**2 * n_neg**2 * (n_pos - 1) * (n_neg - 1))


def sum_of_products(x: NDArray[np.int64], y: NDArray[np.int64]) -> int:
    """sum x y without rounding and without overflow, as a Python integer."""
    largest = int(np.abs(x).max(initial=0)) * int(np.abs(y).max(initial=0))
    if largest > _INT64_MAX:
        return sum(p * q for p, q in zip(x.tolist(), y.tolist(), strict=True))
    step = max(1, _INT64_MAX // max(largest, 1))
    return sum(int(np.dot(x[start : start + step], y[start : start + step])) for start in range(0, x.size, step))


def _scatter(x: NDArray[np.int64], y: NDArray[np.int64]) -> int:
    """n sum (x - mean x)(y - mean y), an integer."""
    return x.size * sum_of_products(x, y) - int(x.sum()) * int(y.sum())
