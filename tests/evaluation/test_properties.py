"""What must hold for any cases: which reader is called a, how the cases are sorted and what a patient is called says nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsus.evaluation.auc import auc_with_interval, delong_paired, delong_unpaired
from wsus.evaluation.clustered import clustered_paired
from wsus.evaluation.paired import PairedCounts, holm, noninferiority_auc, noninferiority_paired
from wsus.two_scores.stats import stats_from_scores

Cases = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


@st.composite
def cases(draw: st.DrawFn) -> Cases:
    """Labels and two scores with many ties, and two cases of each class at least."""
    n = draw(st.integers(4, 30))
    labels = np.array(draw(st.permutations([1, 1, 0, 0, *draw(st.lists(st.integers(0, 1), min_size=n - 4, max_size=n - 4))])))
    score = st.lists(st.integers(0, 8), min_size=n, max_size=n)
    return labels, np.array(draw(score)) / 8, np.array(draw(score)) / 8


@st.composite
def with_patients(draw: st.DrawFn) -> tuple[Cases, NDArray[np.int64]]:
    found = draw(cases())
    n = found[0].size
    return found, np.array(draw(st.lists(st.integers(0, n // 2), min_size=n, max_size=n)))


def without_notes(stats: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stats.items() if key not in ("notes", "flags")}


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_order_of_the_cases_changes_nothing(case: Cases, random: Any) -> None:
    labels, a, b = case
    order = list(range(labels.size))
    random.shuffle(order)

    one, other = stats_from_scores(labels, a, b), stats_from_scores(labels[order], a[order], b[order])
    assert one["paired"] == other["paired"]
    assert one["threshold"] == other["threshold"]
    assert one["noninferiority"] == other["noninferiority"]
    assert one["likelihood_ratios"] == other["likelihood_ratios"]
    for side in "ab":
        for focus in ("specificity", "sensitivity"):
            found, again = one["partial_auc"][side][focus], other["partial_auc"][side][focus]
            assert found["area"] == pytest.approx(again["area"], abs=1e-15)


@given(cases())
@settings(max_examples=20, deadline=None)
def test_readers_that_trade_places_trade_their_figures(case: Cases) -> None:
    labels, a, b = case
    there, back = stats_from_scores(labels, a, b), stats_from_scores(labels, b, a)

    for key in ("auc", "var", "ci", "ci_logit", "ci_score"):
        assert (there[f"{key}_a"], there[f"{key}_b"]) == (back[f"{key}_b"], back[f"{key}_a"])
    for part in ("predictive", "likelihood_ratios", "partial_auc"):
        assert (there[part]["a"], there[part]["b"]) == (back[part]["b"], back[part]["a"])
    for test in ("mcnemar_pos", "mcnemar_neg"):
        one, other = there["threshold"][test], back["threshold"][test]
        assert (one["only_a_correct"], one["p"]) == (other["only_b_correct"], pytest.approx(other["p"], rel=1e-12))
    for key in ("fisher_sens_a_vs_b_p", "fisher_spec_a_vs_b_p"):
        assert there["threshold"][key] == pytest.approx(back["threshold"][key], rel=1e-12)
    assert there["unpaired"]["p"] == back["unpaired"]["p"]
    assert there["power"]["auc_noninferiority"]["power"] == back["power"]["auc_noninferiority"]["power"]


@given(cases())
def test_other_labels_are_the_complement_of_the_auc(case: Cases) -> None:
    labels, a, b = case
    upright, flipped = delong_paired(labels, a, b), delong_paired(1 - labels, a, b)

    assert flipped.a.exact == 1 - upright.a.exact
    assert (flipped.a.variance, flipped.covariance, flipped.se_diff) == (upright.a.variance, upright.covariance, upright.se_diff)
    assert flipped.diff == -upright.diff
    assert (flipped.p_value, flipped.log10_p) == (upright.p_value, upright.log10_p)


@given(cases())
def test_both_classes_and_the_scores_turned_over_are_the_same_test(case: Cases) -> None:
    labels, a, b = case
    assert delong_paired(1 - labels, -a, -b).diff == delong_paired(labels, a, b).diff
    assert delong_paired(1 - labels, -a, -b).p_value == delong_paired(labels, a, b).p_value


@given(cases(), cases())
def test_unpaired_test_is_the_same_from_either_side(one: Cases, other: Cases) -> None:
    a, b = auc_with_interval(one[0], one[1]), auc_with_interval(other[0], other[1])
    there, back = delong_unpaired(a, b), delong_unpaired(b, a)

    assert (there.p_value, there.df) == (back.p_value, pytest.approx(back.df))
    assert there.d is None or there.d == -back.d  # type: ignore[operator]


@given(cases())
def test_intervals_hold_their_estimates(case: Cases) -> None:
    labels, a, b = case
    test = delong_paired(labels, a, b)
    for one in (test.a, test.b):
        for ci in (one.ci, one.ci_logit, one.ci_score):
            assert ci is None or 0.0 <= ci[0] <= one.auc + 1e-12 <= ci[1] + 2e-12 <= 1.0 + 2e-12
    assert test.ci_diff is not None
    assert test.ci_diff[0] <= test.diff <= test.ci_diff[1]
    bound = noninferiority_auc(test)
    if bound.lower is not None and bound.upper is not None:
        assert -1.0 <= bound.lower <= bound.diff <= bound.upper <= 1.0


@given(with_patients())
def test_names_of_patients_and_order_of_images_change_nothing(case: tuple[Cases, NDArray[np.int64]]) -> None:
    (labels, a, b), patients = case
    names = np.array([f"patient {7 * number % 31}" for number in patients])
    order = np.argsort(names, kind="stable")

    one = clustered_paired(labels, a, b, patients)
    assert clustered_paired(labels[order], a[order], b[order], names[order]) == one


@given(with_patients())
def test_readers_over_patients_trade_places(case: tuple[Cases, NDArray[np.int64]]) -> None:
    (labels, a, b), patients = case
    there, back = clustered_paired(labels, a, b, patients), clustered_paired(labels, b, a, patients)

    assert (there.a, there.b, there.diff) == (back.b, back.a, -back.diff)
    assert (there.se_diff, there.p_value, there.covariance) == (back.se_diff, back.p_value, back.covariance)


@given(*[st.integers(0, 40)] * 4)
def test_bounds_of_non_inferiority_turn_over_with_the_readers(both: int, only_a: int, only_b: int, neither: int) -> None:
    if both + only_a + only_b + neither == 0:
        return
    there = noninferiority_paired(
        PairedCounts(both_correct=both, only_a_correct=only_a, only_b_correct=only_b, both_wrong=neither)
    )
    back = noninferiority_paired(
        PairedCounts(both_correct=both, only_a_correct=only_b, only_b_correct=only_a, both_wrong=neither)
    )
    assert (there.lower, there.upper) == (pytest.approx(-(back.upper or 0.0)), pytest.approx(-(back.lower or 0.0)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_holm_adjusts_each_p_whatever_the_order(p_values: list[float], random: Any) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)
    adjusted = holm(p_values)
    shuffled = holm([p_values[place] for place in order])
    assert sorted(zip(p_values, adjusted, strict=True)) == sorted(
        zip((p_values[place] for place in order), shuffled, strict=True)
    )
