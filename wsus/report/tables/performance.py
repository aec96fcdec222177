"""Tables 2 and 3: diagnostic performance of every cell, with the figures of the paper beside ours."""

from __future__ import annotations

from collections.abc import Iterator

from wsus.comparison.result import CellResult, Comparison, PairResult
from wsus.report import paper_figures as paper
from wsus.report.tables.table import Column, Table
from wsus.report.wording import (
    backbone_name,
    mode_name,
    number,
    p_value,
    percent,
    percent_with_interval,
    with_interval,
)

SCORED = ("internal", "external")
_TABLE_NUMBER = {"internal": "2", "external": "3"}
_TESTS = 3  # columns of P


def performance_table(comparison: Comparison, split: str) -> Table:
    """Table 2 (internal) or 3 (external): AUC, sensitivity and specificity of every cell; P of weak against it."""
    columns: tuple[Column, ...] = (
        Column(title="Network", kind="label"),
        Column(title="Supervision", kind="label"),
        Column(title="AUC (95% CI)"),
        Column(title="paper", kind="paper"),
        Column(title="Sensitivity, %"),
        Column(title="paper", kind="paper"),
        Column(title="Specificity, %"),
        Column(title="paper", kind="paper"),
        Column(title="P AUC"),
        Column(title="P sens."),
        Column(title="P spec."),
    )
    rows = [_performance_row(comparison, backbone, mode, split) for backbone, mode in _grid(comparison, split)]
    if not comparison.pairs:  # nothing to test against
        columns, rows = columns[:-_TESTS], [row[:-_TESTS] for row in rows]
    return Table(
        slug=f"table{_TABLE_NUMBER[split]}",
        title=f"Table {_TABLE_NUMBER[split]}. Diagnostic performance, {split} validation set{_set_size(comparison, split)}",
        columns=columns,
        rows=tuple(rows),
        notes=_performance_notes(comparison, split),
    )


def _performance_row(comparison: Comparison, backbone: str, mode: str, split: str) -> tuple[str | None, ...]:
    cell, pair = comparison.cell(backbone, mode, split), comparison.pair(backbone, mode, split)
    in_paper = (paper.paper_sensitivity(split, mode, backbone), paper.paper_specificity(split, mode, backbone))
    paper_auc = paper.paper_auc(split, mode, backbone)
    tests = ("ref.",) * 3 if mode == "weak" else _tests(pair)
    return (
        backbone_name(backbone),
        mode_name(mode),
        with_interval(cell.auc) if cell else None,
        number(paper_auc, 2) if paper_auc else None,
        percent_with_interval(cell.sensitivity) if cell else None,
        _share(in_paper[0]),
        percent_with_interval(cell.specificity) if cell else None,
        _share(in_paper[1]),
        *tests,
    )


def _tests(pair: PairResult | None) -> tuple[str | None, str | None, str | None]:
    if pair is None:
        return None, None, None
    return p_value(pair.p), p_value(pair.sensitivity.p), p_value(pair.specificity.p)


def _performance_notes(comparison: Comparison, split: str) -> tuple[str, ...]:
    cells = [cell for cell in comparison.cells if cell.split == split]
    points = sorted({round(cell.operating_point, 4) for cell in cells})
    at = f"at a probability of malignancy of {', '.join(f'{point:g}' for point in points)}" if points else ""
    notes = [
        _intervals(cells, at),
        *([_tests_note(cells)] if comparison.pairs else []),
        "paper: Kim et al. 2021, on other images; it states sensitivity and specificity of weak supervision only.",
    ]
    notes += [f"{backbone_name(m.backbone)}, {mode_name(m.mode)}: missing. {m.reason}" for m in comparison.missing]
    notes += [
        f"{backbone_name(cell.backbone)}, {mode_name(cell.mode)}: no region was found in {cell.fallback_crops} of {cell.n}"
        " images; the whole image was used."
        for cell in cells
        if cell.fallback_crops
    ]
    notes += sorted({cell.auc.note for cell in cells if cell.auc.note})
    return tuple(notes)


def _intervals(cells: list[CellResult], at: str) -> str:
    if any(cell.n_patients < cell.n for cell in cells):
        return (
            "Several images of a patient: AUC with Obuchowski's interval over patients (logit scale), sensitivity and specificity"
            f" with Clopper-Pearson intervals at the effective number of images, {at}."
        )
    return f"AUC: DeLong interval. Sensitivity and specificity: Clopper-Pearson interval {at}."


def _tests_note(cells: list[CellResult]) -> str:
    over = any(cell.n_patients < cell.n for cell in cells)
    tests = (
        "Obuchowski's test over patients for AUC, McNemar's over patients for sensitivity, specificity"
        if over
        else "paired DeLong for AUC, exact McNemar for sensitivity, specificity"
    )
    return f"P: weak against the mode of the row, two-sided, raw; {tests}."


def _grid(comparison: Comparison, split: str) -> Iterator[tuple[str, str]]:
    if split in comparison.splits:
        yield from ((backbone, mode) for backbone in comparison.backbones for mode in comparison.modes)


def _set_size(comparison: Comparison, split: str) -> str:
    cell = next((cell for cell in comparison.cells if cell.split == split), None)
    if cell is None:
        return ""
    patients = f"; {cell.n_patients:,} patients" if cell.n_patients < cell.n else ""
    return f" ({cell.n_benign} benign, {cell.n_malignant} malignant{patients})"


def _share(counts: tuple[int, int] | None) -> str | None:
    return None if counts is None else percent(counts[0] / counts[1], 0)
