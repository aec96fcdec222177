"""Clustered figures: DeLong's where nothing is clustered, the published formulas elsewhere, and honest intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsus.errors import DataError
from wsus.evaluation.auc import auc_with_interval, delong_paired
from wsus.evaluation.clustered import bootstrap_auc, bootstrap_paired, clustered_auc, clustered_paired


def two_images_a_patient(n_patients: int, shared: float, seed: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Labels, two scores and patients; the images of a patient share a part of their score."""
    rng = np.random.default_rng(seed)
    labels, patients = np.repeat(np.arange(n_patients) % 2, 2), np.repeat(np.arange(n_patients), 2)
    common = np.repeat(rng.normal(size=n_patients), 2) * math.sqrt(shared)
    noise = rng.normal(size=(2, 2 * n_patients)) * math.sqrt(1 - shared)
    return labels, labels * 1.8 + common + noise[0], labels * 1.6 + common + noise[1], patients


def by_the_formulas(labels: NDArray, a: NDArray, b: NDArray, patients: NDArray) -> float:
    """Obuchowski 1997 in plain floats: the covariance of two AUCs."""
    pos, neg = labels == 1, labels == 0

    def components(scores: NDArray) -> tuple[NDArray, NDArray, float]:
        wins = (np.sign(scores[pos][:, None] - scores[neg][None, :]) + 1) / 2
        return wins.mean(axis=1), wins.mean(axis=0), wins.mean()

    (v10_a, v01_a, auc_a), (v10_b, v01_b, auc_b) = components(a), components(b)
    clusters, m, n = np.unique(patients), pos.sum(), neg.sum()

    def summed(values: NDArray, auc: float, which: NDArray) -> NDArray:
        return np.array([(values[patients[which] == one] - auc).sum() for one in clusters])

    i10, i01, i = len(set(patients[pos])), len(set(patients[neg])), len(clusters)
    s10 = i10 / ((i10 - 1) * m) * (summed(v10_a, auc_a, pos) @ summed(v10_b, auc_b, pos))
    s01 = i01 / ((i01 - 1) * n) * (summed(v01_a, auc_a, neg) @ summed(v01_b, auc_b, neg))
    s11 = i / (i - 1) * (summed(v10_a, auc_a, pos) @ summed(v01_b, auc_b, neg))
    s11_other = i / (i - 1) * (summed(v10_b, auc_b, pos) @ summed(v01_a, auc_a, neg))
    return float(s10 / m + s01 / n + (s11 + s11_other) / (m * n))


