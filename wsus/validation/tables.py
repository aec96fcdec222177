"""Tables of an evaluation: those of a study's report that make sense without training, and those that only it needs."""

from __future__ import annotations

from dataclasses import replace

from wsus.comparison.result import Comparison
from wsus.evaluation.paired import NonInferiority
from wsus.report.tables.accuracy import calibration_table, further_table, patients_table, robustness_table
from wsus.report.tables.localisation import localisation_fit_table, localisation_size_table, localisation_table
from wsus.report.tables.subgroups import hard_cases_table, subgroup_table
from wsus.report.tables.table import Column, Table
from wsus.report.wording import number, p_value, percent, percent_with_interval, with_interval
from wsus.types import Split
from wsus.validation.result import EvaluatedSet, ModelPair

SPLIT = Split.EXTERNAL.value  # where `sets` puts all images
_MODEL = Column(title="Model", kind="label")


def tables_of(one: EvaluatedSet) -> tuple[Table, ...]:
    """Every table of one set, named after it; those that would have no row are left out."""
    comparison = one.comparison
    tables = (
        set_table(one),
        performance_table(one),
        calibration_table(comparison, SPLIT),
        patients_table(comparison, SPLIT),
        prevalence_table(one),
        pair_table(one),
        guard_table(one),
        further_table(comparison, SPLIT),
        robustness_table(comparison, SPLIT),
        *((_localisation(comparison), localisation_fit_table(comparison)) if comparison.localisation else ()),
        *((localisation_size_table(comparison, SPLIT),) if comparison.localisation else ()),
        subgroup_table(comparison, SPLIT),
        _without_set(hard_cases_table(comparison)),
        left_out_table(one),
    )
    return tuple(_of_set(table, one) for table in tables if table.rows)


def set_words(text: str, one: EvaluatedSet) -> str:
    """A study's title with the set's name in it."""
    return text.replace("external validation set", one.images.name).replace(f", {SPLIT}", "")


def set_table(one: EvaluatedSet) -> Table:
    """What the set holds."""
    images = one.images
    masks = sum(bool(record.mask_paths) for record in images.records)
    rows: list[tuple[str | None, ...]] = [
        ("Images", str(len(images.records))),
        ("Patients", str(images.n_patients)),
        ("Benign", str(images.count(0))),
        ("Malignant", str(images.count(1))),
        ("With a mask of the lesion", str(masks)),
    ]
    for name, title in (("device", "Scanners"), ("institution", "Institutions")):
        known = sorted({str(getattr(record, name)) for record in images.records if getattr(record, name)})
        if known:
            rows.append((title, ", ".join(known[:6]) + (f" and {len(known) - 6} more" if len(known) > 6 else "")))
    notes = tuple(f"{note[0].upper()}{note[1:]}." for note in images.notes)
    columns = (Column(title="Of the set", kind="label"), Column(title=images.name, kind="label"))
    return Table(slug="set", title=f"The set {images.name}", columns=columns, rows=tuple(rows), notes=notes, grouped=False)


def performance_table(one: EvaluatedSet) -> Table:
    """AUC, sensitivity and specificity of every model, the interval over patients beside."""
    rows = tuple(
        (
            cell.backbone,
            with_interval(cell.auc),
            with_interval(cell.auc_images),
            f"{cell.operating_point:g}",
            percent_with_interval(cell.sensitivity),
            percent_with_interval(cell.specificity),
            f"{cell.tp} / {cell.fn} / {cell.tn} / {cell.fp}",
        )
        for cell in one.comparison.cells
    )
    columns = (
        _MODEL,
        Column(title="AUC (95% CI)"),
        Column(title="as if independent"),
        Column(title="Operating point"),
        Column(title="Sensitivity, %"),
        Column(title="Specificity, %"),
        Column(title="TP / FN / TN / FP"),
    )
    notes = (
        "AUC: over patients where one has several images (Obuchowski, logit scale), else DeLong's interval, which stands beside."
        " Sensitivity and specificity: Clopper-Pearson intervals at the operating point of the model, or of its site's profile.",
        *sorted({cell.auc.note for cell in one.comparison.cells if cell.auc.note}),
    )
    title = f"Diagnostic performance, {one.images.name}"
    return Table(slug="performance", title=title, columns=columns, rows=rows, notes=notes, grouped=False)


