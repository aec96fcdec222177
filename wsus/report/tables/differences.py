"""The tables that the paper did not print: what makes its figures hard to misread."""

from __future__ import annotations

from wsus.comparison.result import Comparison, McNemarResult, PairResult
from wsus.evaluation.paired import NonInferiority
from wsus.report.tables.table import Column, Table
from wsus.report.verdicts import left_out
from wsus.report.wording import (
    backbone_name,
    mode_name,
    number,
    p_value,
    percent,
    percent_with_interval,
    split_name,
    with_interval,
)

SCORED = ("internal", "external")


def difference_table(comparison: Comparison, split: str) -> Table:
    """Weak minus full: difference in AUC with interval, raw and adjusted P, and the test of non-inferiority."""
    pairs = [pair for pair in comparison.pairs if pair.split == split]
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Weak against", kind="label"),
        Column(title="Difference in AUC (95% CI)"),
        Column(title="P"),
        Column(title="P (Holm)"),
        Column(title="P (images)"),
        Column(title="One-sided bound"),
        Column(title="P non-inf."),
        Column(title="(Holm)"),
        Column(title="Verdict", kind="label"),
    )
    rows = tuple(
        (
            backbone_name(pair.backbone),
            mode_name(pair.mode),
            with_interval(pair.auc_difference),
            p_value(pair.p),
            p_value(pair.p_holm),
            p_value(pair.p_images),
            *_noninferiority(pair),
        )
        for pair in pairs
    )
    notes = [
        f"Difference: weak minus full, same images, {_methods(pairs)}. Holm: adjusted over this set's {comparison.tests(split)}"
        " tests (AUC, sensitivity, specificity), those of non-inferiority among themselves. P (images): DeLong, as if all images"
        " were independent. One-sided bound: profile limit of both AUCs on the logit scale, so it is not an end of the"
        " interval before it.",
        _verdict_note(comparison),
        *(left_out(pair) for pair in pairs if pair.only_weak or pair.only_full),
        *sorted({f"Not estimable: {pair.auc_difference.note}." for pair in pairs if pair.p is None and pair.auc_difference.note}),
    ]
    return Table(
        slug=f"differences_{split}",
        title=f"Weak against full supervision, AUC, {split} validation set",
        columns=columns,
        rows=rows,
        notes=tuple(notes),
    )


def _verdict_note(comparison: Comparison) -> str:
    margin, confidence = comparison.settings["margin"], _level(comparison.settings["noninferiority_confidence"])
    return (
        f"Verdict: non-inferior where the lower bound of the one-sided {confidence}% interval lies above {number(-margin, 2)}."
        " A P above 0.05 alone does not show equality."
    )


def _level(confidence: float) -> str:
    return f"{100 * confidence:g}"


def _methods(pairs: list[PairResult]) -> str:
    known = sorted({pair.auc_difference.method for pair in pairs if pair.auc_difference.method})
    return " or ".join({"Obuchowski": "variance over patients (Obuchowski)"}.get(name, name) for name in known) or "not estimable"


def _noninferiority(pair: PairResult) -> tuple[str | None, str | None, str | None, str | None]:
    found = pair.noninferiority
    if found is None:
        return None, None, None, None
    return number(found.lower), p_value(found.p_value), p_value(pair.noninferiority_p_holm.get("auc")), _verdict(found)


def _verdict(found: NonInferiority | None) -> str | None:
    if found is None:
        return None
    return "not estimable" if found.lower is None else str(found.verdict)


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
    """Weak and full as two readers of the same images: who was right, case by case, and is weak non-inferior."""
    rows: list[tuple[str | None, ...]] = []
    for pair in comparison.pairs:
        if pair.split == split:
            rows.append(_readers_row(pair, "malignant", "sensitivity", pair.sensitivity, pair.noninferiority_sensitivity))
            rows.append(_readers_row(pair, "benign", "specificity", pair.specificity, pair.noninferiority_specificity))
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Weak against", kind="label"),
        Column(title="Class", kind="label"),
        Column(title="Both right"),
        Column(title="Only weak"),
        Column(title="Only full"),
        Column(title="Both wrong"),
        Column(title="P"),
        Column(title="P (Holm)"),
        Column(title="Difference, %"),
        Column(title="Bound, %"),
        Column(title="P non-inf. (Holm)"),
        Column(title="Verdict", kind="label"),
    )
    return Table(
        slug=f"readers_{split}",
        title=f"Two readers, case by case, {split} validation set",
        columns=columns,
        rows=tuple(rows),
        notes=(
            f"Malignant: sensitivity; benign: specificity. P: {_reader_methods(comparison, split)} on the discordant images,"
            " two-sided. Difference: weak minus full; bound: lower, one-sided, Tango's score interval, at the effective number of"
            " images (Rao and Scott) where a patient has several.",
            _verdict_note(comparison),
        ),
    )


def _readers_row(
    pair: PairResult, word: str, figure: str, counts: McNemarResult, found: NonInferiority | None
) -> tuple[str | None, ...]:
    figures = (counts.both_right, counts.only_weak_right, counts.only_full_right, counts.both_wrong)
    tests = (p_value(counts.p), p_value(counts.p_holm))
    adjusted = p_value(pair.noninferiority_p_holm.get(figure))
    judged = (percent(found.diff), percent(found.lower), adjusted, _verdict(found)) if found else (None,) * 4
    return (backbone_name(pair.backbone), mode_name(pair.mode), word, *map(str, figures), *tests, *judged)


def _reader_methods(comparison: Comparison, split: str) -> str:
    pairs = [pair for pair in comparison.pairs if pair.split == split]
    known = sorted({counts.method for pair in pairs for counts in (pair.sensitivity, pair.specificity)})
    names = {"McNemar, over patients": "McNemar's test over patients (Obuchowski)", "exact McNemar": "exact McNemar test"}
    return " or ".join(names.get(name, name) for name in known)
