"""Calibration against hand-worked values, scikit-learn and data made to be calibrated."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from wsus.errors import DataError
from wsus.evaluation.calibration import calibration, reliability_curve


def simulated(n: int, slope: float, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn so that logit P = shift + slope x logit(p said)."""
    rng = np.random.default_rng(seed)
    said = expit(rng.normal(size=n) * 1.5)
    return (rng.random(n) < expit(shift + slope * logit(said))).astype(int), said


def test_hand_worked_brier_score() -> None:
    found = calibration([1, 0, 0, 1], [0.9, 0.2, 0.6, 0.5])
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.36 + 0.25) / 4)
    assert found.brier_reference == 0.25


def test_hand_worked_slope_of_two_probabilities() -> None:
    # of those told 0.2 a third is malignant, of those told 0.8 two thirds: logits -+ log 2 against -+ log 4
    found = calibration([0, 0, 1, 1, 1, 0], [0.2] * 3 + [0.8] * 3)
    assert found.slope == pytest.approx(0.5, rel=1e-9)
    assert found.intercept == pytest.approx(0.0, abs=1e-9)
    assert found.in_the_large == pytest.approx(0.0, abs=1e-9)


def test_fit_equals_scikit_learns_without_a_penalty() -> None:
    labels, said = simulated(500, 0.6, 0.4)
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(said)[:, None], labels)
    found = calibration(labels, said)

    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=1e-5)
    assert found.intercept == pytest.approx(expected.intercept_[0], rel=1e-4)
    assert found.brier == pytest.approx(brier_score_loss(labels, said))


def test_known_miscalibration_is_found() -> None:
    found = calibration(*simulated(40_000, 0.5, 0.7))
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(0.7, abs=0.04)
    assert found.in_the_large is not None
    assert found.in_the_large > 0.4


def test_in_the_large_makes_the_mean_right() -> None:
    labels, said = simulated(300, 1.0, -0.8)
    found = calibration(labels, said)
    assert found.in_the_large is not None
    assert expit(logit(said) + found.in_the_large).mean() == pytest.approx(labels.mean(), rel=1e-9)


def test_probabilities_of_exactly_zero_and_one_are_scored() -> None:
    found = calibration([1, 0, 0, 1, 0, 1], [1.0, 0.0, 1.0, 0.0, 0.4, 0.7])
    assert found.brier == pytest.approx((1 + 1 + 0.16 + 0.09) / 6)
    assert found.slope is not None
    assert math.isfinite(found.slope)


def test_separated_classes_have_no_slope_and_say_so() -> None:
    found = calibration([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert (found.slope, found.intercept) == (None, None)
    assert "separate the classes" in found.notes[0]
    assert found.in_the_large == pytest.approx(0.0, abs=1e-9)


def test_one_probability_for_all_has_no_slope_and_says_so() -> None:
    found = calibration([0, 0, 1, 0], [0.5] * 4)
    assert found.slope is None
    assert "all probabilities are equal" in found.notes[0]
    assert found.in_the_large == pytest.approx(math.log(1 / 3))
    assert len(found.bins) == 1


def test_reliability_bins_are_worked_by_hand() -> None:
    bins = reliability_curve([0, 1, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.7, 0.9], n_bins=3)

    assert [(one.low, one.high, one.observed.count, one.observed.total) for one in bins] == [
        (0.1, 0.2, 1, 2),
        (0.3, 0.6, 1, 2),
        (0.7, 0.9, 2, 2),
    ]
    assert [one.mean_probability for one in bins] == pytest.approx([0.15, 0.45, 0.8])


def test_equal_probabilities_share_a_bin() -> None:
    rng = np.random.default_rng(1)
    said, labels = rng.integers(0, 4, 100) / 4, rng.integers(0, 2, 100)
    bins = reliability_curve(labels, said, n_bins=10)
    edges = [value for one in bins for value in {one.low, one.high}]

    assert len(edges) == len(set(edges))
    assert sum(one.observed.total for one in bins) == 100


def test_what_is_not_a_probability_is_refused() -> None:
    with pytest.raises(DataError, match=r"lie in \[0, 1\]; 1 do not, such as 1\.2"):
        calibration([0, 1], [0.5, 1.2])


def test_bins_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="n_bins must be at least 1; got 0"):
        reliability_curve([0, 1], [0.1, 0.2], n_bins=0)


_Y = [1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1]
_P = [0.9, 0.7, 0.2, 0.6, 0.4, 0.1, 0.3, 0.55, 0.85, 0.25, 0.65, 0.8]


def test_intervals_are_those_of_r() -> None:
    """R 4.2: confint.default(glm(y ~ qlogis(p), binomial)), and with the offset alone."""
    found = calibration(_Y, _P)
    assert found.intercept_ci == pytest.approx((-1.770908634949, 1.30778541735), rel=1e-9)
    assert found.slope_ci == pytest.approx((-0.124698860649, 3.21532434048), rel=1e-9)
    assert found.in_the_large_ci == pytest.approx((-1.4586633469, 1.18528076078), rel=1e-9)


def test_intervals_over_patients_are_the_sandwich() -> None:
    """R 4.2: vcov %*% crossprod(rowsum(scores, patient)) %*% vcov * 6 / 5; slope's standard error 0.798009784823."""
    found = calibration(_Y, _P, patients=[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    assert found.slope_ci is not None
    assert (found.slope_ci[1] - found.slope_ci[0]) / 2 / 1.959963984540054 == pytest.approx(0.798009784823, rel=1e-9)
    assert found.brier_ci != calibration(_Y, _P).brier_ci
    assert calibration(_Y, _P, patients=list(range(12))) == calibration(_Y, _P)


def test_probability_of_exactly_one_does_not_rule_the_slope_in_silence() -> None:
    labels, plain = [*_Y, 0], [*_P, 0.9]
    slope, same = calibration(labels, plain).slope, calibration(labels, [*_P, 1.0])

    assert same.extreme == 1
    assert "1 of 13 probabilities are exactly 0 or 1" in same.notes[0]
    assert slope is not None
    assert same.slope is not None
    assert 0 < same.slope < slope  # with its logit taken as 27.6 the slope would be 0.05
    assert same.slope > 0.1
