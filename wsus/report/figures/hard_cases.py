"""The hardest cases as pictures: the image, what each weak network looked at, and what every cell said."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wsus.comparison.result import Comparison, HardCase
from wsus.report.figures.canvas import MODE_COLOURS, MUTED, Drawing, panels, render, style
from wsus.report.figures.gallery import bare, coloured, outlined, overlaid, show_picture
from wsus.report.inputs import HardCasePicture, ReportInputs
from wsus.report.wording import backbone_name, mode_name, number, split_name
from wsus.types import CLASS_NAMES

CASES_PER_FIGURE = 4  # as many as a printed page holds
_MARKERS = {"weak": "o", "manual_roi": "s", "auto_roi": "^"}
_WIDTH_IN = 8.6


def hard_case_drawings(comparison: Comparison, inputs: ReportInputs) -> tuple[Drawing, ...]:
    """The hardest cases of which the study kept a picture, a few to a figure; none where it kept none."""
    picture_of = {(picture.split, picture.image_id): picture for picture in inputs.hard_pictures}
    pairs = [(case, picture_of.get((case.split, case.image_id))) for case in comparison.hard_cases]
    shown = [(case, picture) for case, picture in pairs if picture is not None]
    parts = [shown[start : start + CASES_PER_FIGURE] for start in range(0, len(shown), CASES_PER_FIGURE)]
    return tuple(_drawing(comparison, part, place, len(parts)) for place, part in enumerate(parts, start=1))


def _drawing(comparison: Comparison, part: Sequence[tuple[HardCase, HardCasePicture]], place: int, places: int) -> Drawing:
    backbones = [name for name in comparison.backbones if all(name in picture.cam_of for _, picture in part)]
    columns = len(backbones) + 2
    right = 0.95
    width = min(1.75, (_WIDTH_IN - right - 0.08 * (columns - 1)) / columns)
    slug = f"hard_cases_{place}"
    with style(slug):
        figure, rows = panels(
            len(part), columns, panel_in=(width, 0.85 * width), gap_in=(0.08, 0.5), margins_in=(0.04, right, 0.62, 0.3)
        )
        for axes, (case, picture) in zip(rows, part, strict=True):
            _pictures(axes[:-1], case, picture, backbones)
            _poms(axes[-1], comparison, case)
        _legend(figure, comparison.modes)
        masked = any(picture.mask_HW is not None for _, picture in part)
        outline = " Yellow: the outline of the manual mask, which weak networks never saw." if masked else ""
        return render(
            figure,
            slug=slug,
            title="The hardest cases" + (f", {place} of {places}" if places > 1 else ""),
            caption=(
                "Left: the image; then the map of the class that each weak network called, with its probability of malignancy"
                f" (POM).{outline} Right: the POM of every cell; the dashed line is the operating point."
            ),
            alt="; ".join(_words(case) for case, _ in part),
            photographs=True,
        )


def _pictures(line: Sequence[Axes], case: HardCase, picture: HardCasePicture, backbones: Sequence[str]) -> None:
    for axes in line:
        bare(axes)
    line[0].set_title(_words(case), fontsize=8)
    show_picture(line[0], outlined(coloured(picture.image_HW), picture.mask_HW), side="left")
    said = {(item.backbone, item.mode): item.pom for item in case.poms}
    for axes, backbone in zip(line[1:], backbones, strict=True):
        show_picture(axes, outlined(overlaid(picture.image_HW, picture.cam_of[backbone]), picture.mask_HW), side="left")
        words = f"{backbone_name(backbone)}, POM {number(said.get((backbone, 'weak')), 2)}"
        axes.set_xlabel(words, fontsize=7.5, labelpad=3, loc="left")


def _poms(axes: Axes, comparison: Comparison, case: HardCase) -> None:
    """One line per network, one mark per mode; the networks' names stand at the right."""
    height = {backbone: place for place, backbone in enumerate(comparison.backbones)}
    modes = list(comparison.modes)
    for item in case.poms:
        nudge = 0.18 * (modes.index(item.mode) - (len(modes) - 1) / 2)
        axes.plot(
            [item.pom],
            [height[item.backbone] + nudge],
            marker=_MARKERS[item.mode],
            markersize=5,
            color=MODE_COLOURS[item.mode],
            clip_on=False,
        )
    points = sorted({cell.operating_point for cell in comparison.cells})
    for point in points:
        axes.axvline(point, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_xlim(0, 1)
    axes.set_ylim(len(height) - 0.5, -0.5)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.yaxis.tick_right()
    axes.set_yticks(list(height.values()), [backbone_name(name) for name in height])
    axes.tick_params(axis="y", length=0, pad=7)  # a mark may stand at 1
    axes.grid(visible=True, axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("POM", fontsize=7.5, labelpad=1)


def _legend(figure: Figure, modes: Sequence[str]) -> None:
    marks = [
        Line2D([], [], color=MODE_COLOURS[mode], marker=_MARKERS[mode], markersize=5, linestyle="", label=mode_name(mode))
        for mode in modes
    ]
    figure.legend(handles=marks, loc="lower right", ncols=len(marks), borderaxespad=0.3, handletextpad=0.2)


def _words(case: HardCase) -> str:
    return (
        f"{case.image_id} ({split_name(case.split).lower()} set): {CLASS_NAMES[case.label]},"
        f" called wrongly by {case.wrong} of {case.cells} cells"
    )
