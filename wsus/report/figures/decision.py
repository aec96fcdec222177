"""Decision curves: is it worth acting on a probability of malignancy?"""

from __future__ import annotations

from matplotlib.axes import Axes

from wsus.comparison.result import CellResult, Comparison, DecisionCurveResult
from wsus.report.figures.canvas import MODE_COLOURS, MODE_LINES, MUTED, PANEL_COLUMNS, Drawing, panel_grid, render, style
from wsus.report.wording import backbone_name, mode_name, percent

_ALL, _NONE = (0, (4, 2)), (0, (1, 2))


def decision_drawing(comparison: Comparison, split: str) -> Drawing | None:
    """Net benefit by threshold probability on one split, a panel per network, beside acting on all images and on none."""
    cells = [cell for cell in comparison.cells if cell.split == split and cell.decision_curve is not None]
    if not cells:
        return None
    slug = f"decision_{split}"
    backbones = [name for name in comparison.backbones if any(cell.backbone == name for cell in cells)]
    curve = cells[0].decision_curve
    share = curve.prevalence if curve is not None else 0.0
    given = comparison.settings["prevalence"] is not None
    with style(slug):
        figure, grid = panel_grid(len(backbones), (2.55, 2.1))
        for place, (axes, backbone) in enumerate(zip(grid, backbones, strict=False)):
            axes.set_title(backbone_name(backbone))
            axes.set_xlabel("Threshold probability")
            axes.set_ylabel("" if place % PANEL_COLUMNS else "Net benefit")
            _panel(axes, [cell for cell in cells if cell.backbone == backbone], share)
        return render(
            figure,
            slug=slug,
            title=f"Decision curves, {split} validation set",
            caption=(
                "Net benefit per image, in cancers found, of acting on the images at or above a threshold probability (Vickers"
                " and Elkin 2006). A threshold of 0.1 takes nine needless biopsies as the price of one cancer found. A network is"
                " of use where its line lies above both grey ones. Band: pointwise interval of weak supervision, over patients."
                f" It holds at a share of cancers of {percent(share)}%, {'as the study states' if given else 'that of this set'}."
            ),
            alt="Decision curves. " + "; ".join(_words(cell) for cell in cells),
        )


def _panel(axes: Axes, cells: list[CellResult], share: float) -> None:
    for cell in cells:
        curve = cell.decision_curve
        if curve is not None:
            colour, line = MODE_COLOURS[cell.mode], MODE_LINES[cell.mode]
            if cell.mode == "weak":
                axes.fill_between(curve.threshold, curve.low, curve.high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(curve.threshold, curve.net_benefit, color=colour, linestyle=line, linewidth=1.5, label=mode_name(cell.mode))
    reference = cells[0].decision_curve
    if reference is not None:
        axes.plot(reference.threshold, reference.treat_all, color=MUTED, linestyle=_ALL, linewidth=0.9, label="all images")
    axes.plot([0, 1], [0, 0], color=MUTED, linestyle=_NONE, linewidth=0.9, label="none")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.2 * share, 1.08 * share)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    axes.legend(loc="best", handlelength=2.2, borderaxespad=0.2)


def _words(cell: CellResult) -> str:
    found = cell.decision_curve and _useful(cell.decision_curve)
    where = f"above both at thresholds from {found[0]:.2f} to {found[1]:.2f}" if found else "nowhere above both"
    return f"{backbone_name(cell.backbone)} {mode_name(cell.mode).lower()}: {where}"


def _useful(curve: DecisionCurveResult) -> tuple[float, float] | None:
    """The lowest and the highest threshold at which the curve lies above acting on all and on none; None where it never does."""
    rows = zip(curve.threshold, curve.net_benefit, curve.treat_all, strict=True)
    useful = [threshold for threshold, benefit, treat_all in rows if benefit > max(treat_all, 0.0)]
    return (useful[0], useful[-1]) if useful else None
