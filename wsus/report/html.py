"""One self-contained page: no script, no network, readable on paper and on a phone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wsus.comparison.estimates import Estimate
from wsus.comparison.result import Comparison
from wsus.disclaimer import DISCLAIMER
from wsus.report.facts import not_stated, stated
from wsus.report.figures.canvas import Drawing
from wsus.report.inputs import ReportInputs
from wsus.report.limitations import limitations
from wsus.report.methods import methods_paragraphs
from wsus.report.paper_figures import CITATION
from wsus.report.provenance import provenance
from wsus.report.tables.table import Table
from wsus.report.verdicts import patient_remarks, remarks, verdicts
from wsus.report.wording import DASH, backbone_name, mode_name, number


def page(comparison: Comparison, inputs: ReportInputs, tables: Sequence[Table], drawings: Sequence[Drawing]) -> str:
    """The whole report as HTML."""
    return render_page(
        "report.html.j2",
        citation=CITATION,
        study=inputs.study,
        facts=glance(comparison, inputs),
        verdicts=verdicts(comparison),
        missing=[(f"{backbone_name(cell.backbone)}, {mode_name(cell.mode)}", cell.reason) for cell in comparison.missing],
        failures=inputs.failures,
        patient_notes=patient_remarks(comparison),
        notes=remarks(comparison),
        tables={table.slug: Markup(table.to_html()) for table in tables},
        drawings={drawing.slug: drawing for drawing in drawings},
        methods=methods_paragraphs(comparison, inputs),
        limitations=limitations(comparison, inputs),
        facts_stated=stated(inputs.facts),
        facts_missing=not_stated(inputs.facts),
        has_masks=any(item.split in ("internal", "external") for item in comparison.localisation),
        has_pairs=bool(comparison.pairs),
        provenance=provenance(comparison, inputs),
        config=json.dumps(inputs.study.get("config", {}), indent=2, sort_keys=True, default=str),
    )


def render_page(template: str, **content: Any) -> str:
    """A page from one of the templates of this room; they share the style and how a table and a figure stand on the page.

    Raises:
        ValueError: a table is given that the template does not place.
    """
    environment = Environment(
        loader=PackageLoader("wsus.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    tables = _Placed(content.get("tables", {}))
    rendered = environment.get_template(template).render(disclaimer=DISCLAIMER, **content | {"tables": tables})
    if left := sorted(set(tables) - tables.placed):
        raise ValueError(f"{template} places no table {', '.join(left)}; name each in one of its sections")
    return rendered


class _Placed(dict[str, Any]):
    """Tables by slug; remembers which of them the template asked for."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.placed: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.placed.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.placed.add(key)
        return super().__getitem__(key)


def glance(comparison: Comparison, inputs: ReportInputs) -> list[dict[str, str]]:
    """The study in a few figures: {"name", "figure", "detail"}."""
    records = inputs.records
    trained = len({(cell.backbone, cell.mode) for cell in comparison.cells})
    total = trained + len(comparison.missing)
    used = records[records["split"] != "unused"]
    taken = f"of {len(records):,} taken; " if len(used) < len(records) else ""
    facts = [
        {
            "name": "Images",
            "figure": f"{len(used):,}",
            "detail": f"{taken}{used['patient_id'].nunique():,} patients, {int((used['label'] == 1).sum()):,} malignant",
        },
        {
            "name": "Cells",
            "figure": f"{trained} of {total}",
            "detail": f"{_count(len(comparison.backbones), 'network')} × {_count(len(comparison.modes), 'supervision mode')}",
        },
    ]
    if comparison.best_weak is None:
        return facts
    for split in ("internal", "external"):
        cell = comparison.cell(comparison.best_weak, "weak", split)
        if cell is not None:
            facts.append(
                {
                    "name": f"{split.capitalize()} AUC",
                    "figure": number(cell.auc.value, 3),
                    "detail": f"{backbone_name(comparison.best_weak)}, weak; 95% CI {_unbroken(cell.auc)}",
                }
            )
    return facts


def _unbroken(estimate: Estimate) -> str:
    """The interval, which no line break tears apart."""
    return f"{number(estimate.low, 3)}\u2060{DASH}\u2060{number(estimate.high, 3)}"


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
