"""Figures that are drawn, not plotted: the flow of images (Figure 1) and the method (Figure 2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from textwrap import shorten

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from wsus.comparison.result import Comparison
from wsus.report.figures.canvas import MODE_COLOURS, MUTED, PNG_DPI, Drawing, render, style
from wsus.report.inputs import ReportInputs
from wsus.report.methods import find_setting
from wsus.report.wording import SPLIT_ORDER, backbone_name, mode_name, split_name
from wsus.types import CLASS_NAMES

_FILL = "#f4f6f8"
_MAX_REASONS = 6
_LINE_IN = 0.17
_LANES = {"weak": None, "manual_roi": "Radiologist's mask", "auto_roi": "U-Net's mask"}


def flow_drawing(inputs: ReportInputs, comparison: Comparison) -> Drawing:
    """Figure 1: images found, left out and why, taken, the sets they went to, and what the best weak network called them.

    After the flow diagram of STARD 2015 (Bossuyt et al., BMJ 351:h5527).
    """
    records = inputs.records
    reasons = _reasons(inputs)
    left_out = sum(reasons.values())
    splits = [split for split in SPLIT_ORDER if (records["split"] == split).any()]
    calls = {split: _calls(comparison, split) for split in splits}
    below = 1.15 if any(calls.values()) else 0.0
    slug = "figure1_flow"
    with style(slug):
        width = 8.6
        gap = 1.0 if left_out else 0.35
        figure, axes = _sheet(width, 3.15 + gap + below)
        top = 2.4 + gap + below
        _box(axes, (1.3, top, 2.6, 0.55), f"Images found\nn = {len(records) + left_out:,}", bold_first=True)
        if left_out:
            lines = [f"Left out, n = {left_out:,}", *_reason_lines(reasons)]
            _box(axes, (4.7, top - 0.75, 3.8, 0.2 + _LINE_IN * len(lines)), "\n".join(lines), align="left", bold_first=True)
            _arrow(axes, (2.6, top - 0.45), (4.7, top - 0.45))
        patients = records["patient_id"].nunique()
        taken = f"Images taken\nn = {len(records):,} of {patients:,} patients"
        _box(axes, (1.3, top - 0.55 - gap, 2.6, 0.55), taken, bold_first=True)
        _arrow(axes, (2.6, top), (2.6, top - gap))
        step = (width - 0.2) / len(splits)
        for place, split in enumerate(splits):
            x = 0.1 + place * step
            _box(axes, (x + 0.05, 0.1 + below, step - 0.1, 1.05), _set_words(records, split), bold_first=True)
            _elbow(axes, (2.6, top - 0.55 - gap), (x + step / 2, 1.15 + below), 1.5 + below)
            if calls[split]:
                _box(axes, (x + 0.05, 0.1, step - 0.1, 0.9), calls[split], edge=MODE_COLOURS["weak"])
                _arrow(axes, (x + step / 2, 0.1 + below), (x + step / 2, 1.0))
        return render(
            figure,
            slug=slug,
            title="Figure 1. Flow of images",
            caption=_flow_caption(comparison, unused="unused" in splits, called=any(calls.values())),
            alt=f"{len(records) + left_out} images found, {left_out} left out, {len(records)} taken.",
        )


def _set_words(records: pd.DataFrame, split: str) -> str:
    part = records[records["split"] == split]
    counts = (("images", len(part)), ("patients", part["patient_id"].nunique()))
    classes = ((name, int((part["label"] == label).sum())) for label, name in enumerate(CLASS_NAMES))
    return "\n".join([split_name(split), *(f"{count:,} {word}" for word, count in (*counts, *classes))])


def _calls(comparison: Comparison, split: str) -> str:
    """What the best weak network called the images of a validation set; empty for the other sets."""
    cell = comparison.cell(comparison.best_weak, "weak", split) if comparison.best_weak else None
    if cell is None or split not in ("internal", "external"):
        return ""
    return (
        f"Called malignant: {cell.tp + cell.fp}\n{cell.tp} malignant, {cell.fp} benign\n"
        f"Called benign: {cell.tn + cell.fn}\n{cell.tn} benign, {cell.fn} malignant"
    )


def _flow_caption(comparison: Comparison, *, unused: bool, called: bool) -> str:
    words = "Every image of the sources, those left out and why, and the set each went to."
    if unused:
        words += (
            " Unused: images beyond the sizes that were asked for, and further images of a patient; no patient is in two of the"
        )
        words += " other sets."
    else:
        words += " No patient is in two sets."
    if called and comparison.best_weak:
        name = backbone_name(comparison.best_weak)
        words += f" Below: what the weakly-supervised {name}, chosen on the development set, called them, and what they are."
    return words


def method_drawing(inputs: ReportInputs, modes: Sequence[str]) -> Drawing:
    """Figure 2: weak supervision sees the whole image and its label; full supervision sees a region somebody drew."""
    slug = "figure2_method"
    config = inputs.study.get("config", {})
    margin, threshold = find_setting(config, "margin_px"), find_setting(config, "cam_threshold")
    lanes = [mode for mode in _LANES if mode in modes]
    with style(slug):
        figure, axes = _sheet(8.6, 0.85 * len(lanes) + 0.05)
        for place, mode in enumerate(lanes):
            colour, mask, y = MODE_COLOURS[mode], _LANES[mode], 0.25 + 0.85 * (len(lanes) - 1 - place)
            axes.text(0.05, y + 0.22, mode_name(mode), color=colour, fontweight="bold", va="center", fontsize=9)
            _box(axes, (1.25, y, 0.95, 0.45), "Whole image", edge=colour)
            if mask:
                cropped = f"{mask}\n" + ("cropped" if margin is None else f"+ {margin} px, cropped")
                _box(axes, (2.5, y, 1.25, 0.45), cropped, edge=colour)
                _arrow(axes, (2.2, y + 0.22), (2.5, y + 0.22))
            _arrow(axes, (3.75 if mask else 2.2, y + 0.22), (4.1, y + 0.22))
            _box(axes, (4.1, y, 1.75, 0.45), "Convolutional network,\nglobal average pooling", edge=colour)
            _arrow(axes, (5.85, y + 0.22), (6.15, y + 0.22))
            _box(axes, (6.15, y, 1.0, 0.45), "Probability of\nmalignancy", edge=colour)
            if mode == "weak":
                _arrow(axes, (7.15, y + 0.22), (7.4, y + 0.22))
                focus = "" if threshold is None else f",\nfocus ≥ {threshold:g}"
                _box(axes, (7.4, y - 0.1, 1.15, 0.65), f"Class\nactivation map{focus}", edge=colour)
        return render(
            figure,
            slug=slug,
            title=f"Figure 2. The supervision mode{'s' if len(lanes) > 1 else ''}",
            caption=(
                "Weak supervision learns from whole images and their labels; no region is drawn, in training or in use. The class"
                " activation map then shows where the network looked."
            ),
            alt=f"From image to probability of malignancy: {', '.join(mode_name(mode).lower() for mode in lanes)}.",
        )


def _sheet(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_in, height_in), dpi=PNG_DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width_in)
    axes.set_ylim(0, height_in)
    axes.set_axis_off()
    return figure, axes


def _box(
    axes: Axes,
    xywh: tuple[float, float, float, float],
    words: str,
    *,
    edge: str = MUTED,
    align: str = "center",
    bold_first: bool = False,
) -> None:
    x, y, width, height = xywh
    shape = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, facecolor=_FILL, edgecolor=edge, linewidth=0.9))
    lines = words.split("\n")
    top = y + height / 2 + _LINE_IN * (len(lines) - 1) / 2
    for place, line in enumerate(lines):
        axes.text(
            x + (width / 2 if align == "center" else 0.12),
            top - place * _LINE_IN,
            line,
            ha=align,
            va="center",
            fontsize=7.6,
            fontweight="bold" if bold_first and place == 0 else "normal",
        )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, color=MUTED, linewidth=0.9, shrinkA=0, shrinkB=0)
    axes.add_patch(arrow)


def _elbow(axes: Axes, start: tuple[float, float], end: tuple[float, float], y_between: float) -> None:
    axes.plot([start[0], start[0], end[0]], [start[1], y_between, y_between], color=MUTED, linewidth=0.9)
    _arrow(axes, (end[0], y_between), end)


def _reasons(inputs: ReportInputs) -> dict[str, int]:
    """Why images were left out, and how many; what follows a semicolon names single images."""
    reasons: dict[str, int] = defaultdict(int)
    for item in inputs.left_out:
        reasons[str(item["reason"]).partition(";")[0]] += int(item.get("count", 1))
    return reasons


def _reason_lines(reasons: dict[str, int]) -> list[str]:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{count:,}  {shorten(reason, 56, placeholder=' …')}" for reason, count in ordered[:_MAX_REASONS]]
    rest = ordered[_MAX_REASONS:]
    return lines + ([f"{sum(count for _, count in rest):,}  for {len(rest)} other reasons"] if rest else [])
