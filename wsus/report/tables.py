"""The tables of a study: the paper's Tables 1 to 4 with its figures beside ours, and what it did not print."""

from __future__ import annotations

from collections.abc import Iterator

from wsus.evaluation.comparison_result import CellResult, Comparison, Estimate, LocalisationResult, McNemarResult, PairResult
from wsus.evaluation.paired import NonInferiority
from wsus.report import paper_figures as paper
from wsus.report.characteristics import characteristics_table
from wsus.report.inputs import ReportInputs
from wsus.report.table import Column, Table
from wsus.report.wording import (
    DASH,
    backbone_name,
    duration,
    mode_name,
    number,
    p_value,
    percent,
    percent_with_interval,
    split_name,
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
    notes += sorted({cell.auc.note for cell in cells if cell.auc.note})
    return tuple(notes)


def difference_table(comparison: Comparison, split: str) -> Table:
    """Weak minus full: difference in AUC with interval, raw and adjusted P, and the test of non-inferiority."""
    pairs = [pair for pair in comparison.pairs if pair.split == split]
    margin = comparison.settings["margin"]
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Weak against", kind="label"),
        Column(title="Difference in AUC (95% CI)"),
        Column(title="P"),
        Column(title="P (Holm)"),
        Column(title="P (clustered)"),
        Column(title="One-sided bound"),
        Column(title="P non-inf."),
        Column(title="AUC", kind="label"),
        Column(title="Sensitivity", kind="label"),
        Column(title="Specificity", kind="label"),
    )
    rows = tuple(
        (
            backbone_name(pair.backbone),
            mode_name(pair.mode),
            with_interval(pair.auc_difference),
            p_value(pair.p),
            p_value(pair.p_holm),
            p_value(pair.p_clustered),
            *_noninferiority(pair.noninferiority),
            _verdict(pair.noninferiority_sensitivity),
            _verdict(pair.noninferiority_specificity),
        )
        for pair in pairs
    )
    confidence = percent(comparison.settings["noninferiority_confidence"], 0)
    notes = [
        "Difference: weak minus full, same images. Holm: adjusted over this set's comparisons. Clustered: with the variance that"
        " allows for several images of a patient (Obuchowski).",
        f"One-sided bound, P non-inf., verdicts: non-inferior where the lower bound of the one-sided {confidence} % interval lies"
        f" above {number(-margin, 2)} (AUC: DeLong; sensitivity, specificity: Tango)."
        " A P above 0.05 alone does not show equality.",
        *(_left_out(pair) for pair in pairs if pair.only_weak or pair.only_full),
    ]
    return Table(
        slug=f"differences_{split}",
        title=f"Weak against full supervision, {split} validation set",
        columns=columns,
        rows=rows,
        notes=tuple(notes),
    )


def _noninferiority(found: NonInferiority | None) -> tuple[str | None, str | None, str | None]:
    return (number(found.lower), p_value(found.p_value), _verdict(found)) if found else (None, None, None)


def _verdict(found: NonInferiority | None) -> str | None:
    if found is None or found.lower is None:
        return "not estimable" if found else None
    return str(found.verdict)


def _left_out(pair: PairResult) -> str:
    names = [*pair.only_weak, *pair.only_full]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"{backbone_name(pair.backbone)}, {mode_name(pair.mode)}: {len(names)} images were scored by one of the two modes only"
        f" and are left out of the pair ({shown})."
    )


