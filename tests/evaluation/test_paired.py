"""Exact tests and non-inferiority: published values, scipy, exact fractions, and what each test must not do."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wsus.evaluation.auc import delong_paired
from wsus.evaluation.paired import (
    PairedCounts,
    Verdict,
    fisher_exact,
    holm,
    mcnemar_exact,
    noninferiority_auc,
    noninferiority_paired,
    paired_counts,
)

cell = st.integers(0, 60)


def counts(both: int, only_a: int, only_b: int, neither: int) -> PairedCounts:
    return PairedCounts(both_correct=both, only_a_correct=only_a, only_b_correct=only_b, both_wrong=neither)


def test_outcomes_are_counted_case_by_case() -> None:
    assert paired_counts([1, 1, 1, 0, 0, 1], [1, 1, 0, 1, 0, 0]) == counts(2, 2, 1, 1)


def test_readers_of_different_cases_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        paired_counts([True, False], [True, False, True])


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        counts(1, -1, 0, 0)
    with pytest.raises(ValueError, match="cannot be negative"):
        fisher_exact(1, 2, 3, -4)


def test_hand_worked_mcnemar() -> None:
    assert mcnemar_exact(counts(5, 4, 1, 9)).p_value == pytest.approx(2 * (1 + 5) / 32, rel=1e-15)


def test_mcnemar_without_discordant_pairs_is_one() -> None:
    assert mcnemar_exact(counts(5, 0, 0, 9))[1:] == (1.0, 0.0)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(b: int, c: int) -> None:
    found = mcnemar_exact(counts(3, b, c, 1))
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert found.p_value == pytest.approx(expected, rel=1e-10, abs=1e-250)  # scipy loses what is smaller; exact ones: test_tails
    assert mcnemar_exact(counts(3, c, b, 1)).p_value == pytest.approx(found.p_value, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize(  # the examples of the help page of R's fisher.test, as R prints them
    ("table", "p"), [((3, 1, 1, 3), 0.4857142857142857), ((2, 15, 10, 3), 0.0005367241)]
)
def test_fisher_of_the_manual_of_r(table: tuple[int, int, int, int], p: float) -> None:
    assert fisher_exact(*table).p == pytest.approx(p, rel=1e-7)


@given(cell, cell, cell, cell)
def test_fisher_equals_the_sum_of_exact_fractions(a: int, b: int, c: int, d: int) -> None:
    row, column, n = a + b, a + c, a + b + c + d
    ways = {
        x: math.comb(row, x) * math.comb(n - row, column - x) for x in range(max(0, column - (n - row)), min(row, column) + 1)
    }
    limit = ways[a] * (1 + Fraction(1, 10**7))
    exact = Fraction(sum(way for way in ways.values() if way <= limit), math.comb(n, column))
    assert fisher_exact(a, b, c, d).p == pytest.approx(float(exact), rel=1e-13)


@given(cell, cell, cell, cell)
def test_fisher_does_not_care_which_way_the_table_is_written(a: int, b: int, c: int, d: int) -> None:
    p = fisher_exact(a, b, c, d).p
    for turned in ((c, d, a, b), (b, a, d, c), (a, c, b, d)):
        assert fisher_exact(*turned).p == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("table", [(0, 0, 3, 4), (3, 4, 0, 0), (0, 3, 0, 4), (3, 0, 4, 0), (0, 0, 0, 0)])
def test_fisher_with_an_empty_margin_is_one(table: tuple[int, int, int, int]) -> None:
    assert fisher_exact(*table) == (1.0, 0.0)


def test_fisher_keeps_its_logarithm_after_it_underflows() -> None:
    table = (2000, 500, 700, 1900)
    row, column, n = 2500, 2700, 5100
    ways = [math.comb(row, x) * math.comb(n - row, column - x) for x in range(100, 2501)]
    exact = math.log10(sum(way for way in ways if way <= ways[1900])) - math.log10(math.comb(n, column))

    assert fisher_exact(*table).log10_p == pytest.approx(exact, rel=1e-12)


def test_hand_worked_holm() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == [0.03, 0.06, None, 0.06]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([None, None]) == [None, None]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))  # type: ignore[operator]
    ranked = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert ranked == sorted(ranked)  # type: ignore[type-var]


def test_holm_refuses_what_is_not_a_p() -> None:
    with pytest.raises(ValueError, match=r"p-values lie in \[0, 1\]"):
        holm([0.5, 1.5])


def test_noninferiority_without_variance_concludes_nothing() -> None:
    test = delong_paired([1, 1, 0, 0], [3, 4, 1, 2], [3, 4, 1, 2])
    found = noninferiority_auc(test)

    assert (found.verdict, found.lower, found.p_value) == (Verdict.INCONCLUSIVE, None, None)
    assert "variance of the difference is 0" in found.notes[0]


def test_tangos_own_example() -> None:
    # Tango 1998: 44 pairs, 43 both, 0 and 1 discordant, margin 0.1: Z = 1.709, p = 0.044, 90 % lower end -0.096
    found = noninferiority_paired(counts(43, 0, 1, 0), margin=0.1, confidence=0.95)

    assert found.p_value == pytest.approx(stats.norm.sf(1.709), abs=5e-5)
    assert found.lower == pytest.approx(-0.096, abs=5e-4)
    assert found.verdict is Verdict.NON_INFERIOR


def test_tango_without_discordant_pairs_has_a_closed_form() -> None:
    found = noninferiority_paired(counts(60, 0, 0, 40))
    z_squared = 1.959963984540054**2  # one-sided 97.5 % by default

    assert found.lower == pytest.approx(-z_squared / (100 + z_squared), rel=1e-9)
    assert found.upper == pytest.approx(z_squared / (100 + z_squared), rel=1e-9)


@given(cell, cell, cell, cell)
def test_tango_bounds_hold_the_difference_and_agree_with_the_test(both: int, only_a: int, only_b: int, neither: int) -> None:
    pairs = counts(both, only_a, only_b, neither)
    if pairs.total == 0:
        return
    found = noninferiority_paired(pairs)
    assert found.lower is not None
    assert found.upper is not None
    assert found.p_value is not None
    assert -1 <= found.lower <= found.diff <= found.upper <= 1
    if abs(found.lower + 0.05) > 1e-6:
        assert (found.lower > -0.05) == (found.p_value < 0.025)


def test_worse_by_more_than_the_margin_is_inferior() -> None:
    assert noninferiority_paired(counts(50, 2, 40, 8)).verdict is Verdict.INFERIOR


@pytest.mark.parametrize("margin", [0.0, -0.05, 1.0, 5.0])
def test_margin_lies_between_zero_and_one(margin: float) -> None:
    with pytest.raises(ValueError, match=r"margin must lie in \(0, 1\)"):
        noninferiority_paired(counts(1, 1, 1, 1), margin=margin)


def test_comparison_of_no_case_is_refused() -> None:
    with pytest.raises(ValueError, match="no case to compare"):
        noninferiority_paired(counts(0, 0, 0, 0))
