"""A study's page beside code: what the report says, and no patient's image."""

from pathlib import Path

import pytest

from tune_jobs.keys import comparison_key, study_key
from tune_jobs.results_page import write_results_page
from wsus.errors import StudyError
from wsus.report.results_page import results_page
from wsus.storage import Store, open_store

STUDY = {
    "name": "small",
    "recipe": "open-small",
    "created": "2026-11-29T05:08:12+00:00",
    "data": "BUS-BRA + BUSI",
    "versions": {"wsus": "0.1.0", "torch": "2.14.1"},
}
SUMMARY = "Table 2\n\nFindings\n  + non-inferior\n\nRemarks\n  small sets\n\nTraining time\n"


@pytest.fixture(scope="module")
def compared(report_dir: Path) -> Path:
    """The report's folder, with the summary that the comparison writes beside it."""
    (report_dir / "summary.txt").write_text(SUMMARY)
    return report_dir


def test_page_holds_tables_verdicts_and_curves(compared: Path) -> None:
    page = results_page(STUDY, compared, command="wsus run --recipe open-small", figures_at="results", notes="## Tried\n\nMuch.")
    assert page.text.startswith("# Results: small\n\n**Research software, not a medical device.")
    assert "```sh\nwsus run --recipe open-small\n```" in page.text
    assert "## Findings\n\n```text\n  + non-inferior\n```" in page.text
    assert "## Remarks\n\n```text\n  small sets\n```" in page.text
    places = [page.text.index(f"**Table {number}.") for number in (1, 2, 3, 4)]
    assert places == sorted(places)
    assert page.text.rstrip().endswith("## Tried\n\nMuch.")
    assert all(f"](results/{name})" in page.text for name in page.figures)
    assert {"roc_internal.png", "roc_external.png"} <= set(page.figures)


def test_no_picture_of_a_patient_is_on_it(compared: Path) -> None:
    drawn = {path.stem for path in (compared / "figures").glob("*.png")}
    assert any(name.startswith("cam_") for name in drawn)
    page = results_page(STUDY, compared, command="x", figures_at="results")
    assert not any(name.startswith(("cam_", "hard_cases")) for name in page.figures)
    assert "cam_" not in page.text


@pytest.fixture
def store(tmp_path: Path, compared: Path) -> Store:
    store = open_store(tmp_path / "store")
    store.write_json(study_key("small", "study.json"), {**STUDY, "schema_version": 1, "config": {}})
    store.publish(compared, comparison_key("small"))
    return store


def test_page_and_figures_are_written_beside_each_other(store: Store, tmp_path: Path) -> None:
    page = write_results_page(store, "small", tmp_path / "docs" / "results.md")
    assert "wsus run --recipe open-small --name small" in page.read_text()
    assert (tmp_path / "docs" / "results" / "roc_internal.png").read_bytes().startswith(b"\x89PNG")


def test_study_that_is_not_compared_is_refused(store: Store, tmp_path: Path) -> None:
    store.write_json(study_key("fresh", "study.json"), {**STUDY, "schema_version": 1, "config": {}})
    with pytest.raises(StudyError, match="not compared yet; run `wsus compare --study fresh`"):
        write_results_page(store, "fresh", tmp_path / "results.md")