def further_table(comparison: Comparison, split: str) -> Table:
    """Predictive values, accuracy, calibration, intervals that allow for several images of a patient, and other seeds."""
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Supervision", kind="label"),
        Column(title="PPV, %"),
        Column(title="NPV, %"),
        Column(title="Accuracy, %"),
        Column(title="Brier"),
        Column(title="Cal. slope"),
        Column(title="AUC CI, clustered"),
        Column(title="AUC CI, bootstrap"),
        Column(title="Seeds: AUC"),
    )
    rows = tuple(
        (
            backbone_name(cell.backbone),
            mode_name(cell.mode),
            percent_with_interval(cell.ppv, digits=0),
            percent_with_interval(cell.npv, digits=0),
            percent_with_interval(cell.accuracy, digits=0),
            number(cell.brier),
            number(cell.calibration_slope.value, 2),
            _interval(cell.auc_clustered),
            _interval(cell.auc_bootstrap),
            _seeds(cell),
        )
        for cell in comparison.cells
        if cell.split == split
    )
    draws = comparison.settings["bootstrap"]
    return Table(
        slug=f"further_{split}",
        title=f"Predictive values, calibration and robustness, {split} validation set",
        columns=columns,
        rows=rows,
        notes=(
            "PPV and NPV hold at this set's share of cancers, not at that of a clinic.",
            "Clustered: Obuchowski's variance, since images of one patient are not independent."
            f" Bootstrap: {draws:,} draws of patients, percentiles.",
            "Seeds: every seed's AUC ± standard deviation between seeds; the tables use the one chosen on the development split.",
        ),
    )


def operating_table(comparison: Comparison) -> Table:
    """Sensitivity and specificity at thresholds that the development split chose."""
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Supervision", kind="label"),
        Column(title="Set", kind="label"),
        Column(title="Chosen for", kind="label"),
        Column(title="Threshold"),
        Column(title="Sensitivity, %"),
        Column(title="Specificity, %"),
    )
    rows = tuple(
        (
            backbone_name(point.backbone),
            mode_name(point.mode),
            split_name(point.split),
            point.rule.replace(">=", "≥"),
            number(point.threshold),
            percent_with_interval(point.sensitivity),
            percent_with_interval(point.specificity),
        )
        for point in sorted(comparison.operating_points, key=lambda p: comparison.backbones.index(p.backbone))
    )
    notes = ("Thresholds on the probability of malignancy, chosen on the development split, then applied unchanged.",)
    return Table(slug="operating_points", title="Other operating points", columns=columns, rows=rows, notes=notes)


def readers_table(comparison: Comparison, split: str) -> Table:
    """Weak and full as two readers of the same images: who was right, case by case."""
    rows: list[tuple[str | None, ...]] = []
    for pair in comparison.pairs:
        if pair.split == split:
            rows.append(_readers_row(pair, "malignant", pair.sensitivity))
            rows.append(_readers_row(pair, "benign", pair.specificity))
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Weak against", kind="label"),
        Column(title="Class", kind="label"),
        Column(title="Both right"),
        Column(title="Only weak right"),
        Column(title="Only full right"),
        Column(title="Both wrong"),
        Column(title="P (McNemar)"),
    )
    return Table(
        slug=f"readers_{split}",
        title=f"Two readers, case by case, {split} validation set",
        columns=columns,
        rows=tuple(rows),
        notes=("Exact McNemar test on the discordant cases, two-sided. Malignant: sensitivity; benign: specificity.",),
    )


def _readers_row(pair: PairResult, word: str, counts: McNemarResult) -> tuple[str | None, ...]:
    figures = (counts.both_right, counts.only_weak_right, counts.only_full_right, counts.both_wrong)
    return (backbone_name(pair.backbone), mode_name(pair.mode), word, *map(str, figures), p_value(counts.p))


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


def localisation_quality_table(comparison: Comparison) -> Table:
    """How well the focus fits, beyond a yes or no."""
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Set", kind="label"),
        Column(title="Images with a mask"),
        Column(title="without"),
        Column(title="Mean IoU"),
        Column(title="Mean Dice"),
        Column(title="Energy in the mask, %"),
    )
    rows = tuple(
        (
            backbone_name(item.backbone),
            split_name(item.split),
            str(item.n),
            str(item.without_mask),
            number(item.mean_iou, 2),
            number(item.mean_dice, 2),
            percent(item.mean_energy_in_mask, 0),
        )
        for item in sorted(_located(comparison), key=lambda item: comparison.backbones.index(item.backbone))
    )
    notes = ("IoU of boxes, Dice of regions; energy: the share of the scaled map's sum that lies inside the mask.",)
    return Table(slug="localisation_quality", title="Fit of the focus", columns=columns, rows=rows, notes=notes)