@st.composite
def clustered_cases(draw: st.DrawFn) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    n = draw(st.integers(4, 25))
    labels = np.array(draw(st.permutations([1, 1, 0, 0, *draw(st.lists(st.integers(0, 1), min_size=n - 4, max_size=n - 4))])))
    score = st.lists(st.integers(0, 5), min_size=n, max_size=n)
    patients = draw(st.lists(st.integers(0, max(2, n // 2)), min_size=n, max_size=n))
    return labels, np.array(draw(score)) / 4, np.array(draw(score)) / 4, np.array(patients)


@given(clustered_cases())
def test_one_image_per_patient_is_delong_exactly(case: tuple[NDArray, NDArray, NDArray, NDArray]) -> None:
    labels, a, b, _ = case
    clustered, plain = clustered_paired(labels, a, b, np.arange(labels.size)), delong_paired(labels, a, b)

    assert (clustered.a.ci, clustered.a.ci_logit) == (plain.a.ci, plain.a.ci_logit)
    assert (clustered.a.variance, clustered.covariance) == (plain.a.variance, plain.covariance)
    assert (clustered.diff, clustered.se_diff, clustered.z, clustered.p_value) == (
        plain.diff,
        plain.se_diff,
        plain.z,
        plain.p_value,
    )


@given(clustered_cases())
def test_order_image_twice_tells_nothing_new(case: tuple[NDArray, NDArray, NDArray, NDArray]) -> None:
    labels, a, _, _ = case
    patients = np.arange(labels.size)
    twice = clustered_auc(np.tile(labels, 2), np.tile(a, 2), np.tile(patients, 2))

    assert twice.variance == auc_with_interval(labels, a).variance
    assert (twice.n_patients, twice.n_images) == (labels.size, 2 * labels.size)


@given(clustered_cases())
def test_variance_and_covariance_follow_the_formulas(case: tuple[NDArray, NDArray, NDArray, NDArray]) -> None:
    labels, a, b, patients = case
    found = clustered_paired(labels, a, b, patients)
    if found.covariance is None:
        assert len(set(patients[labels == 1])) < 2 or len(set(patients[labels == 0])) < 2
        assert "two patients per class" in found.notes[0]
        return
    assert found.covariance == pytest.approx(by_the_formulas(labels, a, b, patients), rel=1e-9, abs=1e-15)
    expected = by_the_formulas(labels, a, a, patients)
    if found.a.variance is None:
        assert expected < 0
        assert "negative" in found.a.notes[0]
    else:
        assert found.a.variance == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_images_that_resemble_each_other_widen_the_interval() -> None:
    labels, a, _, patients = two_images_a_patient(80, 0.9, 1)
    clustered, plain = clustered_auc(labels, a, patients), auc_with_interval(labels, a)
    assert clustered.variance is not None
    assert plain.variance is not None
    assert clustered.variance > 1.4 * plain.variance


def test_same_scores_differ_by_nothing() -> None:
    labels, a, _, patients = two_images_a_patient(20, 0.5, 2)
    found = clustered_paired(labels, a, a, patients)
    assert (found.diff, found.se_diff, found.z, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert "by convention" in found.notes[0]


def test_bootstrap_agrees_with_obuchowski_and_with_itself() -> None:
    labels, a, b, patients = two_images_a_patient(150, 0.6, 3)
    obuchowski = clustered_paired(labels, a, b, patients)
    one, both = bootstrap_auc(labels, a, patients, seed=5), bootstrap_paired(labels, a, b, patients, seed=5)
    difference = both.diff

    assert one == both.a == bootstrap_auc(labels, a, patients, seed=5)
    assert both.b == bootstrap_auc(labels, b, patients, seed=5)
    assert one != bootstrap_auc(labels, a, patients, seed=6)
    assert one.estimate == pytest.approx(obuchowski.a.auc, rel=1e-14)
    assert difference.estimate == pytest.approx(obuchowski.diff, abs=1e-14)
    assert one.se == pytest.approx(math.sqrt(obuchowski.a.variance or 0), rel=0.1)
    assert difference.se == pytest.approx(obuchowski.se_diff, rel=0.1)
    assert one.ci == pytest.approx(obuchowski.a.ci, abs=0.01)


@pytest.mark.parametrize("levels", [2, 1000])
def test_bootstrap_draw_is_the_auc_of_the_drawn_images(levels: int) -> None:
    rng = np.random.default_rng(4)
    labels, scores, patients = np.arange(30) % 2, rng.integers(0, levels, 30).astype(float), np.repeat(np.arange(10), 3)
    found = bootstrap_auc(labels, scores, patients, draws=200, seed=7)

    drawn = np.random.default_rng(7).integers(0, 10, size=(200, 10))
    images = (3 * drawn[:, :, None] + np.arange(3)).reshape(200, 30)
    values = [auc_with_interval(labels[one], scores[one]).auc for one in images]
    assert found.ci == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), rel=1e-12)
    assert found.se == pytest.approx(np.std(values, ddof=1), rel=1e-12)


def test_draws_without_one_of_the_classes_are_counted() -> None:
    found = bootstrap_auc([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.95], ["a", "b", "c", "d"], draws=400)
    assert found.draws == 400
    assert 0.2 < found.n_undefined / 400 < 0.45  # (3/4)^4 = 0.32 miss the one malignant case


def test_patients_are_one_per_image() -> None:
    with pytest.raises(ValueError, match=r"one patient per label, shape \(2,\); got \(3,\)"):
        clustered_auc([0, 1], [0.1, 0.2], ["a", "b", "c"])


def test_no_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="draws must be at least 1; got 0"):
        bootstrap_auc([0, 1], [0.1, 0.2], ["a", "b"], draws=0)


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="both classes are needed"):
        clustered_auc([1, 1], [0.1, 0.2], ["a", "b"])


def test_clustered_interval_covers_where_the_plain_one_does_not() -> None:
    truth = 0.5 * math.erfc(-1.8 / math.sqrt(2) / math.sqrt(2))
    covered = {"plain": 0, "clustered": 0, "logit": 0}
    for seed in range(1000):
        labels, a, _, patients = two_images_a_patient(100, 0.8, seed)
        clustered = clustered_auc(labels, a, patients)
        for name, ci in (("plain", auc_with_interval(labels, a).ci), ("clustered", clustered.ci), ("logit", clustered.ci_logit)):
            assert ci is not None
            covered[name] += ci[0] <= truth <= ci[1]
    assert 920 <= covered["clustered"] <= 975
    assert 930 <= covered["logit"] <= 975
    assert covered["plain"] < 900


def test_bootstrap_is_refused_where_nothing_can_be_estimated() -> None:
    one_positive = bootstrap_auc([1, 0, 0, 0], [0.5, 0.4, 0.6, 0.1], ["p", "q", "r", "s"], draws=50)
    one_patient = bootstrap_auc([1, 1, 0, 0], [0.5, 0.4, 0.6, 0.1], ["p"] * 4, draws=50)

    for found in (one_positive, one_patient):
        assert (found.ci, found.se) == (None, None)
        assert "needs two of each" in (found.note or "")
