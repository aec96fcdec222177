"""The tables of a study: the paper's Tables 1 to 4 with its figures beside ours, and what it did not print."""

from __future__ import annotations

from collections.abc import Iterator

from wsus.evaluation.comparison_result import Comparison, Estimate, LocalisationResult, PairResult
from wsus.report import paper_figures as paper
from wsus.report.characteristics import characteristics_table
from wsus.report.inputs import ReportInputs
from wsus.report.table import Column, Table
from wsus.report.tables_more import (
    compute_table,
    difference_table,
    further_table,
    localisation_quality_table,
    operating_table,
    readers_table,
)
from wsus.report.tables_subgroups import hard_cases_table, subgroup_table
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
_CRITERIA = {"overlap": "Overlap", "iou50": "IoU ≥ 0.5", "pointing": "Pointing"}


def all_tables(comparison: Comparison, inputs: ReportInputs) -> tuple[Table, ...]:
    """Every table of the report, in its order; those that would have no row are left out."""
    tables = [
        characteristics_table(inputs),
        *(performance_table(comparison, split) for split in SCORED),
        localisation_table(comparison),
        *(difference_table(comparison, split) for split in SCORED),
        *(further_table(comparison, split) for split in SCORED),
        *(readers_table(comparison, split) for split in SCORED),
        operating_table(comparison),
        localisation_quality_table(comparison),
        *(subgroup_table(comparison, split) for split in SCORED),
        hard_cases_table(comparison),
        compute_table(inputs),
    ]
    return tuple(table for table in tables if table.rows)


def main_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Tables 2 to 4, for a terminal."""
    tables = (*(performance_table(comparison, split) for split in SCORED), localisation_table(comparison))
    return tuple(table for table in tables if table.rows)


def performance_table(comparison: Comparison, split: str) -> Table:
    """Table 2 (internal) or 3 (external): AUC, sensitivity and specificity of every cell; P of weak against it."""
    columns = (
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
    return Table(
        slug=f"table{_TABLE_NUMBER[split]}",
        title=f"Table {_TABLE_NUMBER[split]}. Diagnostic performance, {split} validation set{_set_size(comparison, split)}",
        columns=columns,
        rows=tuple(rows),
        notes=_performance_notes(comparison, split),
    )


def _performance_row(comparison: Comparison, backbone: str, mode: str, split: str) -> tuple[str | None, ...]:
    cell, pair = comparison.cell(backbone, mode, split), comparison.pair(backbone, mode, split)
    published = (paper.paper_sensitivity(split, mode, backbone), paper.paper_specificity(split, mode, backbone))
    paper_auc = paper.paper_auc(split, mode, backbone)
    tests = ("ref.",) * 3 if mode == "weak" else _tests(pair)
    return (
        backbone_name(backbone),
        mode_name(mode),
        with_interval(cell.auc) if cell else None,
        number(paper_auc, 2) if paper_auc else None,
        percent_with_interval(cell.sensitivity) if cell else None,
        _share(published[0]),
        percent_with_interval(cell.specificity) if cell else None,
        _share(published[1]),
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
        "AUC: DeLong interval. Sensitivity and specificity: Clopper-Pearson interval " + at + ".",
        "P: weak against the mode of the row, two-sided, raw; paired DeLong for AUC, exact McNemar for sensitivity, specificity.",
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


def localisation_table(comparison: Comparison) -> Table:
    """Table 4: localisation by class under three criteria, each beside a centred box and a random map."""
    columns = [Column(title="Network", kind="label"), Column(title="Class, images", kind="label")]
    for criterion, title in _CRITERIA.items():
        columns.append(Column(title=title))
        if criterion == "overlap":
            columns.append(Column(title="paper", kind="paper"))
        columns += [Column(title="box"), Column(title="random"), Column(title="P")]
    rows = [row for item in _located(comparison) for row in _localisation_rows(item)]
    return Table(
        slug="table4",
        title="Table 4. Localisation of weakly-supervised networks by their class activation map",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            "Overlap: the focus touches the manual mask at all (the paper's criterion). IoU ≥ 0.5: box of its largest component"
            " against the mask's box.",
            "Pointing: the map's peak lies inside the mask. P: benign against malignant, Fisher's exact test, two-sided.",
            "All figures but P are per cent, with Clopper-Pearson intervals. box, random: the same criterion for a centred box"
            " and for a random map, neither of which saw the image.",
        ),
    )


def _located(comparison: Comparison) -> Iterator[LocalisationResult]:
    for split in SCORED:
        yield from (item for item in comparison.localisation if item.split == split)


def _localisation_rows(item: LocalisationResult) -> Iterator[tuple[str | None, ...]]:
    for label, word in enumerate(("benign", "malignant")):
        overlap = item.rate("overlap")
        counted = getattr(overlap, word).n if overlap else 0
        row: list[str | None] = [f"{backbone_name(item.backbone)}, {item.split}", f"{word.capitalize()}, {counted}"]
        for criterion in _CRITERIA:
            rate = item.rate(criterion)
            paper_share = [_share(paper.paper_localised(item.split, item.backbone, label))] if criterion == "overlap" else []
            if rate is None:
                row += [None, *paper_share, None, None, None]
                continue
            ours: Estimate = getattr(rate, word)
            baselines = (getattr(rate, f"centre_box_{word}"), getattr(rate, f"random_map_{word}"))
            row += [percent_with_interval(ours, digits=0), *paper_share, *(percent(baseline.value, 0) for baseline in baselines)]
            row.append(p_value(rate.fisher_p) if label == 1 else "")
        yield tuple(row)


def _grid(comparison: Comparison, split: str) -> Iterator[tuple[str, str]]:
    if split in comparison.splits:
        yield from ((backbone, mode) for backbone in comparison.backbones for mode in comparison.modes)


def _set_size(comparison: Comparison, split: str) -> str:
    cell = next((cell for cell in comparison.cells if cell.split == split), None)
    return f" ({cell.n_benign} benign, {cell.n_malignant} malignant)" if cell else ""


def _share(counts: tuple[int, int] | None) -> str | None:
    return None if counts is None else percent(counts[0] / counts[1], 0)
