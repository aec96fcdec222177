"""Net benefit by hand, by counting, and where its two trivial strategies must lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsus.errors import DataError
from wsus.evaluation.decision_curve import THRESHOLDS, decision_curve
from wsus.evaluation.diagnostic import diagnostic_at

LABELS = [1, 1, 1, 0, 0, 0, 0, 0]
P = [0.9, 0.6, 0.2, 0.7, 0.3, 0.1, 0.1, 0.0]


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 40))
    labels = np.array(draw(st.permutations([1, 0, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))])))
    return labels, np.array(draw(st.lists(st.integers(0, 20), min_size=n, max_size=n))) / 20


def test_hand_worked_net_benefit() -> None:
    found = decision_curve(LABELS, P, [0.1, 0.5])

    # at 0.1 three cancers and four of five benign cases are acted on, at 0.5 two and one
    assert found.net_benefit == pytest.approx([3 / 8 - 4 / 8 * (1 / 9), 2 / 8 - 1 / 8 * 1], rel=1e-14)
    assert found.treat_all == pytest.approx([3 / 8 - 5 / 8 * (1 / 9), 3 / 8 - 5 / 8], rel=1e-14)
    assert found.prevalence == 3 / 8


@given(cases(), st.sampled_from(THRESHOLDS))
def test_net_benefit_is_counted_as_vickers_and_elkin_wrote_it(case: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    labels, p = case
    at = diagnostic_at(labels, p, threshold)
    expected = at.tp / labels.size - at.fp / labels.size * threshold / (1 - threshold)
    assert decision_curve(labels, p, [threshold]).net_benefit[0] == pytest.approx(expected, rel=1e-12, abs=1e-14)


@given(cases())
def test_no_strategy_beats_acting_on_the_cancers_alone(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, p = case
    found, perfect = decision_curve(labels, p), decision_curve(labels, labels)
    assert (found.net_benefit <= found.prevalence + 1e-12).all()
    assert perfect.net_benefit == pytest.approx(np.full(len(THRESHOLDS), labels.mean()))


def test_calling_all_cases_is_to_treat_all() -> None:
    found = decision_curve(LABELS, np.ones(8))
    assert found.net_benefit == pytest.approx(found.treat_all)


def test_prevalence_of_a_clinic_replaces_that_of_the_set() -> None:
    found = decision_curve(LABELS, P, [0.1], prevalence=0.02)
    assert found.net_benefit[0] == pytest.approx(1.0 * 0.02 - 4 / 5 * 0.98 / 9, rel=1e-13)
    assert found.treat_all[0] == pytest.approx(0.02 - 0.98 / 9, rel=1e-13)


def test_scores_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(DataError, match=r"lie in \[0, 1\]; found 1\.5"):
        decision_curve([0, 1], [0.5, 1.5])


@pytest.mark.parametrize(("thresholds", "prevalence"), [([0.0], None), ([1.0], None), ([0.5], 1.0), ([0.5], 0.0)])
def test_threshold_and_prevalence_lie_between_zero_and_one(thresholds: list[float], prevalence: float | None) -> None:
    with pytest.raises(ValueError, match=r"thresholds and prevalence lie in \(0, 1\)"):
        decision_curve(LABELS, P, thresholds, prevalence=prevalence)


def test_limits_are_those_of_two_weighted_shares() -> None:
    """20 + 20 cases, sensitivity 15/20, false positives 5/20, threshold 0.2, prevalence 0.1; independent: var p (1 - p) / n."""
    labels = [1] * 20 + [0] * 20
    scores = [0.9] * 15 + [0.1] * 5 + [0.9] * 5 + [0.1] * 15
    found = decision_curve(labels, scores, [0.2], prevalence=0.1)
    variance = (0.1**2 + (0.9 * 0.25) ** 2) * 0.75 * 0.25 / 20 * 40 / 39

    assert found.net_benefit[0] == pytest.approx(0.075 - 0.25 * 0.9 * 0.25)
    assert (found.high[0] - found.low[0]) / 2 == pytest.approx(1.959963984540054 * variance**0.5)
    copies = decision_curve(labels * 3, scores * 3, [0.2], prevalence=0.1, patients=list(range(40)) * 3)
    assert (copies.low[0], copies.high[0]) == pytest.approx((found.low[0], found.high[0]))


def test_one_patient_of_a_class_has_no_limits() -> None:
    found = decision_curve([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1], [0.5], patients=["p", "p", "q", "r"])
    assert np.isnan(found.low[0])
