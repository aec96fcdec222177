"""Forest plots: the weakly-supervised networks inside subgroups of a validation set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes

from wsus.comparison.estimates import Estimate
from wsus.comparison.result import Comparison, SubgroupResult
from wsus.data.described import DESCRIBED
from wsus.report.figures.canvas import INK, MODE_COLOURS, MUTED, Drawing, panels, render, style
from wsus.report.wording import SMALL_CLASS, backbone_name, percent_with_interval, variable_name, with_interval

ONE_CLASS = tuple(column.name for column in DESCRIBED if column.one_class)  # no AUC exists inside a kind of one class
_LINE_IN, _CHARACTER_IN = 0.24, 0.063
_COLOUR = MODE_COLOURS["weak"]
Level = tuple[str, str]  # variable, level


def forest_drawing(comparison: Comparison, split: str) -> Drawing | None:
    """AUC inside subgroups, a column per network; below it what was called correctly of each histology."""
    found = [item for item in comparison.subgroups if item.split == split]
    by_auc = _levels(item for item in found if item.variable not in ONE_CLASS)
    by_share = _levels(item for item in found if item.variable in ONE_CLASS)
    if not by_auc and not by_share:
        return None
    slug = f"subgroups_{split}"
    backbones = list(dict.fromkeys(item.backbone for item in found))
    blocks = [(levels, draw) for levels, draw in ((by_auc, _auc_axes), (by_share, _share_axes)) if levels]
    longest = max(len(_label(level, _of(found, backbones[0], level))) for levels, _ in blocks for level in levels)
    with style(slug):
        figure, rows = panels(
            len(blocks),
            len(backbones),
            panel_in=(min(2.3, 7.0 / len(backbones)), 1.0),
            heights_in=[_LINE_IN * (len(levels) + len({v for v, _ in levels})) + 0.3 for levels, _ in blocks],
            gap_in=(0.2, 0.62),
            margins_in=(max(1.5, 0.15 + _CHARACTER_IN * longest), 0.15, 0.48, 0.32),
        )
        for (levels, draw), line in zip(blocks, rows, strict=True):
            for place, (axes, backbone) in enumerate(zip(line, backbones, strict=True)):
                _frame(axes, levels, [_of(found, backbone, level) for level in levels], with_names=place == 0)
                draw(axes, comparison, split, backbone, [_of(found, backbone, level) for level in levels])
        for axes, backbone in zip(rows[0], backbones, strict=True):
            axes.set_title(backbone_name(backbone))
        return render(
            figure,
            slug=slug,
            title=f"Subgroups, weak supervision, {split} validation set",
            caption=_caption(comparison, bool(by_auc), bool(by_share)),
            alt="; ".join(_words(item) for item in found),
        )


def _levels(found: Iterable[SubgroupResult]) -> list[Level]:
    """Every level once, those of one variable together."""
    levels = list(dict.fromkeys((item.variable, item.level) for item in found))
    return [level for variable in dict.fromkeys(v for v, _ in levels) for level in levels if level[0] == variable]


def _of(found: Sequence[SubgroupResult], backbone: str, level: Level) -> SubgroupResult | None:
    return next((i for i in found if i.backbone == backbone and (i.variable, i.level) == level), None)


def _label(level: Level, item: SubgroupResult | None) -> str:
    return f"{level[1]}   n = {item.n} ({item.n_malignant})" if item else level[1]


def _frame(axes: Axes, levels: Sequence[Level], items: Sequence[SubgroupResult | None], *, with_names: bool) -> None:
    """One line per level, with a heading above those of each variable."""
    places = _places(levels)
    axes.set_ylim(max(places) + 0.6, -0.6)
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    names = [_label(level, item) for level, item in zip(levels, items, strict=True)]
    axes.set_yticks(places, names if with_names else [""] * len(names), color=INK)
    if with_names:
        for variable, place in {v: p for (v, _), p in reversed(list(zip(levels, places, strict=True)))}.items():
            axes.text(
                -0.03,
                place - 1,
                variable_name(variable),
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontweight="bold",
            )


def _places(levels: Sequence[Level]) -> list[float]:
    headings = [variable for i, (variable, _) in enumerate(levels) if i == 0 or levels[i - 1][0] != variable]
    return [float(i + 1 + headings.index(variable)) for i, (variable, _) in enumerate(levels)]


def _auc_axes(axes: Axes, comparison: Comparison, split: str, backbone: str, items: Sequence[SubgroupResult | None]) -> None:
    drawn = [item for item in comparison.subgroups if item.split == split and item.auc.low is not None]
    lowest = math.floor(10 * min([0.5, *(item.auc.low or 0.0 for item in drawn)])) / 10
    axes.set_xlim(lowest - 0.005, 1.02)
    step = 1 if lowest >= 0.5 else 2
    axes.set_xticks([tick / 10 for tick in range(10, round(10 * lowest) - 1, -step)][::-1])
    axes.set_xlabel("AUC")
    for place, item in zip(_places_of(axes), items, strict=True):
        if item is None or item.auc.value is None:
            axes.text(lowest + 0.02, place, "too few", color=MUTED, fontsize=7, ha="left", va="center")
        else:
            _point(axes, place, item.auc, "s", hollow=_is_small(item))
    whole = comparison.cell(backbone, "weak", split)
    if whole and whole.auc.value is not None:
        axes.axvline(whole.auc.value, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))


def _share_axes(axes: Axes, comparison: Comparison, split: str, backbone: str, items: Sequence[SubgroupResult | None]) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel("Called correctly, %")
    for place, item in zip(_places_of(axes), items, strict=True):
        if item is not None:
            both = item.sensitivity.value is not None and item.specificity.value is not None
            _point(axes, place - 0.15 * both, item.sensitivity, "s")
            _point(axes, place + 0.15 * both, item.specificity, "o")


def _places_of(axes: Axes) -> list[float]:
    return [float(tick) for tick in axes.get_yticks()]


def _point(axes: Axes, place: float, estimate: Estimate, marker: str, *, hollow: bool = False) -> None:
    if estimate.value is None or estimate.interval is None:
        return
    axes.plot(estimate.interval, [place, place], color=_COLOUR, linewidth=1.3, solid_capstyle="butt")
    inside = "white" if hollow else _COLOUR
    axes.plot([estimate.value], [place], marker=marker, markersize=4.4, color=_COLOUR, markerfacecolor=inside)


def _is_small(item: SubgroupResult) -> bool:
    return min(item.n_malignant, item.n - item.n_malignant) < SMALL_CLASS


def _caption(comparison: Comparison, with_auc: bool, with_shares: bool) -> str:
    parts = ["n: images (malignant); bars: 95% intervals."]
    if with_auc:
        parts.append(
            f"AUC: the dashed line is the whole set; hollow where a class has fewer than {SMALL_CLASS} images, “too few” where"
            f" it has fewer than {comparison.settings['subgroup_minimum']}."
        )
    if with_shares:
        parts.append(
            "Of one histology there is one class only: squares show the sensitivity for malignant kinds, circles the"
            " specificity for benign ones, at the operating point."
        )
    parts.append("No test of interaction was made; the groups are small, and differences between them may well be chance.")
    return " ".join(parts)


def _words(item: SubgroupResult) -> str:
    who = f"{backbone_name(item.backbone)}, {variable_name(item.variable)} {item.level}"
    if item.variable not in ONE_CLASS:
        return f"{who}: {with_interval(item.auc, digits=2)}"
    shares = (("sensitivity", item.sensitivity), ("specificity", item.specificity))
    return f"{who}: " + ", ".join(f"{name} {percent_with_interval(s, digits=0)}%" for name, s in shares if s.value is not None)
