"""The paper's own counts with the intervals and tests that they allow, to be read beside ours."""

from __future__ import annotations

from wsus.comparison.estimates import Estimate
from wsus.evaluation.intervals import proportion
from wsus.report import paper_figures as paper
from wsus.report.tables.table import Column, Table
from wsus.report.wording import backbone_name, p_value, percent_with_interval
from wsus.two_scores.shares import share_pair

_BACKBONES = ("vgg16", "resnet34", "googlenet")


def paper_counts_table() -> Table:
    """Weak supervision as the paper states it: exact intervals of its shares, and Fisher's test of its localisation."""
    columns = (
        Column(title="Set", kind="label"),
        Column(title="Network", kind="label"),
        Column(title="Sensitivity, %"),
        Column(title="Specificity, %"),
        Column(title="Localised, benign, %"),
        Column(title="Localised, malignant, %"),
        Column(title="P, benign against malignant"),
    )
    return Table(
        slug="paper_counts",
        title="The paper's own counts, weak supervision",
        columns=columns,
        rows=tuple(_row(split, backbone) for split in ("internal", "external") for backbone in _BACKBONES),
        notes=(
            "From the counts that it states, 100 images per class: Clopper-Pearson intervals, Fisher's exact test, two-sided."
            " Localised: the focus overlaps the mask at all. It states no paired counts, so no paired test can be made from it.",
        ),
    )


def _row(split: str, backbone: str) -> tuple[str | None, ...]:
    benign, malignant = (paper.paper_localised(split, backbone, label) for label in (0, 1))
    tested = None if benign is None or malignant is None else p_value(share_pair(*benign, *malignant).fisher_p)
    shares = (
        paper.paper_sensitivity(split, "weak", backbone),
        paper.paper_specificity(split, "weak", backbone),
        benign,
        malignant,
    )
    return (f"{split.capitalize()} set", backbone_name(backbone), *(_share(counts) for counts in shares), tested)


def _share(counts: tuple[int, int] | None) -> str | None:
    if counts is None:
        return None
    share = proportion(*counts)
    low, high = share.ci or (None, None)
    return percent_with_interval(Estimate(value=share.estimate, low=low, high=high), digits=0)
