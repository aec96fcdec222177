"""Where the weakly-supervised networks looked: by class and by lesion size, beside a box and a map that never saw the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wsus.comparison.estimates import Estimate
from wsus.comparison.localisation_result import LocalisationFigure, LocalisationGroup, LocalisationResult
from wsus.comparison.result import Comparison
from wsus.report import paper_figures as paper
from wsus.report.tables.table import Column, Table
from wsus.report.wording import backbone_name, p_value, percent, percent_with_interval, with_interval
from wsus.types import CLASS_NAMES

SCORED = ("internal", "external")
_TABLE_4 = {"overlap": "Overlap", "iou50": "IoU ≥ 0.5", "pointing": "Pointing"}
_FIT = {
    "max_box_acc": "MaxBoxAcc, %",
    "development_box_acc": "BoxAcc, preset threshold, %",
    "max_box_acc_v2": "MaxBoxAccV2, %",
    "iou": "Mean IoU of boxes",
    "dice": "Mean Dice",
    "energy_in_mask": "Energy in the mask, %",
    "pxap": "PxAP, %",
    "pointing_15px": "Pointing within 15 px, %",
}
_AGAINST_BOX = {
    "overlap": "Overlap",
    "iou50": "IoU ≥ 0.5",
    "development_box_acc": "IoU ≥ 0.5, preset threshold",
    "pointing": "Pointing",
    "pointing_15px": "Pointing within 15 px",
    "pxap": "PxAP",
}
_BY_SIZE = {"overlap": "Overlap, %", "iou50": "IoU ≥ 0.5, %", "pointing": "Pointing, %", **_FIT}
_PLAIN = ("iou", "dice")  # printed as they are; all others are per cent
_BASELINES = (Column(title="box"), Column(title="random"))


def localisation_table(comparison: Comparison) -> Table:
    """Table 4: localisation by class under three criteria, each beside a centred box and a random map."""
    columns = [Column(title="Network", kind="label"), Column(title="Class, images", kind="label")]
    for criterion, title in _TABLE_4.items():
        columns.append(Column(title=title))
        if criterion == "overlap":
            columns.append(Column(title="paper", kind="paper"))
        columns += [*_BASELINES, Column(title="P")]
    rows = [_table_4_row(item, label) for item in _located(comparison) for label in (0, 1)]
    return Table(
        slug="table4",
        title="Table 4. Localisation of weakly-supervised networks by their class activation map",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            "Overlap: the focus touches the manual mask at all (the paper's criterion). IoU ≥ 0.5: box of its largest component"
            " against the mask's box.",
            "Pointing: the map's peak lies inside the mask. P: benign against malignant, two-sided; Fisher's exact test, or Rao"
            " and Scott's over patients where one has several images.",
            "All figures but P are per cent, with Clopper-Pearson intervals. box, random: the same criterion for a centred box"
            " and for a random map, neither of which saw the image.",
            *_without_mask(comparison),
        ),
    )


def _without_mask(comparison: Comparison) -> Iterator[str]:
    """Which sets have masks for some images only."""
    for split in SCORED:
        item = next((item for item in comparison.localisation if item.split == split and item.without_mask), None)
        if item is not None:
            total = item.n + item.without_mask
            yield f"{split.capitalize()} set: {item.without_mask} of {total} images have no mask and stand in no figure here."


def _table_4_row(item: LocalisationResult, label: int) -> tuple[str | None, ...]:
    word = CLASS_NAMES[label]
    group = item.group(word)
    row: list[str | None] = [f"{backbone_name(item.backbone)}, {item.split}", f"{word.capitalize()}, {group.n if group else 0}"]
    for criterion in _TABLE_4:
        row += _three(group, criterion, digits=0)
        if criterion == "overlap":
            counts = paper.paper_localised(item.split, item.backbone, label)
            row.insert(3, None if counts is None else percent(counts[0] / counts[1], 0))
        row.append(p_value(item.fisher_p.get(criterion)) if label == 1 else "")
    return tuple(row)


def localisation_box_table(comparison: Comparison) -> Table:
    """The map against a centred box on the same images, both classes together: paired tests."""
    rows = []
    for item in _located(comparison):
        group = item.group("all")
        for criterion, title in _AGAINST_BOX.items():
            figure = group.figure(criterion) if group else None
            if figure is not None and figure.p_box is not None:
                shares = (percent_with_interval(figure.own), percent_with_interval(figure.centre_box))
                rows.append((f"{backbone_name(item.backbone)}, {item.split}", title, *shares, p_value(figure.p_box)))
    return Table(
        slug="localisation_box",
        title="The map against a centred box on the same images",
        columns=(
            Column(title="Network", kind="label"),
            Column(title="Criterion", kind="label"),
            Column(title="Map, %"),
            Column(title="Centred box, %"),
            Column(title="P"),
        ),
        rows=tuple(rows),
        notes=(
            "P: McNemar's test on the same images, two-sided, raw; over patients where one has several images; for PxAP a"
            " jackknife over patients. Half of each side for overlap, IoU and pointing; for the preset threshold the box that the"
            " development set chose; for PxAP boxes of every size.",
        ),
    )


def localisation_fit_table(comparison: Comparison) -> Table:
    """How well box and focus fit, by class, beyond a yes or no at one threshold."""
    columns = [Column(title="Network", kind="label"), Column(title="Figure", kind="label")]
    for word in CLASS_NAMES:
        columns += [Column(title=word.capitalize()), *_BASELINES]
    rows = [
        (
            f"{backbone_name(item.backbone)}, {item.split}",
            title,
            *(cell for word in CLASS_NAMES for cell in _three(item.group(word), criterion)),
            p_value(item.fisher_p[criterion]) if criterion in item.fisher_p else "",
        )
        for item in _located(comparison)
        for criterion, title in _computed(comparison, _FIT)
    ]
    return Table(
        slug="localisation_fit",
        title="Table 4, continued. Fit of box, focus and map, by class",
        columns=(*columns, Column(title="P")),
        rows=tuple(rows),
        notes=(
            *_fit_notes(comparison),
            "Intervals: Clopper-Pearson for shares, Student's t for means, jackknife over patients for PxAP. P: as above.",
        ),
    )


def _fit_notes(comparison: Comparison) -> Iterator[str]:
    yield (
        "MaxBoxAcc (Choe et al. 2020): images whose box reaches an IoU of 0.5, at the threshold on the map that is best for these"
        " very images; so it is optimistic. The line below uses a preset threshold: the one that was best for the development"
        " set. V2: mean over IoU 0.3, 0.5 and 0.7 of the best fitting component, each at its best threshold. Box and random map"
        " choose theirs alike: the box its size, the random map its threshold."
    )
    yield "Dice: focus and mask, pixel by pixel. Energy: the share of the scaled map's sum inside the mask; no threshold is used."
    yield (
        "PxAP (Choe et al. 2020): average precision of the map's values as a score of each pixel, lesion or not, all images"
        " pooled and weighing the same. Within 15 px: the map's peak lies in the mask or at most 15 pixels of the image away"
        " (Zhang et al. 2018)." + _pixel_error(comparison)
    )
    chosen = [
        f"{backbone_name(item.backbone)}, {item.split}: {item.curve.best:g} here"
        + (f", {item.curve.development:g} by the development set" if item.curve.development is not None else "")
        for item in _located(comparison)
        if item.curve is not None
    ]
    if chosen:
        yield f"Thresholds. {'; '.join(chosen)}."
    else:
        yield "MaxBoxAcc was not computed when these images were scored: an older version trained the cells."


def _pixel_error(comparison: Comparison) -> str:
    """How far the steps of the maps' values can move PxAP; '' where it was not computed."""
    reaches = []
    for item in _located(comparison):
        group = item.group("all")
        value = group.figure("pxap").own.value if group else None
        if value is not None and item.pxap_bounds is not None:
            reaches.append(max(value - item.pxap_bounds[0], item.pxap_bounds[1] - value))
    return f" Cut at every value, not every 0.01, PxAP lies within {percent(max(reaches))} points." if reaches else ""


