"""The AUC and its tests: hand-worked values, scikit-learn, properties, and what cannot be estimated."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from wsus.errors import DataError
from wsus.evaluation.auc import auc_with_interval, delong_paired, delong_unpaired, newcombe_interval, roc_curve

Z = 1.959963984540054
LABELS = [1, 1, 0, 0]
A = [0.8, 0.35, 0.4, 0.1]  # placements 1, 1/2 of the malignant and 1/2, 1 of the benign cases
B = [0.8, 0.9, 0.4, 0.1]  # perfect


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    n = draw(st.integers(4, 40))
    labels = np.array(draw(st.permutations([1, 1, 0, 0, *draw(st.lists(st.integers(0, 1), min_size=n - 4, max_size=n - 4))])))
    score = st.lists(st.integers(-6, 6), min_size=n, max_size=n)
    return labels, np.array(draw(score)) / 2, np.array(draw(score)) / 2


def test_hand_worked_auc_variance_and_intervals() -> None:
    found = auc_with_interval(LABELS, A)

    assert found.auc == 0.75
    assert found.variance == 0.125  # 0.125 / 2 + 0.125 / 2
    assert found.ci == (pytest.approx(0.75 - Z * math.sqrt(0.125), rel=1e-14), 1.0)
    assert found.ci_clipped
    half = Z * math.sqrt(0.125) / (0.75 * 0.25)
    assert found.ci_logit == pytest.approx((1 / (1 + math.exp(half) / 3), 1 / (1 + math.exp(-half) / 3)), rel=1e-13)


def test_hand_worked_paired_test() -> None:
    found = delong_paired(LABELS, A, B)

    assert found.diff == -0.25
    assert found.covariance == 0.0
    assert found.se_diff == math.sqrt(0.125)
    assert found.z == pytest.approx(-0.25 / math.sqrt(0.125), rel=1e-15)
    assert found.p_value == pytest.approx(math.erfc(0.25 / math.sqrt(0.125) / math.sqrt(2)), rel=1e-15)
    assert found.ci_diff == pytest.approx((-0.25 - Z * math.sqrt(0.125), -0.25 + Z * math.sqrt(0.125)))


def test_hand_worked_unpaired_test() -> None:
    one = auc_with_interval(LABELS, A)
    found = delong_unpaired(one, auc_with_interval([1, 1, 0, 0, 0, 0], [4, 2, 3, 1, 1, 1]))

    assert found.d is not None
    other_variance = 0.125**2 * 2 / 2 + 0.25**2 / 4  # placements 1, 3/4 and 1/2, 1, 1, 1
    assert found.d == pytest.approx((0.75 - 0.875) / math.sqrt(0.125 + other_variance), rel=1e-14)
    assert found.df == pytest.approx((0.125 + other_variance) ** 2 / (0.125**2 / 3 + other_variance**2 / 5), rel=1e-14)


@given(cases())
def test_auc_equals_scikit_learns(case: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]) -> None:
    labels, scores, _ = case
    assert auc_with_interval(labels, scores).auc == pytest.approx(roc_auc_score(labels, scores), rel=1e-13, abs=1e-15)


@given(cases())
def test_swapping_the_scores_turns_the_sign_and_nothing_else(
    case: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    labels, a, b = case
    there, back = delong_paired(labels, a, b), delong_paired(labels, b, a)

    assert there.diff == -back.diff
    assert (there.se_diff, there.p_value, there.log10_p, there.covariance) == (
        back.se_diff,
        back.p_value,
        back.log10_p,
        back.covariance,
    )
    assert there.z is None or there.z == -back.z  # type: ignore[operator]


@given(cases())
def test_rising_maps_of_the_scores_change_nothing(
    case: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    labels, a, b = case
    assert delong_paired(labels, np.exp(a), 1000 * b**3 - 5) == delong_paired(labels, a, b)


@given(cases())
def test_falling_map_mirrors_the_auc_and_keeps_the_variance(
    case: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    labels, scores, _ = case
    upright, mirrored = auc_with_interval(labels, scores), auc_with_interval(labels, -scores)
    assert mirrored.auc == pytest.approx(1 - upright.auc, abs=1e-15)
    assert mirrored.variance == upright.variance


@given(cases())
def test_roc_curve_equals_scikit_learns(case: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]) -> None:
    labels, scores, _ = case
    ours = roc_curve(labels, scores)
    false_positive_rate, sensitivity, threshold = sklearn_roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(ours.false_positive_rate, false_positive_rate)
    np.testing.assert_allclose(ours.sensitivity, sensitivity)
    np.testing.assert_array_equal(ours.threshold, threshold)
    assert np.trapezoid(ours.sensitivity, ours.false_positive_rate) == pytest.approx(auc_with_interval(labels, scores).auc)


def test_identical_scores_do_not_differ_and_say_that_the_variance_is_zero() -> None:
    found = delong_paired([1, 1, 1, 0, 0, 0, 0], [0.9, 0.3, 0.3, 0.3, 0.1, 0.7, 0.2], [9, 3, 3, 3, 1, 7, 2])

    assert (found.z, found.p_value, found.log10_p, found.ci_diff) == (0.0, 1.0, 0.0, (0.0, 0.0))
    assert found.var_diff_zero
    assert found.auc_equal
    assert "by convention" in found.notes[0]


def test_different_aucs_without_variance_are_not_estimable() -> None:
    found = delong_paired([1, 1, 0, 0], [3, 4, 1, 2], [0.5, 0.5, 0.5, 0.5])

    assert (found.diff, found.se_diff, found.z, found.p_value, found.log10_p) == (0.5, 0.0, None, None, None)
    assert "not estimable" in found.notes[0]
    assert delong_unpaired(found.a, found.b).p_value is None


def test_one_case_in_a_class_gives_the_auc_alone() -> None:
    found = delong_paired([1, 0, 0], [0.5, 0.1, 0.9], [0.9, 0.1, 0.2])

    assert (found.a.auc, found.a.variance, found.a.ci, found.a.ci_logit) == (0.5, None, None, None)
    assert (found.diff, found.p_value, found.ci_diff, found.covariance) == (-0.5, None, None, None)
    assert "n_pos=1, n_neg=2" in found.notes[0]
    assert "n_pos=1, n_neg=2" in delong_unpaired(found.a, found.b).notes[0]


def test_perfect_auc_says_that_its_interval_collapses_and_gives_another() -> None:
    found = auc_with_interval(LABELS, B)

    assert found.ci == (1.0, 1.0)
    assert found.ci_logit is None
    assert "collapses" in found.notes[0]
    assert found.ci_score[0] < 0.6
    assert found.ci_score[1] == 1.0


@given(st.floats(0, 1), st.integers(1, 500), st.integers(1, 500))
def test_ends_of_the_score_interval_solve_newcombes_equation(auc: float, n_pos: int, n_neg: int) -> None:
    low, high = newcombe_interval(auc, n_pos, n_neg)
    extra = (n_pos + n_neg) / 2 - 1
    assert 0 <= low <= auc <= high <= 1
    for theta in {low, high} - {0.0, 1.0}:
        spread = 1 + extra * (1 - theta) / (2 - theta) + extra * theta / (1 + theta)
        assert abs(auc - theta) == pytest.approx(
            Z * math.sqrt(theta * (1 - theta) * spread / (n_pos * n_neg)), rel=1e-5, abs=1e-7
        )


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="score_b: 1 of 4 scores are NaN"):
        delong_paired(LABELS, A, [0.1, 0.2, float("nan"), 0.3])


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"score_a: one score per label, shape \(4,\); got \(3,\)"):
        delong_paired(LABELS, A[:3], B)


def test_confidence_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match=r"such as 0\.95; got 95"):
        auc_with_interval(LABELS, A, confidence=95)


def test_intervals_cover_the_true_auc() -> None:
    rng, draws, n = np.random.default_rng(20), 2000, 100
    separation = math.sqrt(2) * 1.2815515655446004  # a binormal AUC of 0.9
    labels = np.repeat([1, 0], n)
    found = [auc_with_interval(labels, rng.normal(size=2 * n) + separation * labels) for _ in range(draws)]
    for name in ("ci", "ci_logit", "ci_score"):
        covered = np.mean([getattr(one, name)[0] <= 0.9 <= getattr(one, name)[1] for one in found])
        assert 0.925 < covered < 0.975, name
