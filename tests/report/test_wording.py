from __future__ import annotations

import pytest

from wsus.comparison.estimates import Estimate
from wsus.report.wording import (
    backbone_name,
    duration,
    number,
    p_clause,
    p_value,
    percent_with_interval,
    ratio_with_interval,
    with_interval,
)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (None, "–"),
        (0.0, "<0.001"),
        (0.00099, "<0.001"),
        (0.0041, "0.004"),
        (0.0496, "0.050"),
        (0.0449, "0.04"),
        (0.66, "0.66"),
        (0.9999, ">0.99"),
        (1.0, "1.00"),
    ],
)
def test_p_value_as_journals_print_it(p: float | None, words: str) -> None:
    assert p_value(p) == words


def test_p_inside_a_sentence() -> None:
    assert [p_clause(p) for p in (0.04, 0.0001, None)] == ["P = 0.04", "P < 0.001", "P not estimable"]


def test_minus_is_a_minus_and_zero_has_none() -> None:
    assert number(-0.031) == "−0.031"
    assert number(-0.0001) == "0.000"


def test_interval_with_a_negative_bound_is_joined_by_a_word() -> None:
    assert with_interval(Estimate(value=0.96, low=0.93, high=0.99), digits=2) == "0.96 (0.93–0.99)"
    assert with_interval(Estimate(value=0.01, low=-0.02, high=0.04), digits=2) == "0.01 (−0.02 to 0.04)"
    assert with_interval(Estimate(value=0.01), digits=2) == "0.01"


def test_what_is_not_estimable_is_a_dash() -> None:
    assert with_interval(Estimate()) == percent_with_interval(Estimate(x=0, n=0)) == number(None) == "–"


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(value=0.1429, low=0.08, high=0.2293), "0.143 (0.080–0.229)"),
        (Estimate(value=9.6667, low=5.3086, high=19.7588), "9.67 (5.31–19.8)"),
        (Estimate(value=None, low=12.14), "∞ (12.1–∞)"),
        (Estimate(value=0.0, low=0.0, high=0.41), "0.000 (0.000–0.410)"),
        (Estimate(note="undefined"), "–"),
    ],
)
def test_ratio_has_the_digits_that_it_deserves_and_may_be_infinite(estimate: Estimate, words: str) -> None:
    assert ratio_with_interval(estimate) == words


@pytest.mark.parametrize(("seconds", "words"), [(48.4, "48 s"), (720, "12 min"), (12240, "3.4 h"), (None, "–")])
def test_duration_in_the_unit_that_fits(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_unknown_network_keeps_its_name() -> None:
    assert (backbone_name("vgg16"), backbone_name("timm/convnext_nano")) == ("VGG16", "timm/convnext_nano")
