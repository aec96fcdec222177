"""Power and sample size: closed forms, brute force, and simulation of the very tests that they are about."""

import math

import numpy as np
import pytest
from scipy import stats

from wsus.evaluation.auc import delong_paired
from wsus.evaluation.paired import PairedCounts, Verdict, noninferiority_auc, noninferiority_paired, paired_counts
from wsus.evaluation.power import power_noninferiority_auc, power_noninferiority_paired


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
    z_alpha, z_beta = 1.959963984540054, 0.8416212335729143
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
    assert stats.norm.cdf(0.05 / se - stats.norm.ppf(0.975)) == pytest.approx(0.9, abs=0.005)


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


def test_hand_worked_power_of_two_shares() -> None:
    """psi 0.2, margin 0.1, 200 cases."""
    found = power_noninferiority_paired(counts(160, 20, 20, 0), margin=0.1)

    # at delta -0.1, b = c = 0.1: linear = -0.2 - 0.2 = -0.4; q = (sqrt(0.16 - 0.088) + 0.4) / 4; v = 2 q - 0.11
    v = 2 * (math.sqrt(0.16 - 8 * 0.1 * 0.1 * 1.1) + 0.4) / 4 - 0.11
    z, z_power = 1.959963984540054, 0.8416212335729143
    assert found.power == pytest.approx(stats.norm.cdf((0.1 * math.sqrt(200) - z * math.sqrt(v)) / math.sqrt(0.2)), rel=1e-12)
    assert found.needed_pos == math.ceil(((z * math.sqrt(v) + z_power * math.sqrt(0.2)) / 0.1) ** 2)
    assert found.needed_neg is None


def test_design_effect_multiplies_the_images_needed() -> None:
    plain, clustered = (power_noninferiority_paired(counts(80, 8, 6, 6), design_effect=effect) for effect in (1.0, 3.0))

    assert plain.needed_pos is not None
    assert clustered.needed_pos == pytest.approx(3 * plain.needed_pos, abs=3)
    assert (clustered.power or 0) < (plain.power or 0)
    assert power_noninferiority_paired(counts(80, 8, 6, 6), malignant=False).needed_neg == plain.needed_pos


def test_readers_that_never_differ_are_given_one_discordant_case() -> None:
    found = power_noninferiority_paired(counts(90, 0, 0, 10))
    assert found.power == power_noninferiority_paired(counts(90, 1, 0, 9)).power
    assert "no case was discordant" in (found.note or "")


@pytest.mark.parametrize("n", [150, 400])
def test_non_inferiority_of_shares_is_found_as_often_as_the_power_says(n: int) -> None:
    rng = np.random.default_rng(n)
    said = power_noninferiority_paired(counts(round(0.8 * n), round(0.1 * n), round(0.1 * n), 0), margin=0.08).power
    found = []
    for _ in range(600):
        outcome = rng.choice(3, size=n, p=[0.8, 0.1, 0.1])
        found.append(noninferiority_paired(paired_counts(outcome != 2, outcome != 1), 0.08).verdict is Verdict.NON_INFERIOR)
    assert np.mean(found) == pytest.approx(said, abs=0.06)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: power_noninferiority_paired(counts(0, 0, 0, 0)), "no case to compare"),
        (lambda: power_noninferiority_paired(counts(1, 1, 1, 1), margin=0.0), r"margin must lie in \(0, 1\)"),
        (lambda: power_noninferiority_paired(counts(1, 1, 1, 1), target=1.0), r"power and level must lie in \(0, 1\)"),
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
