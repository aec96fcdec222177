"""Tails against exact integers, closed forms and, where marked, mpmath with 40 digits."""

import math

import pytest
from scipy import stats

from wsus.evaluation.tails import normal_two_sided, rank_of_outcome, student_two_sided


def test_normal_tail_at_the_five_percent_point() -> None:
    p = normal_two_sided(-1.959963984540054)

    assert p.p == pytest.approx(0.05, rel=1e-14)
    assert p.log10_p == pytest.approx(math.log10(0.05), rel=1e-14)


def test_normal_tail_of_nothing_is_exactly_one() -> None:
    assert normal_two_sided(0.0) == (1.0, 0.0)


def test_normal_tail_keeps_its_logarithm_after_it_underflows() -> None:
    p = normal_two_sided(40.0)
    series = -800.0 - math.log(40.0) + 0.5 * math.log(2 / math.pi) + math.log(1 - 1 / 1600 + 3 / 1600**2 - 15 / 1600**3)

    assert p.p == 0.0
    assert p.log10_p == pytest.approx(series / math.log(10), rel=1e-11)


@pytest.mark.parametrize("t", [0.0, 0.3, -1.0, 12.0, 1e6])
def test_student_with_one_degree_of_freedom_is_cauchy(t: float) -> None:
    expected = 1.0 if t == 0 else 2 / math.pi * math.atan(1 / abs(t))
    assert student_two_sided(t, 1.0).p == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(  # log10 of I_x(df/2, 1/2) by mpmath, 40 digits
    ("t", "df", "log10_p"),
    [(72.0, 26428.0, -1029.80292561471231), (1e6, 60.0, -307.644407529559934), (45.0, 39998.0, -430.69485962655076)],
)
def test_student_keeps_its_logarithm_after_it_underflows(t: float, df: float, log10_p: float) -> None:
    assert student_two_sided(t, df).log10_p == pytest.approx(log10_p, rel=1e-12)


@pytest.mark.parametrize(("n", "k"), [(1, 0), (7, 2), (60, 30), (61, 30), (500, 219)])
def test_binomial_outcome_against_scipy(n: int, k: int) -> None:
    p = rank_of_outcome(lambda x: (n - x) / (x + 1), n, k, n / 2)

    assert p.p == pytest.approx(stats.binomtest(k, n).pvalue, rel=1e-12)
    assert p.log10_p == pytest.approx(math.log10(stats.binomtest(k, n).pvalue), rel=1e-12, abs=1e-14)


def test_outcome_that_underflows_against_exact_integers() -> None:
    n, k = 5000, 600
    p = rank_of_outcome(lambda x: (n - x) / (x + 1), n, k, n / 2)
    exact = math.log10(2 * sum(math.comb(n, i) for i in range(k + 1))) - n * math.log10(2)

    assert exact < -320
    assert p.p == 0.0
    assert p.log10_p == pytest.approx(exact, rel=1e-12)


def test_only_possible_outcome_has_probability_one() -> None:
    assert rank_of_outcome(lambda x: x, 0, 0, 0.0) == (1.0, 0.0)


@pytest.mark.parametrize("k", [1_500_000, 1_498_000, 1_502_345])
def test_outcome_of_a_large_support_is_summed_where_it_counts(k: int) -> None:
    n = 3_000_000
    p = rank_of_outcome(lambda x: (n - x) / (x + 1), n, k, n / 2)
    low = min(k, n - k)
    expected = 1.0 if 2 * k == n else 2 * stats.binom.cdf(low, n, 0.5)
    assert p.p == pytest.approx(expected, rel=1e-8)


def test_outcome_far_beyond_the_window_keeps_a_logarithm() -> None:
    n, k = 3_000_000, 1_300_000
    p = rank_of_outcome(lambda x: (n - x) / (x + 1), n, k, n / 2)
    expected = stats.binom.logpmf(k, n, 0.5) / math.log(10)
    assert p.p == 0.0
    assert p.log10_p == pytest.approx(expected, rel=0.01)
