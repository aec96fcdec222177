"""Placements and their covariance against counting pairs one by one in exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsus.evaluation.placements import covariance, placements, sum_of_products

Scores = NDArray[np.float64]


@st.composite
def two_scores(draw: st.DrawFn) -> tuple[NDArray[np.bool_], Scores, Scores]:
    """Few distinct values, so that ties within and across classes abound."""
    n_pos, n_neg = draw(st.integers(2, 8)), draw(st.integers(2, 8))
    levels = draw(st.sampled_from([1, 2, 3, 50]))
    score = st.lists(st.integers(0, levels), min_size=n_pos + n_neg, max_size=n_pos + n_neg)
    positive = np.array(draw(st.permutations([True] * n_pos + [False] * n_neg)))
    return positive, np.array(draw(score)) / 4, np.array(draw(score)) / 4


def _by_pairs(positive: NDArray[np.bool_], scores: Scores) -> tuple[list[int], list[int]]:
    pos, neg = scores[positive], scores[~positive]
    wins = np.sign(pos[:, None] - neg[None, :]).astype(int) + 1
    return wins.sum(axis=1).tolist(), wins.sum(axis=0).tolist()


def _sample_covariance(x: list[int], y: list[int], scale: int) -> Fraction:
    mean_x, mean_y = Fraction(sum(x), len(x)), Fraction(sum(y), len(y))
    total = sum((p - mean_x) * (q - mean_y) for p, q in zip(x, y, strict=True))
    return Fraction(total) / (len(x) - 1) / scale**2


def test_hand_worked_placements_with_a_tie() -> None:
    placed = placements(np.array([True, True, False, False, False]), np.array([0.8, 0.4, 0.4, 0.1, 0.9]))

    assert placed.pos.tolist() == [4, 3]  # 0.8 lies above 0.4 and 0.1; 0.4 ties with 0.4 and lies above 0.1
    assert placed.neg.tolist() == [3, 4, 0]
    assert placed.auc == Fraction(7, 12)


@given(two_scores())
def test_placements_and_covariance_equal_those_of_counted_pairs(case: tuple[NDArray[np.bool_], Scores, Scores]) -> None:
    positive, a, b = case
    of_a, of_b = placements(positive, a), placements(positive, b)
    (pos_a, neg_a), (pos_b, neg_b) = _by_pairs(positive, a), _by_pairs(positive, b)

    assert (of_a.pos.tolist(), of_a.neg.tolist()) == (pos_a, neg_a)
    n_pos, n_neg = len(pos_a), len(neg_a)
    expected = _sample_covariance(pos_a, pos_b, 2 * n_neg) / n_pos + _sample_covariance(neg_a, neg_b, 2 * n_pos) / n_neg
    assert covariance(of_a, of_b) == expected


def test_one_case_in_a_class_has_no_variance() -> None:
    placed = placements(np.array([True, False, False]), np.array([0.5, 0.1, 0.9]))
    assert covariance(placed, placed) is None


@pytest.mark.parametrize("largest", [3, 2**31 - 1, 2**31, 2**40])
def test_sums_of_products_neither_round_nor_overflow(largest: int) -> None:
    x = np.array([largest, largest - 1, -largest, 7] * 9, dtype=np.int64)
    assert sum_of_products(x, x) == sum(value * value for value in x.tolist())
