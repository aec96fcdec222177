"""Facts that only people know: read, refused, printed, and named where they are missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from wsus.comparison.result import Comparison
from wsus.errors import ConfigError
from wsus.report import html
from wsus.report.facts import FACTS, facts_template, not_stated, read_facts, stated
from wsus.report.inputs import ReportInputs
from wsus.report.limitations import limitations, opened


def test_template_is_read_as_a_file_without_answers(tmp_path: Path) -> None:
    path = tmp_path / "facts.toml"
    path.write_text(facts_template(), encoding="utf-8")

    assert read_facts(path) == {}
    assert not_stated({}) == list(FACTS.values())


def test_answers_are_kept_and_the_rest_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "facts.toml"
    path.write_text('funding = "  None\n"\ndates = ""\n'.replace('\n"', '"'), encoding="utf-8")
    facts = read_facts(path)

    assert stated(facts) == [("Funding and the role of the funder", "None")]
    assert "Dates of recruitment and examination" in not_stated(facts)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("fundings = 'x'", "unknown fact fundings; known are intended_use"),
        ("dates = 2020", "dates is no text"),
        ("a b", "not TOML"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "facts.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint):
        read_facts(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_facts(tmp_path / "none.toml")


def test_report_prints_facts_and_names_missing_ones(study: ReportInputs, comparison: Comparison) -> None:
    page = html.page(comparison, dataclasses.replace(study, facts={"funding": "A <foundation>"}), (), ())

    assert "<dd>A &lt;foundation&gt;</dd>" in page
    assert "<li>Dates of recruitment and examination</li>" in page
    assert "<li>Funding" not in page
    assert "<h2>Limitations</h2>" in page


def _note(cell: str, seed: int) -> dict[str, object]:
    return {"opened": "2026-01-02T03:04:05+00:00", "cell": cell, "seed": seed, "images": {"internal": 40}, "network": "ab"}


def test_openings_are_counted_never_asserted(study: ReportInputs) -> None:
    once = dataclasses.replace(study, openings=(_note("vgg16-weak", 0), _note("vgg16-weak", 1)))
    twice = dataclasses.replace(study, openings=(*once.openings, _note("vgg16-weak", 1)))

    assert "was not recorded" in opened(study)
    assert "opened 2 times, once for each of 2 trained networks" in opened(once)
    assert "opened 3 times for 2 trained networks" in opened(twice)
    assert "more than once: vgg16-weak seed 1 (2 times)" in opened(twice)


def test_limitations_follow_from_the_study(study: ReportInputs, comparison: Comparison) -> None:
    text = " ".join(limitations(comparison, study))

    assert "Internal set: 50% of the images are malignant" in text
    assert "fewer than 30 images of a class" in text
    assert "1 of the planned cells are missing" in text
    bare = dataclasses.replace(comparison, cells=())
    assert "There is no external validation set: nothing is known of images of another institution." in limitations(bare, study)