def localisation_size_table(comparison: Comparison, split: str) -> Table:
    """Every figure by lesion size, both classes together."""
    found = [item for item in _located(comparison) if item.split == split]
    groups = [[group for group in item.groups if group.variable not in ("all", "class")] for item in found]
    levels = list(dict.fromkeys(group.level for item in groups for group in item))
    columns = [Column(title="Network", kind="label"), Column(title="Figure", kind="label")]
    for level in levels:
        columns += [Column(title=level), *_BASELINES]
    rows: list[tuple[str | None, ...]] = []
    for item, own in zip(found, groups, strict=True):
        by_level = [next((group for group in own if group.level == level), None) for level in levels]
        if own:
            counts = (cell for group in by_level for cell in (str(group.n) if group else "0", "", ""))
            rows.append((backbone_name(item.backbone), "Images with a mask", *counts))
            rows += [
                (backbone_name(item.backbone), title, *(cell for group in by_level for cell in _three(group, criterion)))
                for criterion, title in _computed(comparison, _BY_SIZE)
            ]
    in_mm = any(group.variable == "lesion_size_mm" for own in groups for group in own)
    measure = "the lesion's size in mm" if in_mm else "the share of the image that the mask covers, in thirds of this set"
    return Table(
        slug=f"localisation_size_{split}",
        title=f"Localisation by lesion size, {split} validation set",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(f"Columns: {measure}. Both classes together. Figures as in the two tables above; thresholds are the same.",),
    )


def _three(group: LocalisationGroup | None, criterion: str, *, digits: int = 0) -> list[str | None]:
    """The map's figure with its interval, the box's and the random map's."""
    if group is None:
        return [None, None, None]
    figure: LocalisationFigure = group.figure(criterion)
    if criterion in _PLAIN:
        return [with_interval(figure.own, digits=2), *(_plain(baseline) for baseline in (figure.centre_box, figure.random_map))]
    baselines = (percent(baseline.value, digits) for baseline in (figure.centre_box, figure.random_map))
    return [percent_with_interval(figure.own, digits=digits), *baselines]


def _computed(comparison: Comparison, criteria: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The criteria that were computed when the images were scored: an older version knew fewer."""
    groups = [group for item in comparison.localisation if (group := item.group("all"))]
    for criterion, title in criteria.items():
        if any(group.figure(criterion).own.value is not None for group in groups):
            yield criterion, title


def _plain(estimate: Estimate) -> str | None:
    return None if estimate.value is None else f"{estimate.value:.2f}"


def _located(comparison: Comparison) -> Iterator[LocalisationResult]:
    for split in SCORED:
        yield from (item for item in comparison.localisation if item.split == split)
