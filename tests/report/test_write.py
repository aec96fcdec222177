"""A report on disk: complete, self-contained, the same bytes each time, never half."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from wsus.comparison.compare import ComparisonConfig, compare
from wsus.comparison.result import Comparison
from wsus.errors import StoreError
from wsus.report import html, write
from wsus.report.html import DISCLAIMER
from wsus.report.inputs import ReportInputs
from wsus.report.tables.table import Column, Table
from wsus.report.write import card_figures, terminal_summary, write_report


def test_files_of_a_report(report_dir: Path) -> None:
    names = {path.relative_to(report_dir).as_posix() for path in report_dir.rglob("*") if path.is_file()}

    assert {"comparison.json", "report.html"} <= names
    for table in ("table1", "table2", "table3", "table4"):
        assert {f"tables/{table}.{ending}" for ending in ("csv", "md", "tex")} <= names
    for figure in ("figure1_flow", "roc_external", "cam_vgg16"):
        assert {f"figures/{figure}.svg", f"figures/{figure}.png"} <= names


def test_json_names_the_missing_cell(report_dir: Path) -> None:
    content = json.loads((report_dir / "comparison.json").read_text(encoding="utf-8"))

    assert content["missing"] == [{"backbone": "resnet34", "mode": "auto_roi", "reason": "the loss was not a number"}]
    assert content["schema_version"] == 3
    assert len(content["cells"]) == 8 * 3


def test_page_needs_nothing_beside_it(report_dir: Path) -> None:
    page = (report_dir / "report.html").read_text(encoding="utf-8")

    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert not re.search(r"url\((?!['\"]?data:)", page)
    assert len(page) < 5_000_000


def test_page_is_well_formed_and_its_links_lead_somewhere(report_dir: Path) -> None:
    parser = _Page()
    parser.feed((report_dir / "report.html").read_text(encoding="utf-8"))

    assert parser.open_tags == []
    assert len(parser.ids) == len(set(parser.ids))
    assert set(parser.targets) <= set(parser.ids)
    assert all(parser.alts)


def test_page_says_what_it_is_what_failed_and_how_it_was_made(report_dir: Path) -> None:
    page = (report_dir / "report.html").read_text(encoding="utf-8")

    assert page.index(DISCLAIMER) < page.index("<h1>")
    assert "Missing from all tables: ResNet34, Automatic ROI. the loss was not a number" in page
    assert "Failed trial resnet34-auto_roi-s0 (resnet34-auto_roi): TrainingDivergedError: the loss is NaN" in page
    assert "sha256:9f2c" in page
    assert "torch 2.14.1" in page
    assert "above −0.05" in page  # the methods paragraph


def test_names_from_the_data_are_escaped(
    study: ReportInputs, comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "all_figures", lambda *_: ())
    records = study.records.assign(device='<img src=x onerror="alert(1)">')
    changed = ReportInputs(study=study.study, records=records, predictions=study.predictions)

    write_report(tmp_path / "r", changed, comparison)

    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_report_without_cells_left_out_or_failures(study: ReportInputs, tmp_path: Path) -> None:
    table = study.predictions
    one_network = table[(table["backbone"] == "vgg16") & (table["split"] != "external")].reset_index(drop=True)
    bare = ReportInputs(study={"name": "bare"}, records=study.records, predictions=one_network)

    write_report(tmp_path / "r", bare, compare(one_network, ComparisonConfig(bootstrap=20)))

    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "bare" in page
    assert not (tmp_path / "r" / "tables" / "compute.csv").exists()


@pytest.mark.slow
def test_same_inputs_give_the_same_bytes(report_dir: Path, study: ReportInputs, comparison: Comparison, tmp_path: Path) -> None:
    write_report(tmp_path / "again", study, comparison)

    for path in sorted(report_dir.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(report_dir)).read_bytes(), path.name


def test_failure_half_way_leaves_the_old_report(
    study: ReportInputs, comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "comparison"
    folder.mkdir()
    (folder / "report.html").write_text("old")

    monkeypatch.setattr(write, "all_figures", lambda *_: ())

    def full_disk(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "page", full_disk)
    with pytest.raises(StoreError, match="No space left on device"):
        write_report(folder, study, comparison)

    assert [path.name for path in tmp_path.iterdir()] == ["comparison"]
    assert (folder / "report.html").read_text() == "old"


def test_file_in_the_place_of_the_folder_is_an_error(study: ReportInputs, comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")

    with pytest.raises(StoreError, match="a file of that name exists"):
        write_report(tmp_path / "report", study, comparison)


def test_terminal_summary_has_the_tables_the_verdicts_and_the_failures(study: ReportInputs, comparison: Comparison) -> None:
    text = terminal_summary(comparison, study)

    for words in ("Table 2.", "Table 3.", "Table 4.", "Findings", "trial resnet34-auto_roi-s0", DISCLAIMER):
        assert words in text
    assert max(map(len, text.splitlines())) <= 120


def test_card_figures_are_those_of_the_comparison(comparison: Comparison) -> None:
    figures = card_figures(comparison, "vgg16", "weak")

    cell = comparison.cell("vgg16", "weak", "external")
    assert cell is not None
    assert set(figures) == {"development", "internal", "external"}
    assert figures["external"]["auc"]["value"] == cell.auc.value
    assert figures["external"]["auc"]["ci"] == [cell.auc.low, cell.auc.high]
    localisation = figures["external"]["localisation"]
    assert {"overlap", "iou50", "pointing", "max_box_acc", "development_box_acc", "dice"} <= set(localisation)
    assert set(localisation["max_box_acc"]) == {"benign", "malignant"}
    assert card_figures(comparison, "resnet34", "auto_roi") == {}


class _Page(HTMLParser):
    """Open elements, identifiers, link targets and alternative texts of a page."""

    _VOID = frozenset({"meta", "img", "br", "hr", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.alts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in self._VOID:
            self.open_tags.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.targets.append(str(found.get("href", "")).removeprefix("#"))
        if tag == "img":
            self.alts.append(str(found.get("alt") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags, f"</{tag}> closes nothing"
        assert self.open_tags.pop() == tag


def test_a_table_that_the_template_does_not_place_is_an_error(study: ReportInputs, comparison: Comparison) -> None:
    def table(slug: str) -> Table:
        return Table(slug=slug, title="A toy", columns=(Column(title="Network", kind="label"),), rows=(("Toy",),))

    assert "A toy" in html.page(comparison, study, (table("table1"),), ())
    with pytest.raises(ValueError, match=r"report\.html\.j2 places no table toy; name each in one of its sections"):
        html.page(comparison, study, (table("table1"), table("toy")), ())
