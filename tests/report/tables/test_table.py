"""One small table in its five forms."""

from __future__ import annotations

import csv
import io

import pytest

from wsus.report.tables.table import Column, Table


@pytest.fixture
def table() -> Table:
    return Table(
        slug="t",
        title="Table 9. A & B",
        columns=(
            Column(title="Network", kind="label"),
            Column(title="Mode", kind="label"),
            Column(title="AUC"),
            Column(title="P"),
        ),
        rows=(("VGG16", "Weak", "0.96", ""), ("VGG16", "Full", None, "<0.001"), ("Res_34", "Weak", "0.9", "0.5")),
        notes=("A note of 100%.",),
    )


def test_text_is_aligned_and_groups_are_named_once(table: Table) -> None:
    assert table.to_text().splitlines() == [
        "Table 9. A & B",
        "────────────────────",
        "  Mode   AUC       P",
        "────────────────────",
        "VGG16",
        "  Weak  0.96",
        "  Full     –  <0.001",
        "Res_34",
        "  Weak   0.9     0.5",
        "────────────────────",
        "A note of 100%.",
    ]


def test_csv_rows_are_complete_and_a_missing_figure_is_empty(table: Table) -> None:
    rows = list(csv.reader(io.StringIO(table.to_csv())))

    assert rows == [
        ["Network", "Mode", "AUC", "P"],
        ["VGG16", "Weak", "0.96", ""],
        ["VGG16", "Full", "", "<0.001"],
        ["Res_34", "Weak", "0.9", "0.5"],
    ]


def test_markdown_escapes_what_it_would_read_as_markup(table: Table) -> None:
    text = table.to_markdown()

    assert "| VGG16 | Weak | 0.96 |  |" in text
    assert "|  | Full | – | &lt;0.001 |" in text
    assert r"| Res\_34 | Weak | 0.9 | 0.5 |" in text


def test_latex_escapes_its_special_characters(table: Table) -> None:
    text = table.to_latex()

    assert r"\caption{Table 9. A \& B}" in text
    assert r"Res\_34 & Weak & 0.9 & 0.5 \\" in text
    assert r" & Full & -- & $<$0.001 \\" in text
    assert r"A note of 100\%." in text


def test_html_escapes_and_groups(table: Table) -> None:
    text = table.to_html()

    assert "Table 9. A &amp; B" in text
    assert text.count('scope="rowgroup"') == 2
    assert '<td class="figure">&lt;0.001</td>' in text


def test_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells for 2 columns"):
        Table(slug="t", title="t", columns=(Column(title="a"), Column(title="b")), rows=(("1",),))
