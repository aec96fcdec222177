"""The partial area: by hand, scikit-learn's standardised value, the whole range, and how often its interval covers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, special
from sklearn.metrics import roc_auc_score

from wsus.errors import DataError
from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.partial_auc import Focus, partial_auc

LABELS = [1, 1, 0, 0]
SCORES = [0.8, 0.35, 0.4, 0.1]  # corners (0, 1/2), (1/2, 1/2), (1/2, 1), (1, 1)
FOCUS: tuple[Focus, Focus] = ("specificity", "sensitivity")


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    n = draw(st.integers(4, 40))
    labels = np.array(draw(st.permutations([1, 1, 0, 0, *draw(st.lists(st.integers(0, 1), min_size=n - 4, max_size=n - 4))])))
    return labels, np.array(draw(st.lists(st.integers(-6, 6), min_size=n, max_size=n))) / 2


def test_hand_worked_area_and_standard() -> None:
    half = partial_auc(LABELS, SCORES, low=0.5)
    assert half.area == 0.25  # a sensitivity of 1/2 over specificities from 1/2 to 1
    assert half.standardised == pytest.approx(0.5 * (1 + (0.25 - 0.125) / (0.5 - 0.125)), rel=1e-15)

    middle = partial_auc(LABELS, SCORES, low=0.25, high=0.75)
    assert middle.area == pytest.approx(0.25 * 0.5 + 0.25 * 1.0, rel=1e-15)

    sensitive = partial_auc(LABELS, SCORES, focus="sensitivity", low=0.5)
    assert sensitive.area == pytest.approx(0.5 * 0.5, rel=1e-15)  # at sensitivities over 1/2 the specificity is 1/2


def test_hand_worked_variance() -> None:
    # specificities from 1/2: the malignant cases reach 1/2 - 0 and 1/2 - 1/2, the benign ones stand at heights 1/2 and 1/2
    found = partial_auc(LABELS, SCORES, low=0.5)
    assert found.variance == pytest.approx(0.125 / 2 + 0.0, rel=1e-15)
    half = 1.959963984540054 * math.sqrt(0.0625) / (0.5 * 0.5 * 0.5)
    assert found.ci == pytest.approx((0.5 / (1 + math.exp(half)), 0.5 / (1 + math.exp(-half))), rel=1e-13)


def test_tie_across_the_classes_is_a_straight_piece() -> None:
    found = partial_auc([1, 0], [0.5, 0.5], low=0.8)
    assert found.area == pytest.approx(0.02, rel=1e-14)
    assert found.standardised == pytest.approx(0.5, rel=1e-14)
    assert found.variance is None
    assert "n_pos=1, n_neg=1" in found.notes[0]


@given(cases(), st.floats(0.02, 1.0))
def test_standardised_area_is_scikit_learns(case: tuple[NDArray[np.int64], NDArray[np.float64]], max_fpr: float) -> None:
    labels, scores = case
    found = partial_auc(labels, scores, low=1 - max_fpr)
    assert found.standardised == pytest.approx(roc_auc_score(labels, scores, max_fpr=max_fpr), rel=1e-11)


@given(cases(), st.sampled_from(FOCUS))
def test_whole_range_is_the_auc_with_delongs_variance(case: tuple[NDArray[np.int64], NDArray[np.float64]], focus: Focus) -> None:
    labels, scores = case
    found, whole = partial_auc(labels, scores, focus=focus, low=0.0), auc_with_interval(labels, scores)

    assert found.area == pytest.approx(whole.auc, rel=1e-13, abs=1e-15)
    assert found.standardised == pytest.approx(whole.auc, rel=1e-13, abs=1e-15)
    assert found.variance == pytest.approx(whole.variance, rel=1e-12, abs=1e-16)
    if whole.ci_logit is not None and whole.variance:
        assert found.ci == pytest.approx(whole.ci_logit, rel=1e-11)


@given(cases(), st.floats(0.05, 0.95), st.sampled_from(FOCUS))
def test_two_parts_are_the_whole(case: tuple[NDArray[np.int64], NDArray[np.float64]], cut: float, focus: Focus) -> None:
    labels, scores = case
    parts = [partial_auc(labels, scores, focus=focus, low=low, high=high).area for low, high in ((0.0, cut), (cut, 1.0))]
    assert sum(parts) == pytest.approx(auc_with_interval(labels, scores).auc, rel=1e-12, abs=1e-14)


@given(cases(), st.floats(0.0, 0.95))
def test_two_foci_are_one_another_seen_from_the_other_class(
    case: tuple[NDArray[np.int64], NDArray[np.float64]], low: float
) -> None:
    labels, scores = case
    one, other = partial_auc(labels, scores, low=low), partial_auc(1 - labels, -scores, focus="sensitivity", low=low)
    assert (one.area, one.variance, one.ci) == (other.area, other.variance, other.ci)


@given(cases(), st.floats(0.0, 0.95), st.sampled_from(FOCUS))
def test_interval_holds_the_area_and_stays_in_the_range(
    case: tuple[NDArray[np.int64], NDArray[np.float64]], low: float, focus: Focus
) -> None:
    labels, scores = case
    found = partial_auc(labels, scores, focus=focus, low=low)
    assert 0.0 <= found.area <= 1 - low + 1e-12
    if found.ci is None or found.ci_standardised is None:
        assert found.notes
    else:
        assert 0.0 <= found.ci[0] <= found.area + 1e-12
        assert found.area <= found.ci[1] + 1e-12
        assert found.ci[1] <= 1 - low + 1e-12
        assert found.ci_standardised[0] <= found.standardised + 1e-12 <= found.ci_standardised[1] + 2e-12


def test_perfect_score_fills_the_range_and_has_no_interval() -> None:
    found = partial_auc([0, 0, 1, 1], [1, 2, 3, 4], low=0.8)
    assert found.area == pytest.approx(0.2, rel=1e-14)
    assert found.standardised == pytest.approx(1.0, rel=1e-14)
    assert found.ci is None
    assert "no width" in found.notes[0]


@pytest.mark.parametrize(("low", "high"), [(0.9, 0.9), (0.9, 0.8), (-0.1, 0.5), (0.5, 1.1), (90, 100)])
def test_range_that_cannot_be_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=rf"0 <= low < high <= 1.*got {low} to {high}"):
        partial_auc(LABELS, SCORES, low=low, high=high)


def test_unknown_focus_is_refused() -> None:
    with pytest.raises(ValueError, match="focus must be 'specificity' or 'sensitivity'; got 'fpr'"):
        partial_auc(LABELS, SCORES, focus="fpr")  # type: ignore[arg-type]


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 4 scores are NaN"):
        partial_auc(LABELS, [0.1, 0.2, float("nan"), 0.3])


@pytest.mark.parametrize("focus", FOCUS)
def test_standard_error_is_the_spread_over_samples_and_the_interval_covers(focus: Focus) -> None:
    rng, n, draws = np.random.default_rng(8), 100, 2000
    separation = math.sqrt(2) * 1.2815515655446004  # a binormal AUC of 0.9
    truth, _ = integrate.quad(lambda fpr: special.ndtr(separation + special.ndtri(fpr)), 0, 0.2)
    labels = np.repeat([1, 0], n)
    found = [partial_auc(labels, rng.normal(size=2 * n) + separation * labels, focus=focus, low=0.8) for _ in range(draws)]

    spread, error = np.std([one.area for one in found]), math.sqrt(np.mean([one.variance for one in found if one.variance]))
    assert error == pytest.approx(spread, rel=0.05)
    assert 0.925 < np.mean([one.ci[0] <= truth <= one.ci[1] for one in found if one.ci]) < 0.965
