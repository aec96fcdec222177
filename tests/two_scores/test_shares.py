"""The paper's figures from its counts, as R gives them, and what a pair of printed shares still tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wsus.errors import ConfigError
from wsus.two_scores.shares import format_shares, read_share, share_pair

RELATIVE = 1e-12


@pytest.fixture
def paper(test_reference_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((test_reference_dir / "stats" / "expected_paper.json").read_text())
    return content


def _same_bounds(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return bool(
        found["discordant_range"] == expected["discordant_range"]
        and [found["p_min"], found["p_max"]] == pytest.approx([expected["p_min"], expected["p_max"]], rel=RELATIVE)
        and found["determined"] == expected["determined"]
    )


@pytest.mark.parametrize("figure", ["sensitivity", "specificity"])
def test_shares_of_the_paper(paper: dict[str, Any], figure: str) -> None:
    shares = paper[figure]["proportions"]
    assert len(shares) == 6
    for one in shares:
        found = share_pair(one["x"], one["n"], 1, 1).to_json()["a"]
        assert found["estimate"] == pytest.approx(one["estimate"], rel=RELATIVE)
        assert found["clopper_pearson_95"] == pytest.approx(one["clopper_pearson_95"], rel=RELATIVE)

    pairs = paper[figure]["pairwise"]
    assert len(pairs) == 15
    for pair in pairs:
        found = share_pair(pair["x_i"], 100, pair["x_j"], 100).to_json()
        assert found["fisher_p"] == pytest.approx(pair["fisher_p"], rel=RELATIVE)
        assert _same_bounds(found["mcnemar_exact_bounds"], pair["mcnemar_exact_bounds"])


def test_sensitivity_against_specificity_of_the_paper(paper: dict[str, Any]) -> None:
    assert len(paper["sens_vs_spec"]) == 6
    for one in paper["sens_vs_spec"]:
        found = share_pair(one["sens"], 100, one["spec"], 100)
        assert found.fisher_p == pytest.approx(one["fisher_sens_vs_spec_p"], rel=RELATIVE)


def test_localisation_of_the_paper(paper: dict[str, Any]) -> None:
    assert paper["localisation"]
    for one in paper["localisation"]:
        found = share_pair(one["x1"], one["n"], one["x2"], one["n"]).to_json()
        assert found["fisher_p"] == pytest.approx(one["fisher_p"], rel=RELATIVE)
        assert found["a"]["clopper_pearson_95"] == pytest.approx(one["ci1"], rel=RELATIVE)
        assert found["b"]["clopper_pearson_95"] == pytest.approx(one["ci2"], rel=RELATIVE)
        assert _same_bounds(found["mcnemar_exact_bounds"], one["mcnemar_exact_bounds"])


def test_hand_worked_range_of_mcnemar() -> None:
    # 3 and 1 of 4 right: both right on 1 or 0 cases, so 2 against 0 (p = 1/2) or 3 against 1 (p = 5/8)
    found = share_pair(3, 4, 1, 4)
    assert found.discordant == (2, 4)
    assert found.mcnemar_p == (pytest.approx(0.5), pytest.approx(0.625))


def test_shares_of_other_numbers_of_cases_have_no_paired_test() -> None:
    found = share_pair(3, 4, 30, 50)
    assert (found.discordant, found.mcnemar_p) == (None, None)
    assert found.to_json()["mcnemar_exact_bounds"] is None
    assert "no McNemar test" in format_shares(found)


def test_text_gives_the_range() -> None:
    text = format_shares(share_pair(87, 100, 82, 100))
    assert "a: 87 of 100 = 0.8700 (0.7880 to 0.9289, Clopper-Pearson 95 %)" in text
    assert "P between 0.0625 and 0.4731, with 5 to 31 discordant cases" in text


def test_share_is_read_as_papers_print_it() -> None:
    assert read_share(" 87 / 100") == (87, 100)


@pytest.mark.parametrize("text", ["87", "87/", "0.87", "101/100", "0/0", "-1/5", "87/100/2"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 87/100"):
        read_share(text)
