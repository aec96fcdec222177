"""Clopper-Pearson against values printed by R, closed forms and its own definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wsus.evaluation.intervals import clopper_pearson, proportion


def test_example_of_the_manual_of_r() -> None:
    # binom.test(682, 925): 95 percent confidence interval 0.7076683 0.7654066 (the example of its help page)
    assert clopper_pearson(682, 925) == pytest.approx((0.7076683, 0.7654066), abs=5e-8)


@pytest.mark.parametrize("n", [1, 4, 100, 20_000])
def test_none_and_all_have_closed_forms_and_exact_ends(n: int) -> None:
    low, high = clopper_pearson(0, n)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / n), rel=1e-12)
    low, high = clopper_pearson(n, n)
    assert low == pytest.approx(0.025 ** (1 / n), rel=1e-12)
    assert high == 1.0


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99]))
def test_ends_are_where_the_observed_tail_has_half_of_alpha(case: tuple[int, int], confidence: float) -> None:
    count, total = case
    low, high = clopper_pearson(count, total, confidence)
    if count > 0:
        assert stats.binom.sf(count - 1, total, low) == pytest.approx((1 - confidence) / 2, rel=1e-9)
    if count < total:
        assert stats.binom.cdf(count, total, high) == pytest.approx((1 - confidence) / 2, rel=1e-9)
    assert low <= count / total <= high


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match=rf"got {count} of {total}"):
        clopper_pearson(count, total)


def test_share_of_no_case_does_not_exist() -> None:
    nothing = proportion(0, 0)
    assert nothing.estimate is None
    assert nothing.ci is None
