"""Power and sample size: closed forms, brute force, and simulation of the very tests that they are about."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wsus.evaluation.auc import delong_paired
from wsus.evaluation.paired import PairedCounts, Verdict, mcnemar_exact, noninferiority_auc
from wsus.evaluation.power import (
    connor_cases,
    mcnemar_cases,
    mcnemar_power,
    power_mcnemar,
    power_noninferiority_auc,
)


def counts(both: int, only_a: int, only_b: int, neither: int) -> PairedCounts:
    return PairedCounts(both_correct=both, only_a_correct=only_a, only_b_correct=only_b, both_wrong=neither)


def two_scores(n: int, seed: int, separation: float = 1.8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two correlated scores that are equally good; n cases of each class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], n)
    common = rng.normal(size=2 * n)
    a, b = (labels * separation + 0.8 * common + 0.6 * rng.normal(size=2 * n) for _ in range(2))
    return labels, a, b


def test_hand_worked_power_of_the_auc() -> None:
    test = delong_paired(*two_scores(50, 0))
    found = power_noninferiority_auc(test, margin=0.05)

    assert test.se_diff is not None
    z_alpha, z_beta = 1.6448536269514722, 0.8416212335729143
    assert found.power == pytest.approx(stats.norm.cdf(0.05 / test.se_diff - z_alpha), rel=1e-12)
    assert found.needed_pos == found.needed_neg == math.ceil(50 * ((z_alpha + z_beta) * test.se_diff / 0.05) ** 2)


def test_cases_keep_the_share_of_the_classes() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([1, 0], [30, 90])
    test = delong_paired(labels, labels + rng.normal(size=120), labels + rng.normal(size=120))
    found = power_noninferiority_auc(test)

    assert found.needed_pos is not None
    assert found.needed_neg is not None
    assert found.needed_neg == pytest.approx(3 * found.needed_pos, abs=3)


def test_needed_cases_have_the_power_that_was_asked_for() -> None:
    test = delong_paired(*two_scores(60, 2))
    found = power_noninferiority_auc(test, target=0.9)

    assert test.se_diff is not None
    assert found.needed_pos is not None
    se = test.se_diff * math.sqrt(60 / found.needed_pos)
    assert stats.norm.cdf(0.05 / se - stats.norm.ppf(0.95)) == pytest.approx(0.9, abs=0.005)


def test_better_reader_needs_fewer_cases_and_a_worse_one_more() -> None:
    test = delong_paired(*two_scores(50, 0))
    better, equal, worse = (power_noninferiority_auc(test, assumed_diff=diff).needed_pos for diff in (0.02, 0.0, -0.02))
    assert better is not None
    assert equal is not None
    assert worse is not None
    assert better < equal < worse


def test_no_variance_no_power() -> None:
    test = delong_paired([1, 1, 0, 0], [3, 4, 1, 2], [3, 4, 1, 2])
    found = power_noninferiority_auc(test)

    assert (found.power, found.needed_pos, found.needed_neg) == (None, None, None)
    assert "variance of the difference is 0" in (found.note or "")


def test_hand_worked_connor() -> None:
    # psi 0.2, d 0.1: (1.96 x 0.4472 + 0.8416 x 0.4359)^2 / 0.01
    assert connor_cases(0.2, 0.1) == pytest.approx(154.6, abs=0.05)


@given(st.integers(1, 30), st.sampled_from([(0.3, 0.1), (0.5, -0.4), (0.2, 0.2), (1.0, 0.5)]))
@settings(max_examples=40)
def test_power_of_mcnemar_is_the_sum_over_all_tables(n: int, shares: tuple[float, float]) -> None:
    discordant, diff = shares
    p = [(discordant + diff) / 2, (discordant - diff) / 2, 1 - discordant]
    expected = sum(
        math.factorial(n) / math.factorial(b) / math.factorial(c) / math.factorial(n - b - c)
        * p[0] ** b * p[1] ** c * p[2] ** (n - b - c)
        for b in range(n + 1) for c in range(n + 1 - b)
        if mcnemar_exact(counts(n - b - c, b, c, 0)).p_value <= 0.05
    )  # fmt: skip
    assert mcnemar_power(n, discordant, diff) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("discordant", "diff", "target"), [(0.2, 0.1, 0.8), (0.4, 0.05, 0.8), (0.05, 0.05, 0.9), (0.3, -0.1, 0.9)]
)
def test_fewest_cases_reach_the_power_and_lie_near_connors_formula(discordant: float, diff: float, target: float) -> None:
    found = mcnemar_cases(discordant, diff, target=target)

    assert mcnemar_power(found, discordant, diff) >= target > mcnemar_power(found - 1, discordant, diff)
    approximate = connor_cases(discordant, diff, target=target)
    assert found == pytest.approx(approximate, rel=0.15)
    assert found > approximate or discordant == diff  # the exact test is conservative; Connor's formula, where one never errs


def test_power_of_the_comparison_that_was_made() -> None:
    found = power_mcnemar(counts(80, 8, 6, 6), assumed_diff=0.05)

    assert found.power == mcnemar_power(100, 0.14, 0.05)
    assert (found.needed_pos, found.needed_neg) == (mcnemar_cases(0.14, 0.05), None)
    assert found.note is None
    assert power_mcnemar(counts(80, 8, 6, 6), malignant=False).needed_neg == found.needed_pos


def test_readers_that_never_differ_are_given_the_least_discordance() -> None:
    found = power_mcnemar(counts(90, 0, 0, 10), assumed_diff=0.05)
    assert found.needed_pos == mcnemar_cases(0.05, 0.05)
    assert "fewer discordant cases" in (found.note or "")


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: mcnemar_power(0, 0.2, 0.1), "needs a pair"),
        (lambda: mcnemar_power(10, 0.1, 0.2), r"discordant share in \[\|difference\|, 1\]"),
        (lambda: mcnemar_cases(0.2, 0.1, target=1.0), r"power and level must lie in \(0, 1\)"),
        (lambda: power_mcnemar(counts(0, 0, 0, 0)), "no case to compare"),
        (lambda: power_mcnemar(counts(1, 1, 1, 1), assumed_diff=0.0), "not be 0"),
        (lambda: power_noninferiority_auc(delong_paired(*two_scores(5, 0)), assumed_diff=-0.05), "above -margin"),
    ],
)
def test_what_cannot_be_is_refused(call, complaint: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=complaint):
        call()


def test_non_inferiority_is_found_as_often_as_the_power_says() -> None:
    pilot = power_noninferiority_auc(delong_paired(*two_scores(3000, 99)), margin=0.05)
    assert pilot.needed_pos is not None
    n = pilot.needed_pos
    found = [noninferiority_auc(delong_paired(*two_scores(n, seed)), 0.05).verdict for seed in range(600)]
    assert np.mean([verdict is Verdict.NON_INFERIOR for verdict in found]) == pytest.approx(0.8, abs=0.05)
