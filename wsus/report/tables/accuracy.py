"""Tables of single cells beyond Tables 2 and 3: predictive values, likelihood ratios, calibration, partial AUC, seeds."""

from __future__ import annotations

from wsus.comparison.estimates import Estimate
from wsus.comparison.result import CellResult, Comparison
from wsus.evaluation.paired import NonInferiority
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
from wsus.types import ENSEMBLE

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
    """Partial AUC, and intervals of the AUC by other ways."""
    start = number(comparison.settings["partial_auc_from"], 2)
    columns = (
        *_NAMES,
        Column(title=f"pAUC, specificity ≥ {start}"),
        Column(title=f"pAUC, sensitivity ≥ {start}"),
        Column(title="AUC CI, images"),
        Column(title="AUC CI, clustered"),
        Column(title="AUC CI, bootstrap"),
    )
    rows = tuple(
        (
            *_names(cell),
            *_partial(cell),
            _interval(cell.auc_images),
            _interval(cell.auc_clustered),
            _interval(cell.auc_bootstrap),
        )
        for cell in _cells(comparison, split)
    )
    draws = comparison.settings["bootstrap"]
    return Table(
        slug=f"robustness_{split}",
        title=f"Partial AUC and robustness, {split} validation set",
        columns=columns,
        rows=rows,
        notes=(
            "pAUC: partial area under the ROC curve, standardised (McClish): 0.5 for a coin, 1 for a perfect score; interval on"
            " the logit scale, images taken as independent.",
            "Images: DeLong, images taken as independent. Clustered: Obuchowski's variance, on the logit scale, since images of"
            f" one patient are not independent. Bootstrap: {draws:,} draws of patients, percentiles.",
        ),
    )


def calibration_table(comparison: Comparison, split: str) -> Table:
    """Brier score, slope, intercept and calibration in the large, each with its interval."""
    columns = (
        *_NAMES,
        Column(title="Brier (95% CI)"),
        Column(title="Slope"),
        Column(title="Intercept"),
        Column(title="In the large"),
        Column(title="exactly 0 or 1"),
    )
    cells = _cells(comparison, split)
    rows = tuple(
        (
            *_names(cell),
            with_interval(cell.brier),
            with_interval(cell.calibration_slope, digits=2),
            with_interval(cell.calibration_intercept, digits=2),
            with_interval(cell.calibration_in_the_large, digits=2),
            str(cell.extreme_poms),
        )
        for cell in cells
    )
    reasons = sorted({cell.calibration_slope.note for cell in cells if cell.calibration_slope.note})
    return Table(
        slug=f"table_calibration_{split}",
        title=f"Calibration, {split} validation set",
        columns=columns,
        rows=rows,
        notes=(
            "Logistic fit on the logit of the probability (Cox): slope 1 is right, below 1 the probabilities are too extreme; in"
            " the large (intercept at slope 1): 0 is right, above 0 they are too low. Wald intervals, over patients where one has"
            " several images. In the large depends on this set's share of cancers.",
            *(f"{reason}." for reason in reasons),
        ),
    )


def counts_table(comparison: Comparison, split: str) -> Table:
    """The 2 x 2 table of every cell at its operating point."""
    names = ("True positive", "False negative", "False positive", "True negative")
    rows = tuple((*_names(cell), *map(str, (cell.tp, cell.fn, cell.fp, cell.tn))) for cell in _cells(comparison, split))
    return Table(
        slug=f"counts_{split}",
        title=f"Calls against the truth, {split} validation set",
        columns=(*_NAMES, *(Column(title=name) for name in names)),
        rows=rows,
        notes=("Images, at the operating point. The reference standard is that of the data.",),
    )


def patients_table(comparison: Comparison, split: str) -> Table:
    """One figure per patient beside one per image; rows only where a patient has several images."""
    columns = (
        *_NAMES,
        Column(title="Unit", kind="label"),
        Column(title="n"),
        Column(title="malignant"),
        Column(title="AUC (95% CI)"),
        Column(title="Sensitivity, %"),
        Column(title="Specificity, %"),
        Column(title="Weak minus it"),
        Column(title="Bound"),
        Column(title="Verdict", kind="label"),
    )
    rows = tuple(row for cell in _cells(comparison, split) if cell.patient_level for row in _patient_rows(comparison, cell))
    return Table(
        slug=f"patients_{split}",
        title=f"By image and by patient, {split} validation set",
        columns=columns,
        rows=rows,
        notes=(
            "By image: intervals and tests over patients. Highest, mean: one probability per patient, the highest or the mean of"
            " the patient's images, called at the same operating point; a patient with a malignant image is malignant. Bound:"
            " lower, one-sided, of the difference in AUC.",
        ),
    )


def _patient_rows(comparison: Comparison, cell: CellResult) -> list[tuple[str | None, ...]]:
    pair = comparison.pair(cell.backbone, cell.mode, cell.split)

    def against(difference: Estimate | None, test: NonInferiority | None) -> tuple[str | None, ...]:
        if cell.mode == "weak":
            return "ref.", "", ""
        bound, verdict = (test.lower, str(test.verdict)) if test and test.lower is not None else (None, "not estimable")
        return number(difference.value) if difference else None, number(bound), verdict

    images = (str(cell.n), str(cell.n_malignant), with_interval(cell.auc))
    shares = (percent_with_interval(cell.sensitivity, digits=0), percent_with_interval(cell.specificity, digits=0))
    own = against(pair.auc_difference, pair.noninferiority) if pair else against(None, None)
    rows: list[tuple[str | None, ...]] = [(*_names(cell), "image", *images, *shares, *own)]
    by_rule = {one.rule: one for one in pair.patient_level} if pair else {}
    for one in cell.patient_level:
        word = {"max": "highest", "mean": "mean"}[one.rule]
        other = by_rule.get(one.rule)
        rows.append(
            (
                *_names(cell),
                word,
                str(one.n),
                str(one.n_malignant),
                with_interval(one.auc),
                percent_with_interval(one.sensitivity, digits=0),
                percent_with_interval(one.specificity, digits=0),
                *(against(other.auc_difference, other.noninferiority) if other else against(None, None)),
            )
        )
    return rows


def seeds_table(comparison: Comparison, split: str) -> Table:
    """Every seed's AUC, and the spread between seeds beside the standard error that the images leave; rows with several seeds."""
    columns = (
        *_NAMES,
        Column(title="AUC by seed"),
        Column(title="Stands for the cell"),
        Column(title="Its AUC"),
        Column(title="Mean"),
        Column(title="Lowest"),
        Column(title="Highest"),
        Column(title="SD between seeds"),
        Column(title="SE over patients"),
    )
    rows = tuple(_seeds_row(cell, known) for cell in _cells(comparison, split) if len(known := _aucs(cell)) > 1)
    return Table(
        slug=f"seeds_{split}",
        title=f"Seeds, {split} validation set",
        columns=columns,
        rows=rows,
        notes=(
            "The other tables use the seed chosen on the development split, or the ensemble of all seeds where the study asks for"
            " one. Their intervals, tests and verdicts hold the chance"
            " in the choice of patients (SE, over patients), not that of training again (SD between seeds).",
        ),
    )


def _seeds_row(cell: CellResult, known: list[float]) -> tuple[str | None, ...]:
    return (
        *_names(cell),
        " / ".join(number(value) for value in cell.auc_by_seed.values()),
        "ensemble" if cell.seed == ENSEMBLE else f"seed {cell.seed}",
        number(cell.auc.value),
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
