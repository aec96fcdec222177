"""Accuracy at a threshold and the choice of one, worked by hand and by trying every threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsus.errors import DataError
from wsus.evaluation.diagnostic import diagnostic_at, sensitivity_point, youden_point
from wsus.evaluation.intervals import clopper_pearson

LABELS = [1, 1, 1, 1, 0, 0, 0, 0, 0]
SCORES = [0.9, 0.8, 0.5, 0.2, 0.7, 0.5, 0.4, 0.1, 0.0]


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 30))
    labels = np.array(draw(st.permutations([1, 0, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))])))
    return labels, np.array(draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))) / 10


def test_hand_worked_table() -> None:
    found = diagnostic_at(LABELS, SCORES, 0.5)

    assert (found.tp, found.fn, found.tn, found.fp, found.n_at_threshold) == (3, 1, 3, 2, 2)
    shares = (found.sensitivity, found.specificity, found.ppv, found.npv, found.accuracy)
    assert [share.estimate for share in shares] == [3 / 4, 3 / 5, 3 / 5, 3 / 4, 6 / 9]
    assert found.ppv.ci == clopper_pearson(3, 5)
    assert found.accuracy.ci == clopper_pearson(6, 9)


def test_strict_rule_leaves_the_threshold_itself_benign() -> None:
    found = diagnostic_at(LABELS, SCORES, 0.5, strict=True)
    assert (found.tp, found.fn, found.tn, found.fp) == (2, 2, 4, 1)


def test_predictive_value_of_no_call_does_not_exist() -> None:
    found = diagnostic_at(LABELS, SCORES, 2.0)
    assert (found.ppv.estimate, found.ppv.ci) == (None, None)
    assert found.npv.estimate == 5 / 9


def test_threshold_must_be_finite() -> None:
    with pytest.raises(ValueError, match="threshold must be finite; got nan"):
        diagnostic_at(LABELS, SCORES, float("nan"))


def test_hand_worked_operating_points() -> None:
    # from the top: 0.9 and 0.8 give 2/4 without a false positive; 0.5 gives 3/4 and 3/5; 0.2 gives 4/4 and 2/5
    youden = youden_point(LABELS, SCORES)
    assert (youden.threshold, youden.sensitivity, youden.specificity) == (0.8, 0.5, 1.0)
    sensitive = sensitivity_point(LABELS, SCORES)
    assert (sensitive.threshold, sensitive.sensitivity, sensitive.specificity) == (0.2, 1.0, pytest.approx(0.4))
    assert sensitivity_point(LABELS, SCORES, target=0.75).threshold == 0.5


def test_of_equal_youden_points_the_most_sensitive_is_taken() -> None:
    found = youden_point([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6])
    assert (found.threshold, found.sensitivity, found.specificity) == (0.7, 1.0, 0.5)


def test_ninety_five_of_a_hundred_reach_ninety_five_percent() -> None:
    labels = np.repeat([1, 0], [100, 1])
    scores = np.concatenate([np.arange(100, 0, -1), [0.5]])
    assert sensitivity_point(labels, scores, 0.95).threshold == 6.0


@given(scored(), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_chosen_points_are_the_best_of_all_thresholds(case: tuple[np.ndarray, np.ndarray], target: float) -> None:
    labels, scores = case
    tried = [diagnostic_at(labels, scores, float(threshold)) for threshold in np.unique(scores)]
    shares = [(one.sensitivity.estimate or 0.0, one.specificity.estimate or 0.0) for one in tried]

    youden = youden_point(labels, scores)
    assert youden.sensitivity + youden.specificity == pytest.approx(max(map(sum, shares)))
    again = diagnostic_at(labels, scores, youden.threshold)
    assert (again.sensitivity.estimate, again.specificity.estimate) == pytest.approx((youden.sensitivity, youden.specificity))

    sensitive = sensitivity_point(labels, scores, target)
    assert sensitive.sensitivity >= target - 1e-12
    assert sensitive.specificity == pytest.approx(max(spec for sens, spec in shares if sens >= target - 1e-12))


@pytest.mark.parametrize("target", [0.0, 95, -1])
def test_target_is_a_share(target: float) -> None:
    with pytest.raises(ValueError, match=r"target must lie in \(0, 1\]"):
        sensitivity_point(LABELS, SCORES, target)


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="both classes are needed"):
        youden_point([1, 1], [0.1, 0.2])