def hard_cases_table(comparison: Comparison) -> Table:
    """The images that most cells got wrong."""
    names = sorted({name for case in comparison.hard_cases for name in case.attributes})
    titles = {"birads": "BI-RADS", "device": "Scanner", "histology": "Histology", "lesion_size_mm": "Size, mm"}
    columns = (
        Column(title="Set", kind="label"),
        Column(title="Image", kind="label"),
        Column(title="Truth", kind="label"),
        Column(title="Wrong cells"),
        Column(title="Mean POM"),
        *(Column(title=titles.get(name, name), kind="label") for name in names),
    )
    rows = tuple(
        (
            split_name(case.split),
            case.image_id,
            "malignant" if case.label else "benign",
            f"{case.wrong} of {case.cells}",
            number(case.mean_pom, 2),
            *(case.attributes.get(name) for name in names),
        )
        for case in comparison.hard_cases
    )
    notes = ("Called wrongly by at least half of the cells, the most confident errors first. POM: probability of malignancy.",)
    return Table(slug="hard_cases", title="The hardest cases", columns=columns, rows=rows, notes=notes, grouped=False)


def compute_table(inputs: ReportInputs) -> Table:
    """What the training of each cell took."""
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Supervision", kind="label"),
        Column(title="Parameters, M"),
        Column(title="Best seed"),
        Column(title="Best epoch"),
        Column(title="Development AUC"),
        Column(title="Training"),
        Column(title="Waiting for data, %"),
        Column(title="Peak memory, MiB"),
    )
    rows = tuple(
        (
            backbone_name(cell.backbone),
            mode_name(cell.mode),
            number(_scaled(cell.info.get("parameters"), 1e-6), 2),
            _word(cell.info.get("best_seed")),
            f"{_word(cell.info.get('best_epoch'))} of {_word(cell.info.get('epochs'))}",
            number(cell.info.get("development_auc")),
            duration(cell.info.get("train_s")),
            percent(cell.info.get("data_wait_share")),
            number(cell.info.get("peak_memory_mb"), 0),
        )
        for cell in inputs.cells
    )
    return Table(slug="compute", title="Training and compute", columns=columns, rows=rows, notes=(compute_note(inputs),))


def compute_note(inputs: ReportInputs) -> str:
    """What the whole study took, in a sentence."""
    trained = sum(float(cell.info.get("train_s") or 0) for cell in inputs.cells)
    wall = inputs.study.get("wall_s")
    took = f" The study took {duration(float(wall))} from start to end." if wall else ""
    return f"Training time of all cells together: {duration(trained)}.{took}"


def _grid(comparison: Comparison, split: str) -> Iterator[tuple[str, str]]:
    if split in comparison.splits:
        yield from ((backbone, mode) for backbone in comparison.backbones for mode in comparison.modes)


def _set_size(comparison: Comparison, split: str) -> str:
    cell = next((cell for cell in comparison.cells if cell.split == split), None)
    return f" ({cell.n_benign} benign, {cell.n_malignant} malignant)" if cell else ""


def _share(counts: tuple[int, int] | None) -> str | None:
    return None if counts is None else percent(counts[0] / counts[1], 0)


def _interval(estimate: Estimate) -> str:
    return DASH if estimate.low is None else f"{number(estimate.low)}{DASH}{number(estimate.high)}"


def _seeds(cell: CellResult) -> str:
    words = " / ".join(number(value, 2) for value in cell.auc_by_seed.values())
    return words if cell.auc_seed_sd is None else f"{words} ± {number(cell.auc_seed_sd, 3)}"


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _word(value: object) -> str:
    return DASH if value is None else str(value)
