"""Shares over patients: hand-worked values, and that copies of an image say no more than the image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from wsus.evaluation.clustered_shares import (
    clustered_paired_shares,
    clustered_proportion,
    design_effect,
    effective_clopper_pearson,
)
from wsus.evaluation.intervals import clopper_pearson
from wsus.evaluation.paired import noninferiority_paired

RIGHT_A = np.array([1, 1, 0, 1, 0, 1, 1, 1], dtype=bool)
RIGHT_B = np.array([1, 0, 0, 1, 1, 1, 0, 1], dtype=bool)
PATIENTS = np.array(["p", "p", "q", "q", "r", "r", "s", "s"])


def test_hand_worked_design_effect_and_interval() -> None:
    """6 of 8 right; by patient 2, 1, 1, 2 of 2: residuals 0.5, -0.5, -0.5, 0.5, over patients 1.0; plain 8 x 3/16 = 1.5."""
    found = clustered_proportion(RIGHT_A, PATIENTS)
    assert (found.count, found.total, found.n_patients) == (6, 8, 4)
    assert found.design_effect == 1.0  # 1.0 / 1.5, never below 1
    assert found.ci == pytest.approx(clopper_pearson(6, 8))


def test_hand_worked_positive_correlation() -> None:
    right = np.array([1, 1, 1, 1, 0, 0, 1, 1], dtype=bool)  # residuals by patient 0.5, 0.5, -1.5, 0.5: 3.0; plain 1.5
    found = clustered_proportion(right, PATIENTS)
    assert found.design_effect == pytest.approx(2.0)
    assert found.ci == pytest.approx(clopper_pearson(3, 4))


def test_hand_worked_mcnemar_over_patients() -> None:
    """a - b by patient: 1, 0, -1, 1: total 1 over sqrt(3)."""
    found = clustered_paired_shares(RIGHT_A, RIGHT_B, PATIENTS)
    assert (found.counts.only_a_correct, found.counts.only_b_correct) == (2, 1)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(1 / math.sqrt(3)))


@pytest.mark.parametrize("copies", [1, 2, 8])
def test_copies_say_no_more_than_the_images(copies: int) -> None:
    patients = np.repeat(np.arange(8), copies)
    a, b = np.repeat(RIGHT_A, copies), np.repeat(RIGHT_B, copies)
    found = clustered_paired_shares(a, b, patients)
    plain = noninferiority_paired(clustered_paired_shares(RIGHT_A, RIGHT_B, np.arange(8)).counts)
    judged = found.noninferiority(0.05, 0.975)

    assert found.design_effect == pytest.approx(copies)
    assert judged is not None
    assert (judged.lower, judged.upper, judged.p_value) == pytest.approx((plain.lower, plain.upper, plain.p_value))
    assert clustered_proportion(a, patients).ci == pytest.approx(clopper_pearson(6, 8))


def test_without_discordant_images_every_patient_is_one_image() -> None:
    right = np.ones(8, dtype=bool)
    found = clustered_paired_shares(right, right, PATIENTS)

    assert (found.p_value, found.design_effect) == (1.0, 2.0)
    assert "no discordant" in (found.note or "")
    assert clustered_proportion(right, PATIENTS).ci == pytest.approx(clopper_pearson(4, 4))


def test_images_that_cancel_within_each_patient_differ_in_nothing() -> None:
    found = clustered_paired_shares([True, False] * 2, [False, True] * 2, ["p", "p", "q", "q"])
    assert (found.p_value, found.design_effect) == (1.0, 1.0)
    assert "cancel" in (found.note or "")


def test_one_patient_gives_no_interval_and_no_test() -> None:
    found = clustered_paired_shares([True, False, True], [False, False, True], ["p"] * 3)
    assert (found.p_value, found.noninferiority(0.05, 0.975)) == (None, None)
    share = clustered_proportion([True, False], ["p", "p"])
    assert (share.estimate, share.ci) == (0.5, None)
    assert "needs two" in (share.note or "")


def test_whole_counts_are_clopper_and_pearsons() -> None:
    for x in (0, 3, 10):
        assert effective_clopper_pearson(x, 10, 1.0, 0.95) == pytest.approx(clopper_pearson(x, 10))
    assert design_effect(np.array([]), np.array([], dtype=int)) == 1.0


def test_patients_must_be_as_many_as_images() -> None:
    with pytest.raises(ValueError, match="one patient per image"):
        clustered_proportion([True, False], ["p"])


def test_intervals_hold_the_truth_where_images_of_a_patient_agree() -> None:
    """60 patients x 4 images, correlation 0.8 of the latent score: Clopper-Pearson alone covers four times in five."""
    rng = np.random.default_rng(5)
    patients, cut, held, plain = np.repeat(np.arange(60), 4), stats.norm.ppf(0.2), [], []
    for _ in range(500):
        latent = math.sqrt(0.8) * rng.normal(size=60)[patients] + math.sqrt(0.2) * rng.normal(size=240)
        right = latent >= cut
        ci, alone = clustered_proportion(right, patients).ci, clopper_pearson(int(right.sum()), 240)
        assert ci is not None
        held.append(ci[0] <= 0.8 <= ci[1])
        plain.append(alone[0] <= 0.8 <= alone[1])
    assert np.mean(held) > 0.92
    assert np.mean(plain) < 0.85
