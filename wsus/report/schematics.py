"""Figures that are drawn, not plotted: the flow of images (Figure 1) and the method (Figure 2)."""

from __future__ import annotations

from collections import defaultdict
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from wsus.report.canvas import MODE_COLOURS, MUTED, PNG_DPI, Drawing, render, style
from wsus.report.inputs import ReportInputs
from wsus.report.wording import SPLIT_ORDER, split_name

_FILL = "#f4f6f8"
_MAX_REASONS = 6
_LANES = (
    ("weak", 1.95, "Weak", None),
    ("manual_roi", 1.1, "Manual ROI", "Radiologist's mask"),
    ("auto_roi", 0.25, "Automatic ROI", "U-Net's mask"),
)


def flow_drawing(inputs: ReportInputs) -> Drawing:
    """Figure 1: images found, left out and why, taken, and the sets they went to (after STARD 2015)."""
    records = inputs.records
    reasons: dict[str, int] = defaultdict(int)
    for item in inputs.left_out:
        reasons[str(item["reason"])] += int(item.get("count", 1))
    left_out = sum(reasons.values())
    splits = [split for split in SPLIT_ORDER if (records["split"] == split).any()]
    slug = "figure1_flow"
    with style(slug):
        width, height = 8.6, 3.9
        figure, axes = _sheet(width, height)
        found = f"Images found\nn = {len(records) + left_out:,}"
        _box(axes, (1.3, 3.15, 2.6, 0.55), found, bold_first=True)
        if left_out:
            _box(
                axes, (4.9, 2.35, 3.5, 0.24 + 0.17 * (1 + len(_reason_lines(reasons)))), _reasons(left_out, reasons), align="left"
            )
            _arrow(axes, (2.6, 2.72), (4.9, 2.72))
        patients = records["patient_id"].nunique()
        _box(axes, (1.3, 1.6, 2.6, 0.55), f"Images taken\nn = {len(records):,} of {patients:,} patients", bold_first=True)
        _arrow(axes, (2.6, 3.15), (2.6, 2.15))
        step = (width - 0.2) / len(splits)
        for place, split in enumerate(splits):
            part = records[records["split"] == split]
            x = 0.1 + place * step
            words = (
                f"{split_name(split)}\n{len(part):,} images, {part['patient_id'].nunique():,} patients\n"
                f"{int((part['label'] == 0).sum()):,} benign, {int((part['label'] == 1).sum()):,} malignant"
            )
            _box(axes, (x + 0.05, 0.1, step - 0.1, 0.78), words, bold_first=True)
            _elbow(axes, (2.6, 1.6), (x + step / 2, 0.88), 1.24)
        return render(
            figure,
            slug=slug,
            title="Figure 1. Flow of images",
            caption="Every image of the sources, those left out and why, and the set each went to. No patient is in two sets.",
            alt=f"{len(records) + left_out} images found, {left_out} left out, {len(records)} taken.",
        )


def method_drawing() -> Drawing:
    """Figure 2: weak supervision sees the whole image and its label; full supervision sees a region somebody drew."""
    slug = "figure2_method"
    with style(slug):
        figure, axes = _sheet(8.6, 2.55)
        lanes = (
            ("weak", 1.95, "Weak", None),
            ("manual_roi", 1.1, "Manual ROI", "Radiologist's mask"),
            ("auto_roi", 0.25, "Automatic ROI", "U-Net's mask"),
        )
        for mode, y, name, mask in lanes:
            colour = MODE_COLOURS[mode]
            axes.text(0.05, y + 0.22, name, color=colour, fontweight="bold", va="center", fontsize=9)
            _box(axes, (1.25, y, 0.95, 0.45), "Whole image", edge=colour)
            if mask:
                _box(axes, (2.5, y, 1.25, 0.45), f"{mask}\n+ 30 px, cropped", edge=colour)
                _arrow(axes, (2.2, y + 0.22), (2.5, y + 0.22))
            _arrow(axes, (3.75 if mask else 2.2, y + 0.22), (4.1, y + 0.22))
            _box(axes, (4.1, y, 1.75, 0.45), "Convolutional network,\nglobal average pooling", edge=colour)
            _arrow(axes, (5.85, y + 0.22), (6.15, y + 0.22))
            _box(axes, (6.15, y, 1.0, 0.45), "Probability of\nmalignancy", edge=colour)
        _arrow(axes, (7.15, 2.17), (7.4, 2.17))
        _box(axes, (7.4, 1.85, 1.15, 0.65), "Class\nactivation map,\nfocus ≥ 0.3", edge=MODE_COLOURS["weak"])
        return render(
            figure,
            slug=slug,
            title="Figure 2. The three supervision modes",
            caption=(
                "Weak supervision learns from whole images and their labels; no region is drawn, in training or in use. The class"
                " activation map then shows where the network looked."
            ),
            alt="Three lanes from image to probability of malignancy: weak, manual region, automatic region.",
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
    pitch = 0.17
    top = y + height / 2 + pitch * (len(lines) - 1) / 2
    for place, line in enumerate(lines):
        axes.text(
            x + (width / 2 if align == "center" else 0.12),
            top - place * pitch,
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


def _reason_lines(reasons: dict[str, int]) -> list[str]:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{count:,}  {wrap(reason, 48)[0]}" for reason, count in ordered[:_MAX_REASONS]]
    rest = ordered[_MAX_REASONS:]
    return lines + ([f"{sum(count for _, count in rest):,}  for {len(rest)} other reasons"] if rest else [])


def _reasons(total: int, reasons: dict[str, int]) -> str:
    return "\n".join([f"Left out, n = {total:,}", *_reason_lines(reasons)])
