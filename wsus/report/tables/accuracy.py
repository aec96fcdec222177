"""Tables of single cells beyond Tables 2 and 3: predictive values, likelihood ratios, calibration, partial AUC, seeds."""

from __future__ import annotations

from wsus.comparison.result import CellResult, Comparison, Estimate
from wsus.report.tables.table import Column, Table
from wsus.report.wording import (
    DASH,
    backbone_name,
    mode_name,
    number,
    percent_with_interval,
    ratio_with_interval,
    with_interval,
)

_NAMES = (Column(title="Network", kind="label"), Column(title="Supervision", kind="label"))


def further_table(comparison: Comparison, split: str) -> Table:
    """Predictive values, accuracy and likelihood ratios at the operating point."""
    columns = (
        *_NAMES,
        Column(title="PPV, %"),
        Column(title="NPV, %"),
        Column(title="Accuracy, %"),
        Column(title="LR+ (95% CI)"),
        Column(title="LR− (95% CI)"),
    )
    cells = _cells(comparison, split)
    rows = tuple(
        (
            *_names(cell),
            percent_with_interval(cell.ppv, digits=0),
            percent_with_interval(cell.npv, digits=0),
            percent_with_interval(cell.accuracy, digits=0),
            ratio_with_interval(cell.lr_positive),
            ratio_with_interval(cell.lr_negative),
        )
        for cell in cells
    )
    methods = sorted({cell.lr_positive.method for cell in cells if cell.lr_positive.method})
    return Table(
        slug=f"further_{split}",
        title=f"Predictive values and likelihood ratios, {split} validation set",
        columns=columns,
        rows=rows,
        notes=(
            "PPV, NPV and accuracy hold at this set's share of cancers, not at that of a clinic; likelihood ratios hold at any:"
            " odds of cancer after the call = odds before × ratio.",
            "LR+: sensitivity / (1 − specificity), LR−: (1 − sensitivity) / specificity; intervals: "
            f"{', '.join(methods) or DASH}.",
        ),
    )


def robustness_table(comparison: Comparison, split: str) -> Table:
    """Calibration, partial AUC, and intervals that allow for several images of a patient."""
    start = number(comparison.settings["partial_auc_from"], 2)
    columns = (
        *_NAMES,
        Column(title="Brier"),
        Column(title="Cal. slope"),
        Column(title=f"pAUC, specificity ≥ {start}"),
        Column(title=f"pAUC, sensitivity ≥ {start}"),
        Column(title="AUC CI, clustered"),
        Column(title="AUC CI, bootstrap"),
    )
    rows = tuple(
        (
            *_names(cell),
            number(cell.brier),
            number(cell.calibration_slope.value, 2),
            *_partial(cell),
            _interval(cell.auc_clustered),
            _interval(cell.auc_bootstrap),
        )
        for cell in _cells(comparison, split)
    )
    draws = comparison.settings["bootstrap"]
    return Table(
        slug=f"robustness_{split}",
        title=f"Calibration, partial AUC and robustness, {split} validation set",
        columns=columns,
        rows=rows,
        notes=(
            "pAUC: partial area under the ROC curve, standardised (McClish): 0.5 for a coin, 1 for a perfect score; interval on"
            " the logit scale.",
            "Clustered: Obuchowski's variance, on the logit scale, since images of one patient are not independent."
            f" Bootstrap: {draws:,} draws of patients, percentiles.",
        ),
    )


def seeds_table(comparison: Comparison, split: str) -> Table:
    """Every seed's AUC, and the spread between seeds beside the standard error that the images leave; rows with several seeds."""
    columns = (
        *_NAMES,
        Column(title="AUC by seed"),
        Column(title="Chosen seed"),
        Column(title="Mean"),
        Column(title="Lowest"),
        Column(title="Highest"),
        Column(title="SD between seeds"),
        Column(title="SE over images"),
    )
    rows = tuple(_seeds_row(cell, known) for cell in _cells(comparison, split) if len(known := _aucs(cell)) > 1)
    return Table(
        slug=f"seeds_{split}",
        title=f"Seeds, {split} validation set",
        columns=columns,
        rows=rows,
        notes=(
            "The other tables use the seed chosen on the development split. Their intervals hold the chance in the choice of"
            " images (SE, DeLong), not that of training again (SD between seeds).",
        ),
    )


def _seeds_row(cell: CellResult, known: list[float]) -> tuple[str | None, ...]:
    return (
        *_names(cell),
        " / ".join(number(value) for value in cell.auc_by_seed.values()),
        str(cell.seed),
        number(sum(known) / len(known)),
        number(min(known)),
        number(max(known)),
        number(cell.auc_seed_sd),
        number(cell.auc_se),
    )


def _aucs(cell: CellResult) -> list[float]:
    return [value for value in cell.auc_by_seed.values() if value is not None]


def _cells(comparison: Comparison, split: str) -> list[CellResult]:
    return [cell for cell in comparison.cells if cell.split == split]


def _names(cell: CellResult) -> tuple[str, str]:
    return backbone_name(cell.backbone), mode_name(cell.mode)


def _partial(cell: CellResult) -> tuple[str | None, str | None]:
    by_focus = {part.focus: with_interval(part.standardised) for part in cell.partial_auc}
    return by_focus.get("specificity"), by_focus.get("sensitivity")


def _interval(estimate: Estimate) -> str:
    return DASH if estimate.low is None else f"{number(estimate.low)}{DASH}{number(estimate.high)}"
