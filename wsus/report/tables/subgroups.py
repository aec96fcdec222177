"""Tables of parts of a validation set: subgroups, and the cases that most cells got wrong."""

from __future__ import annotations

from wsus.comparison.result import Comparison
from wsus.data.described import DESCRIBED
from wsus.report.tables.table import Column, Table
from wsus.report.wording import (
    DASH,
    backbone_name,
    mode_name,
    number,
    percent_with_interval,
    split_name,
    variable_name,
    with_interval,
)
from wsus.types import CLASS_NAMES

_IN_WORDS = {column.name: column.in_words for column in DESCRIBED}


def subgroup_table(comparison: Comparison, split: str) -> Table:
    """The forest plot's figures, with sensitivity and specificity."""
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Subgroup", kind="label"),
        Column(title="Level", kind="label"),
        Column(title="Images"),
        Column(title="malignant"),
        Column(title="AUC (95% CI)"),
        Column(title="Sensitivity, %"),
        Column(title="Specificity, %"),
    )
    found = [item for item in comparison.subgroups if item.split == split]
    rows = tuple(
        (
            backbone_name(item.backbone),
            variable_name(item.variable),
            item.level,
            str(item.n),
            str(item.n_malignant),
            with_interval(item.auc),
            percent_with_interval(item.sensitivity, digits=0),
            percent_with_interval(item.specificity, digits=0),
        )
        for item in sorted(found, key=lambda item: comparison.backbones.index(item.backbone))
    )
    minimum = comparison.settings["subgroup_minimum"]
    notes = (
        f"AUC where there are at least {minimum} images of each class. Sensitivity and specificity at the operating point."
        " Intervals as in Tables 2 and 3, over patients where one has several images. No test of interaction was made.",
    )
    title = f"Subgroups, weak supervision, {split} validation set"
    return Table(slug=f"table_subgroups_{split}", title=title, columns=columns, rows=rows, notes=notes)


def hard_cases_table(comparison: Comparison) -> Table:
    """The images that most cells got wrong, and what every cell said of them."""
    said = [{(item.backbone, item.mode): number(item.pom, 2) for item in case.poms} for case in comparison.hard_cases]
    scored = [name for name in comparison.backbones if any(backbone == name for poms in said for backbone, _ in poms)]
    columns = (
        Column(title="Set", kind="label"),
        Column(title="Image", kind="label"),
        Column(title="Truth", kind="label"),
        Column(title="Wrong cells"),
        Column(title="Mean POM"),
        *(Column(title=f"{backbone_name(name)}: POM") for name in scored),
        Column(title="Known of it", kind="label"),
    )
    rows = tuple(
        (
            split_name(case.split),
            case.image_id,
            CLASS_NAMES[case.label],
            f"{case.wrong} of {case.cells}",
            number(case.mean_pom, 2),
            *(" / ".join(poms.get((name, mode), DASH) for mode in comparison.modes) for name in scored),
            "; ".join(_IN_WORDS[name].format(value) for name, value in case.attributes.items()) or None,
        )
        for case, poms in zip(comparison.hard_cases, said, strict=True)
    )
    notes = (
        "Called wrongly by at least half of the cells, the most confident errors first. POM: probability of malignancy, of each"
        f" network by {' / '.join(mode_name(mode) for mode in comparison.modes)}.",
    )
    return Table(slug="hard_cases", title="The hardest cases", columns=columns, rows=rows, notes=notes, grouped=False)
