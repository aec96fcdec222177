"""What a validation set of this size could show, and how many images it would have taken."""

from __future__ import annotations

from wsus.comparison.result import Comparison, McNemarResult, PairResult
from wsus.evaluation.power import PowerOfTest
from wsus.report.tables.table import Column, Table
from wsus.report.wording import backbone_name, mode_name, number, percent


def power_table(comparison: Comparison, split: str) -> Table:
    """Power of the comparison's tests at its size, and the images that the power wanted would take."""
    target = percent(comparison.settings["power"], 0)
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Weak against", kind="label"),
        Column(title="AUC: power, %"),
        Column(title=f"images for {target}%"),
        Column(title="Sensitivity: discordant, %"),
        Column(title="power, %"),
        Column(title=f"malignant for {target}%"),
        Column(title="Specificity: discordant, %"),
        Column(title="power, %"),
        Column(title=f"benign for {target}%"),
    )
    pairs = [pair for pair in comparison.pairs if pair.split == split]
    return Table(
        slug=f"power_{split}",
        title=f"Power of the comparison, {split} validation set",
        columns=columns,
        rows=tuple(_row(pair) for pair in pairs),
        notes=_notes(comparison),
    )


def _row(pair: PairResult) -> tuple[str | None, ...]:
    auc = pair.power_auc
    return (
        backbone_name(pair.backbone),
        mode_name(pair.mode),
        percent(auc.power, 0) if auc else None,
        _both(auc),
        *_of_class(pair.sensitivity, pair.power_sensitivity),
        *_of_class(pair.specificity, pair.power_specificity),
    )


def _both(found: PowerOfTest | None) -> str | None:
    if found is None or found.needed_pos is None or found.needed_neg is None:
        return None
    return f"{found.needed_pos + found.needed_neg:,}"


def _of_class(counts: McNemarResult, found: PowerOfTest | None) -> tuple[str | None, str | None, str | None]:
    if found is None:
        return None, None, None
    discordant = (counts.only_weak_right + counts.only_full_right) / counts.n
    needed = found.needed_neg if found.needed_pos is None else found.needed_pos
    return percent(discordant, 0), percent(found.power, 0), None if needed is None else f"{needed:,}"


def _notes(comparison: Comparison) -> tuple[str, ...]:
    margin = number(comparison.settings["margin"], 2)
    return (
        f"The chance of the verdict “non-inferior” (margin {margin}) if weak and full are equally good, at the spread that was"
        " observed: for AUC the variance of the difference, images at the same share of classes; for sensitivity and specificity"
        " the share of discordant images (Tango's test). Where a patient has several images, the spread is that over patients,"
        " and the images needed have as many of a patient as here.",
        "The power is not computed from the difference that was observed: that would say no more than its P.",
    )
