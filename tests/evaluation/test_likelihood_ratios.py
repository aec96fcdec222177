"""Likelihood ratios: scipy, a published interval, statsmodels' values, and exact coverage by enumeration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wsus.evaluation.likelihood_ratios import EXACT, SCORE, likelihood_ratios, ratio_of_proportions


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int, int]:
    n1, n0 = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return draw(st.integers(0, n1)), n1, draw(st.integers(0, n0)), n0


def test_hand_worked_ratios() -> None:
    found = likelihood_ratios(tp=90, fn=10, tn=80, fp=20)

    assert found.positive.estimate == pytest.approx((90 / 100) / (20 / 100), rel=1e-15)
    assert found.negative.estimate == pytest.approx((10 / 100) / (80 / 100), rel=1e-15)
    assert (found.positive.x1, found.positive.n1, found.positive.x0, found.positive.n0) == (90, 100, 20, 100)
    assert found.positive.method == found.negative.method == EXACT


def test_koopmans_own_example() -> None:
    # Koopman 1984: 36 of 40 and 16 of 80; the limits as R's PropCIs, DescTools and asbio print them too
    found = ratio_of_proportions(36, 40, 16, 80, method=SCORE)
    assert (found.low, found.high) == pytest.approx((2.94, 7.15), abs=0.005)


@pytest.mark.parametrize(  # statsmodels 0.14, confint_proportions_2indep(compare="ratio", method="score", correction=False)
    ("table", "interval"),
    [
        ((36, 40, 16, 80), (2.9395691922149965, 7.15222343486603)),
        ((87, 100, 9, 100), (5.332497889580552, 18.171287756228296)),
        ((13, 100, 91, 100), (0.08496466196912172, 0.23161898125074012)),
        ((10, 10, 2, 12), (2.231989097740707, 21.292387364341682)),
        ((440, 500, 60, 500), (5.797949884071402, 9.343844747278789)),
    ],
)
def test_score_interval_is_that_of_statsmodels(table: tuple[int, int, int, int], interval: tuple[float, float]) -> None:
    found = ratio_of_proportions(*table, method=SCORE)
    assert (found.low, found.high) == pytest.approx(interval, rel=1e-8)


@given(tables())
def test_estimate_is_scipys_relative_risk(table: tuple[int, int, int, int]) -> None:
    x1, n1, x0, n0 = table
    found = ratio_of_proportions(*table, method=SCORE).estimate
    if x0:
        assert found == pytest.approx(stats.contingency.relative_risk(x1, n1, x0, n0).relative_risk, rel=1e-14)
    else:
        assert found is None


@given(tables(), st.sampled_from([SCORE, EXACT]))
@settings(max_examples=60)
def test_interval_holds_the_estimate_and_turns_over_with_it(table: tuple[int, int, int, int], method: str) -> None:
    x1, n1, x0, n0 = table
    found, turned = ratio_of_proportions(x1, n1, x0, n0, method=method), ratio_of_proportions(x0, n0, x1, n1, method=method)

    low, high = found.low or 0.0, found.high or np.inf
    if found.estimate is not None:
        assert low <= found.estimate <= high
    assert low < high
    if turned.high is not None and found.low is not None:
        assert found.low == pytest.approx(1 / turned.high, rel=1e-6)


@given(tables())
@settings(max_examples=30)
def test_more_confidence_is_a_wider_interval(table: tuple[int, int, int, int]) -> None:
    some, more = (ratio_of_proportions(*table, confidence=confidence) for confidence in (0.9, 0.99))
    assert (more.low or 0.0) <= (some.low or 0.0) + 1e-9
    assert (more.high or np.inf) >= (some.high or np.inf) - 1e-9


@pytest.mark.parametrize(("n1", "n0"), [(6, 5), (4, 9)])
def test_exact_interval_covers_whatever_the_two_proportions_are(n1: int, n0: int) -> None:
    """Every outcome, weighted by its probability, at every pair of proportions of a grid: never below 95 %."""
    limits = {
        (x1, x0): (found.low or 0.0, found.high or np.inf)
        for x1 in range(n1 + 1)
        for x0 in range(n0 + 1)
        for found in [ratio_of_proportions(x1, n1, x0, n0)]
    }
    for p1 in np.linspace(0.02, 1.0, 25):
        for p0 in np.linspace(0.02, 1.0, 25):
            weights = np.outer(stats.binom.pmf(np.arange(n1 + 1), n1, p1), stats.binom.pmf(np.arange(n0 + 1), n0, p0))
            held = sum(weights[outcome] for outcome, (low, high) in limits.items() if low <= p1 / p0 <= high)
            assert held >= 0.95, (p1, p0, held)


def test_exact_interval_is_wider_than_the_score_interval_by_little() -> None:
    exact, score = (ratio_of_proportions(87, 100, 9, 100, method=method) for method in (EXACT, SCORE))
    assert (exact.low, exact.high) == pytest.approx((score.low, score.high), rel=0.1)
    assert (exact.high or 0) / (exact.low or 1) > (score.high or 0) / (score.low or 1)


def test_large_sets_get_the_score_interval_and_say_so() -> None:
    assert ratio_of_proportions(1800, 2000, 200, 2000).method == SCORE


def test_no_false_positive_is_an_infinite_ratio_with_a_lower_limit() -> None:
    found = likelihood_ratios(tp=8, fn=2, tn=10, fp=0)

    assert (found.positive.estimate, found.positive.high) == (None, None)
    assert found.positive.low is not None
    assert found.positive.low > 1
    assert "infinite" in (found.positive.note or "")
    assert found.negative.estimate == pytest.approx(0.2)


def test_no_false_negative_is_a_ratio_of_zero_with_an_upper_limit() -> None:
    found = likelihood_ratios(tp=10, fn=0, tn=9, fp=1).negative
    assert (found.estimate, found.low) == (0.0, 0.0)
    assert found.high is not None
    assert found.high < 0.5


def test_nothing_called_malignant_leaves_the_positive_ratio_undefined() -> None:
    found = likelihood_ratios(tp=0, fn=5, tn=5, fp=0)
    assert (found.positive.estimate, found.positive.low, found.positive.high) == (None, None, None)
    assert "undefined" in (found.positive.note or "")
    assert found.negative.estimate == 1.0


@pytest.mark.parametrize("counts", [(6, 5, 1, 3), (-1, 5, 1, 3), (0, 0, 1, 3), (1, 2, 0, 0)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"two proportions need 0 <= x <= n and n >= 1"):
        ratio_of_proportions(*counts)


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="method must be 'exact unconditional' or 'score'; got 'wald'"):
        ratio_of_proportions(1, 2, 1, 2, method="wald")
