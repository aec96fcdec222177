"""A table as data, and the five forms it is printed in: plain text, Markdown, LaTeX, CSV, HTML.

Cells are finished words; the first column names a group of rows, printed once per group.
"""

from __future__ import annotations

import csv
import html
import io
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

DASH = "–"

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"$<$",
        ">": r"$>$",
        "–": "--",
        "−": "$-$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "±": r"$\pm$",
        "∞": r"$\infty$",
        "×": r"$\times$",
        "·": r"$\cdot$",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A heading. kind: 'label' (left), 'figure' (right) or 'paper' (right, and set apart as somebody else's figure)."""

    title: str
    kind: Literal["label", "figure", "paper"] = "figure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of finished words.

    slug: file name without its ending.  rows: one tuple of as many words as there are columns; None prints a dash (no figure),
        '' prints nothing (no figure was to be expected).
    grouped: the first column repeats over a group of rows and is printed once, above the group.
    """

    slug: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | None, ...], ...]
    notes: tuple[str, ...] = ()
    grouped: bool = True

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.slug!r}: a row of {len(row)} cells for {len(self.columns)} columns: {row}")

    def without_paper(self) -> Table:
        """Without the published figures, where they are of no such images, and the notes on them."""
        kept = [place for place, column in enumerate(self.columns) if column.kind != "paper"]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
            notes=tuple(
                note.replace("the paper's criterion", "Kim et al. 2021") for note in self.notes if not note.startswith("paper:")
            ),
        )

    def to_text(self, *, indent: int = 2) -> str:
        """Plain text for a terminal, columns aligned."""
        columns = self.columns[1:] if self.grouped else self.columns
        offset = 1 if self.grouped else 0
        body = [[_word(cell) for cell in row[offset:]] for row in self.rows]
        widths = [max(len(column.title), *(len(line[i]) for line in body), 1) for i, column in enumerate(columns)]
        pad = " " * indent if self.grouped else ""

        def line(words: list[str]) -> str:
            aligned = (
                word.ljust(width) if column.kind == "label" else word.rjust(width)
                for word, width, column in zip(words, widths, columns, strict=True)
            )
            return (pad + "  ".join(aligned)).rstrip()

        rule = "─" * (len(pad) + sum(widths) + 2 * (len(widths) - 1))
        lines = [self.title, rule, line([column.title for column in columns]), rule]
        for group, rows in self._groups():
            if self.grouped:
                lines.append(group)
            lines += [line([_word(cell) for cell in row[offset:]]) for row in rows]
        notes = [line for note in self.notes for line in textwrap.wrap(note, max(len(rule), 60))]
        return "\n".join([*lines, rule, *notes])

    def to_markdown(self) -> str:
        """GitHub-flavoured Markdown with the title and the notes."""
        titles = [_cell_md(column.title) for column in self.columns]
        marks = [":--" if column.kind == "label" else "--:" for column in self.columns]
        lines = [f"**{self.title}**", "", _md_row(titles), _md_row(marks)]
        lines += [_md_row([_cell_md(_word(cell)) for cell in row]) for row in self._once_per_group()]
        return "\n".join([*lines, "", *(f"{note}  " for note in self.notes)]) + "\n"

    def to_latex(self) -> str:
        """A `table` environment with booktabs rules, to be pasted into a manuscript."""
        spec = "".join("l" if column.kind == "label" else "r" for column in self.columns)
        head = " & ".join(_tex(column.title) for column in self.columns)
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{_tex(self.title)}}}", rf"\label{{tab:{self.slug}}}"]
        lines += [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", rf"{head} \\", r"\midrule"]
        lines += [" & ".join(_tex(_word(cell)) for cell in row) + r" \\" for row in self._once_per_group()]
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [rf"\par\smallskip\footnotesize {_tex(note)}" for note in self.notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def to_csv(self) -> str:
        """Comma-separated values, every row complete; a cell without a figure is empty."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([column.title for column in self.columns])
        writer.writerows([cell or "" for cell in row] for row in self.rows)
        return buffer.getvalue()

    def to_html(self) -> str:
        """A `figure` element: caption, table that may scroll sideways, notes."""
        columns = self.columns[1:] if self.grouped else self.columns
        offset = 1 if self.grouped else 0
        head = "".join(f'<th scope="col" class="{column.kind}">{_esc(column.title)}</th>' for column in columns)
        body: list[str] = []
        for group, rows in self._groups():
            body.append("<tbody>")
            if self.grouped:
                body.append(f'<tr class="group"><th scope="rowgroup" colspan="{len(columns)}">{_esc(group)}</th></tr>')
            for row in rows:
                cells = zip(row[offset:], columns, strict=True)
                body.append("<tr>" + "".join(_html_cell(cell, column, i) for i, (cell, column) in enumerate(cells)) + "</tr>")
            body.append("</tbody>")
        notes = "".join(f"<p>{_esc(note)}</p>" for note in self.notes)
        return (
            f'<figure class="table" id="{self.slug}"><figcaption>{_esc(self.title)}</figcaption>'
            f'<div class="scroll" tabindex="0" role="region" aria-label="{_esc(self.title)}"><table>'
            f"<thead><tr>{head}</tr></thead>{''.join(body)}</table></div>"
            f'<div class="notes">{notes}</div></figure>'
        )

    def _groups(self) -> Iterator[tuple[str, list[tuple[str | None, ...]]]]:
        if not self.grouped:
            yield "", list(self.rows)
            return
        for group, rows in groupby(self.rows, key=lambda row: row[0] or DASH):
            yield group, list(rows)

    def _once_per_group(self) -> Iterator[tuple[str | None, ...]]:
        for _, rows in self._groups():
            for i, row in enumerate(rows):
                yield row if i == 0 or not self.grouped else ("", *row[1:])


def _html_cell(cell: str | None, column: Column, index: int) -> str:
    tag, scope = ("th", ' scope="row"') if index == 0 else ("td", "")
    return f'<{tag}{scope} class="{column.kind}">{_esc(_word(cell))}</{tag}>'


def _word(cell: str | None) -> str:
    return DASH if cell is None else cell


def _esc(text: str) -> str:
    return html.escape(text, quote=True)


def _tex(text: str) -> str:
    return text.translate(_LATEX)


def _md_row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell_md(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*").replace("_", r"\_").replace("<", "&lt;")
