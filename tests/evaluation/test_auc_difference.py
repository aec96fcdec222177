"""Obuchowski's variances and the limits of a difference of AUCs against R (`reference/clustered.R`), and by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from wsus.evaluation.auc import PairedAucTest, delong_paired
from wsus.evaluation.auc_difference import difference_limit, p_not_above
from wsus.evaluation.clustered import ClusteredPairedTest, clustered_paired
from wsus.evaluation.paired import Verdict, noninferiority_auc

_REFERENCE = Path(__file__).parent / "reference"
EXPECTED: dict[str, Any] = json.loads((_REFERENCE / "clustered.json").read_text())
CASES = {str(name): rows for name, rows in pd.read_csv(_REFERENCE / "clustered.csv").groupby("case")}


def of_case(name: str) -> ClusteredPairedTest:
    rows = CASES[name]
    return clustered_paired(rows["label"], rows["a"], rows["b"], rows["patient"])


@pytest.mark.parametrize("name", EXPECTED)
def test_variances_over_patients_are_those_of_r(name: str) -> None:
    test, expected = of_case(name), EXPECTED[name]

    found = (test.a.auc, test.b.auc, test.a.variance, test.b.variance, test.covariance)
    assert found == pytest.approx([expected[key] for key in ("auc_a", "auc_b", "var_a", "var_b", "cov")], abs=1e-12)
    assert (test.a.patients_pos, test.a.patients_neg) == (expected["patients_pos"], expected["patients_neg"])


@pytest.mark.parametrize("name", EXPECTED)
def test_bounds_of_noninferiority_are_those_of_r(name: str) -> None:
    found = noninferiority_auc(of_case(name), margin=0.05)

    assert (found.lower, found.upper) == pytest.approx((EXPECTED[name]["lower"], EXPECTED[name]["upper"]), abs=1e-9)
    assert found.p_value == pytest.approx(EXPECTED[name]["p"], abs=1e-9)


def test_one_image_per_patient_is_delong_as_proc_has_it() -> None:
    rows, expected = CASES["one_each"], EXPECTED["one_each"]["delong"]
    plain = delong_paired(rows["label"], rows["a"], rows["b"])

    found = (plain.a.variance, plain.b.variance, plain.covariance)
    assert found == pytest.approx((expected["var_a"], expected["var_b"], expected["cov"]), rel=1e-12)
    assert noninferiority_auc(plain).lower == pytest.approx(EXPECTED["one_each"]["lower"], abs=1e-9)


def test_copies_of_each_image_change_no_bound() -> None:
    rows = CASES["copies"].drop_duplicates("patient")
    once = noninferiority_auc(delong_paired(rows["label"], rows["a"], rows["b"]))
    often = noninferiority_auc(of_case("copies"))

    assert (often.lower, often.upper, often.p_value) == pytest.approx((once.lower, once.upper, once.p_value), rel=1e-9)


def small() -> PairedAucTest:
    labels = [1] * 6 + [0] * 6
    return delong_paired(labels, [9, 8, 7, 3, 5, 6, 1, 2, 4, 0, 3.5, 2.5], [9, 7, 8, 3, 6, 2, 1, 5, 4, 0, 3.5, 2.2])


@pytest.mark.parametrize("z", [1.5, -2.0])
def test_limit_is_the_extreme_over_the_ellipse_of_both_logits(z: float) -> None:
    """By brute force: no pair of AUCs within |z| standard errors differs by less (more), and one comes close."""
    test = small()
    a, b = test.a, test.b
    assert a.variance is not None
    assert b.variance is not None
    assert test.covariance is not None
    scale = np.array([1 / (a.auc * (1 - a.auc)), 1 / (b.auc * (1 - b.auc))])
    cov = np.array([[a.variance, test.covariance], [test.covariance, b.variance]]) * np.outer(scale, scale)
    directions = np.random.default_rng(0).normal(size=(200_000, 2))
    points = abs(z) * (directions / np.linalg.norm(directions, axis=1)[:, None]) @ np.linalg.cholesky(cov).T
    differences = special.expit(special.logit(a.auc) + points[:, 0]) - special.expit(special.logit(b.auc) + points[:, 1])

    extreme = differences.min() if z > 0 else differences.max()
    assert difference_limit(test, z) == pytest.approx(extreme, abs=1e-7)


def test_readers_that_vary_together_have_a_narrow_difference() -> None:
    """Scores that differ in one pair of cases: the limits are near, though each AUC alone is uncertain by 0.1."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    a = rng.normal(size=100) + 1.5 * labels
    b = a.copy()
    b[[3, 70]] = b[[70, 3]]
    found = noninferiority_auc(delong_paired(labels, a, b))

    assert found.lower is not None
    assert found.upper is not None
    assert found.upper - found.lower < 0.07
    assert found.verdict is Verdict.NON_INFERIOR


def test_without_distance_there_is_no_doubt_and_few_standard_errors_are_delongs() -> None:
    test = small()
    assert test.se_diff is not None

    assert difference_limit(test, 0.0) == test.diff
    assert difference_limit(test, 1e-4) == pytest.approx(test.diff - 1e-4 * test.se_diff, abs=1e-7)
    assert difference_limit(test, -1e-4) == pytest.approx(test.diff + 1e-4 * test.se_diff, abs=1e-7)


@pytest.mark.parametrize("seed", range(40))
def test_p_and_verdict_never_contradict(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 12)
    a, b = (np.round(rng.normal(size=24) + rng.uniform(0, 4) * labels, 1) for _ in range(2))
    test = delong_paired(labels, a, b)
    for confidence in (0.6, 0.95, 0.975):
        found = noninferiority_auc(test, 0.1, confidence)
        if found.p_value is not None and found.lower is not None and found.upper is not None:
            assert -1 <= found.lower <= found.diff <= found.upper <= 1
            assert (found.verdict is Verdict.NON_INFERIOR) == (found.p_value < 1 - confidence)
            assert (found.verdict is Verdict.INFERIOR) == (found.p_value > confidence)


def test_p_is_where_the_limit_meets_the_margin() -> None:
    test = small()
    p = p_not_above(test, -0.1, 1.96)
    assert difference_limit(test, float(stats.norm.isf(p))) == pytest.approx(-0.1, abs=1e-9)


def test_perfect_auc_takes_newcombes_limits_and_keeps_a_width() -> None:
    labels = [1] * 8 + [0] * 8
    test = delong_paired(labels, range(16, 0, -1), [9, 12, 13, 8, 11, 16, 15, 14, 10, 7, 6, 5, 4, 3, 2, 1])
    found = noninferiority_auc(test, 0.05)

    assert test.a.auc == 1.0
    assert found.lower is not None
    assert found.lower < found.diff
    assert found.verdict is Verdict.INCONCLUSIVE