def prevalence_table(one: EvaluatedSet) -> Table:
    """Predictive values at the prevalence that was stated."""
    rows = tuple(
        (found.model, percent(found.prevalence, 1), percent(found.ppv), percent(found.npv)) for found in one.at_prevalence
    )
    columns = (_MODEL, Column(title="Prevalence, %"), Column(title="PPV, %"), Column(title="NPV, %"))
    notes = ("From sensitivity and specificity by Bayes' rule: as if the cases were alike, and only their shares differed.",)
    title = f"Predictive values at the stated prevalence, {one.images.name}"
    return Table(slug="prevalence", title=title, columns=columns, rows=rows, notes=notes, grouped=False)


def pair_table(one: EvaluatedSet) -> Table:
    """Every two models on the images that both scored."""
    rows = tuple(_pair_row(pair) for pair in one.pairs)
    columns = (
        Column(title="Models", kind="label"),
        Column(title="Images"),
        Column(title="AUC difference (95% CI)"),
        Column(title="P"),
        Column(title="Holm"),
        Column(title="P sens."),
        Column(title="P spec."),
        Column(title="Non-inferior", kind="label"),
    )
    margin = number(one.comparison.settings["margin"], 2)
    notes = (
        "Difference: first minus second. P: paired DeLong test, or over patients, raw and adjusted over the pairs of this set;"
        " McNemar's test for sensitivity and specificity."
        f" Non-inferior: the first to the second on AUC, margin {margin}.",
    )
    title = f"Models against each other, {one.images.name}"
    return Table(slug="pairs", title=title, columns=columns, rows=rows, notes=notes, grouped=False)


def _pair_row(pair: ModelPair) -> tuple[str | None, ...]:
    result = pair.result
    return (
        f"{pair.first} against {pair.second}",
        str(result.n),
        with_interval(result.auc_difference),
        p_value(result.p),
        p_value(result.p_holm),
        p_value(result.sensitivity.p),
        p_value(result.specificity.p),
        _verdict(result.noninferiority),
    )


def _verdict(found: NonInferiority | None) -> str | None:
    return None if found is None or found.lower is None else str(found.verdict)


def guard_table(one: EvaluatedSet) -> Table:
    """How many images are unlike those that a model was trained on."""
    rows = tuple(
        (cell.backbone, percent_with_interval(cell.unlike_training), "1.0")
        for cell in one.comparison.cells
        if cell.unlike_training is not None
    )
    columns = (_MODEL, Column(title="Flagged here, %"), Column(title="Flagged of its development images, %"))
    notes = ("Flagged: further from the training images than 99 % of the development images were.",)
    title = f"Images unlike the training images, {one.images.name}"
    return Table(slug="guard", title=title, columns=columns, rows=rows, notes=notes, grouped=False)


def left_out_table(one: EvaluatedSet) -> Table:
    """What an import did not take, and what could not be scored."""
    imported = [("import", str(item["item"]), str(item["reason"]), str(item["count"])) for item in one.images.left_out]
    unscored = [(item["model"], item["image_id"], item["reason"], "1") for item in one.left_out]
    columns = (
        Column(title="By", kind="label"),
        Column(title="For instance", kind="label"),
        Column(title="Reason", kind="label"),
        Column(title="Number"),
    )
    title = f"Left out, {one.images.name}"
    return Table(slug="left_out", title=title, columns=columns, rows=(*imported, *unscored), grouped=False)


def _localisation(comparison: Comparison) -> Table:
    """Table 4 without the published figures, which are of other networks."""
    return replace(localisation_table(comparison).without_paper(), title="Localisation by the class activation map")


def _without_set(table: Table) -> Table:
    """The hardest cases without their first column: all are of one set."""
    rows = tuple(row[1:] for row in table.rows)
    return replace(table, columns=table.columns[1:], rows=rows)


def _of_set(table: Table, one: EvaluatedSet) -> Table:
    """Slug and words with the set's name in place of a study's split."""
    slug = table.slug.removesuffix(f"_{SPLIT}").removeprefix("table_")
    rows = tuple((row[0] and set_words(row[0], one), *row[1:]) for row in table.rows)
    columns = tuple(replace(column, title="Model") if column.title == "Network" else column for column in table.columns)
    return replace(table, slug=f"{one.images.name}_{slug}", title=set_words(table.title, one), rows=rows, columns=columns)
