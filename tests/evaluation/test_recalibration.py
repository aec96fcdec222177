"""Scaling of probabilities: against scikit-learn and statsmodels-like hand work, order kept, coverage as promised."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from wsus.errors import ConfigError, DataError
from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.calibration import calibration
from wsus.evaluation.recalibration import (
    Scaling,
    check_enough,
    choose_method,
    fit_not_sure,
    fit_scaling,
    patient_folds,
)


def made(n: int, seed: int = 0, slope: float = 0.4, shift: float = 1.0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels drawn from probabilities, and POMs that are too extreme and too high by a known amount."""
    rng = np.random.default_rng(seed)
    true_logit = rng.normal(0, 1.2, n)
    labels = (rng.random(n) < expit(true_logit)).astype(np.int64)
    return labels, expit((true_logit + shift) / slope)


def test_platt_finds_the_line_that_the_data_were_made_with_and_makes_slope_one() -> None:
    labels, poms = made(20_000)
    found = fit_scaling("platt", labels, poms)
    assert found.slope == pytest.approx(0.4, abs=0.02)
    assert found.intercept == pytest.approx(-1.0, abs=0.05)
    after = calibration(labels, found.apply(poms))
    assert after.slope == pytest.approx(1.0, abs=1e-3)
    assert after.intercept == pytest.approx(0.0, abs=1e-3)


def test_a_temperature_by_hand() -> None:
    """Two kinds of cases with POM 0.9 and 0.1, right in three of four: the likelihood is best where p' is 0.75 and 0.25."""
    labels, poms = [1, 1, 1, 0, 0, 0, 0, 1], [0.9] * 4 + [0.1] * 4
    found = fit_scaling("temperature", labels, poms)
    assert found.apply([0.9, 0.1]) == pytest.approx([0.75, 0.25], abs=1e-6)
    assert found.slope == pytest.approx(logit(0.75) / logit(0.9), abs=1e-6)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_the_order_and_so_the_auc_stay(method: str) -> None:
    labels, poms = made(400)
    poms = np.where(poms < 0.2, poms * 1e-9, poms)  # next to 0 too
    found = fit_scaling(method, labels, poms)  # type: ignore[arg-type]
    assert auc_with_interval(labels, found.apply(poms)).auc == auc_with_interval(labels, poms).auc


def test_isotonic_is_that_of_scikit_learn_but_for_certainty() -> None:
    labels, poms = made(3000)
    found = fit_scaling("isotonic", labels, poms).apply(poms)
    theirs = IsotonicRegression(y_min=0, y_max=1).fit(poms, labels).predict(poms)
    assert found == pytest.approx(np.clip(theirs, 1 / 3002, 1 - 1 / 3002), abs=1e-6)
    assert (np.diff(found[np.argsort(poms)]) >= -1e-12).all()


def test_another_prevalence_moves_the_odds_by_bayes() -> None:
    scaling = Scaling(method="platt").at_prevalence(0.5, 0.1)
    assert scaling.apply([0.5])[0] == pytest.approx(0.1)
    odds = scaling.apply([0.8])[0]
    assert odds / (1 - odds) == pytest.approx((0.8 / 0.2) * (0.1 / 0.9))


def test_what_was_ruled_out_is_wrong_as_seldom_as_promised() -> None:
    """Over 400 draws of 60 + 60 cases, the error in each class is at most alpha on average, and not far below."""
    errors = []
    for seed in range(400):
        labels, poms = made(300, seed)
        found = fit_not_sure(labels[:150], poms[:150], 0.1)
        malignant, benign = found.fits(poms[150:])
        new = labels[150:] == 1
        errors.append((1 - malignant[new].mean(), 1 - benign[~new].mean()))
    assert np.mean(errors, axis=0) == pytest.approx([0.1, 0.1], abs=0.015)


def test_not_sure_by_hand() -> None:
    labels, p = [0] * 9 + [1] * 9, [k / 10 for k in range(9)] + [k / 10 + 0.15 for k in range(9)]
    found = fit_not_sure(labels, p, 0.2)  # floor(0.2 x 10) = 2: the second lowest malignant, the second highest benign
    assert (found.malignant_from, found.benign_to) == (pytest.approx(0.25), pytest.approx(0.7))
    assert found.unsure([0.2, 0.25, 0.5, 0.7, 0.71]).tolist() == [False, True, True, True, False]


def test_folds_keep_patients_together() -> None:
    labels, _ = made(200)
    patients = np.repeat(np.arange(100), 2)
    labels = np.repeat(labels[:100], 2)
    folds = patient_folds(labels, patients, 5, seed=0)
    assert sorted(np.concatenate(folds)) == list(range(200))
    for rows in folds:
        assert set(patients[rows]).isdisjoint(patients[np.setdiff1d(np.arange(200), rows)])


def test_too_few_and_what_cannot_be_is_said() -> None:
    labels = [1] * 25 + [0] * 40
    assert choose_method(labels) == "temperature"
    with pytest.raises(DataError, match="platt scaling needs 30 malignant images, 25 are there; temperature can be fitted"):
        check_enough("platt", labels)
    with pytest.raises(DataError, match="does not order these images"):
        fit_scaling("platt", [0, 0, 1, 1, 0, 1], [0.9, 0.8, 0.1, 0.2, 0.3, 0.4])
    with pytest.raises(DataError, match="separate the classes without an error"):
        fit_scaling("platt", [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    with pytest.raises(ConfigError, match="method is one of"):
        fit_scaling("beta", [0, 1], [0.1, 0.9])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="needs 9 images of a class"):
        fit_not_sure([0] * 20 + [1] * 5, np.linspace(0, 1, 25), 0.1)
    with pytest.raises(ConfigError, match=r"lies in \(0, 0.5\)"):
        fit_not_sure([0, 1], [0.1, 0.9], 0.7)
    with pytest.raises(DataError, match="5 folds need as many patients"):
        patient_folds([0] * 20 + [1] * 4, list(range(24)), 5, seed=0)
