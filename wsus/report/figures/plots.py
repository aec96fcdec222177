"""ROC curves, calibration and training curves."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes

from wsus.comparison.localisation_result import BoxAccuracyCurve
from wsus.comparison.result import CellResult, Comparison
from wsus.evaluation.auc import roc_curve
from wsus.report.figures.canvas import (
    INK,
    MODE_COLOURS,
    MODE_LINES,
    MUTED,
    PANEL_COLUMNS,
    Drawing,
    panel_grid,
    panels,
    render,
    style,
    unit_axes,
)
from wsus.report.inputs import CellArtefacts, ReportInputs
from wsus.report.wording import backbone_name, mode_name, number, percent, with_interval
from wsus.types import ENSEMBLE


def roc_drawing(comparison: Comparison, chosen: pd.DataFrame, split: str) -> Drawing | None:
    """ROC curves of all cells on one split, a panel per network, with the operating point and its exact intervals."""
    cells = [cell for cell in comparison.cells if cell.split == split and cell.auc.value is not None]
    if not cells:
        return None
    slug = f"roc_{split}"
    backbones = [name for name in comparison.backbones if any(cell.backbone == name for cell in cells)]
    with style(slug):
        figure, grid = panel_grid(len(backbones), (2.55, 2.55))
        for place, (axes, backbone) in enumerate(zip(grid, backbones, strict=False)):
            unit_axes(axes, "1 − specificity", "" if place % PANEL_COLUMNS else "Sensitivity")
            axes.set_title(backbone_name(backbone))
            for cell in cells:
                if cell.backbone == backbone:
                    _roc(axes, cell, chosen)
            axes.legend(loc="lower right", handlelength=2.2, borderaxespad=0.2)
        return render(
            figure,
            slug=slug,
            title=f"ROC curves, {split} validation set",
            caption=(
                "Area under the curve with its 95% interval in the legend. Crosses: the operating point with the exact"
                " 95% intervals of sensitivity and specificity."
            ),
            alt=_roc_words(cells, split),
        )


def _roc(axes: Axes, cell: CellResult, chosen: pd.DataFrame) -> None:
    rows = _rows_of(chosen, cell)
    curve = roc_curve(rows["label"], rows["pom"])
    colour = MODE_COLOURS[cell.mode]
    label = f"{mode_name(cell.mode)}  {with_interval(cell.auc, digits=2)}"
    axes.plot(
        curve.false_positive_rate, curve.sensitivity, color=colour, linestyle=MODE_LINES[cell.mode], linewidth=1.5, label=label
    )
    sensitivity, specificity = cell.sensitivity, cell.specificity
    if sensitivity.value is None or specificity.value is None or not sensitivity.interval or not specificity.interval:
        return
    x, y = 1 - specificity.value, sensitivity.value
    axes.plot([1 - bound for bound in specificity.interval], [y, y], color=colour, linewidth=0.9, alpha=0.6)
    axes.plot([x, x], sensitivity.interval, color=colour, linewidth=0.9, alpha=0.6)
    axes.plot([x], [y], marker="o", markersize=3.6, color=colour, markeredgecolor="white", markeredgewidth=0.6)


def _roc_words(cells: Iterable[CellResult], split: str) -> str:
    words = (f"{backbone_name(cell.backbone)} {mode_name(cell.mode).lower()} {number(cell.auc.value, 2)}" for cell in cells)
    return f"ROC curves on the {split} set. AUC: {'; '.join(words)}."


def calibration_drawing(comparison: Comparison, split: str) -> Drawing | None:
    """Observed share of malignant images by predicted probability, in bins of equal size, with exact intervals."""
    cells = [cell for cell in comparison.cells if cell.split == split and cell.reliability]
    if not cells:
        return None
    slug = f"calibration_{split}"
    backbones = [name for name in comparison.backbones if any(cell.backbone == name for cell in cells)]
    with style(slug):
        figure, grid = panel_grid(len(backbones), (2.55, 2.55))
        for place, (axes, backbone) in enumerate(zip(grid, backbones, strict=False)):
            unit_axes(axes, "Probability of malignancy", "" if place % PANEL_COLUMNS else "Observed share malignant")
            axes.set_title(backbone_name(backbone))
            for cell in cells:
                if cell.backbone == backbone:
                    _reliability(axes, cell)
            axes.legend(loc="lower right", handlelength=2.2, borderaxespad=0.2)
        return render(
            figure,
            slug=slug,
            title=f"Calibration, {split} validation set",
            caption=(
                "Points: bins with equally many images; bars: exact 95% intervals, drawn for weak supervision. On the dotted"
                " diagonal a probability is what it says. Slope: 1 is right, below 1 the probabilities are too extreme."
            ),
            alt="Calibration. "
            + "; ".join(
                f"{backbone_name(c.backbone)} {mode_name(c.mode).lower()}: Brier {number(c.brier.value, 2)},"
                f" slope {number(c.calibration_slope.value, 2)}"
                for c in cells
            ),
        )


def _reliability(axes: Axes, cell: CellResult) -> None:
    colour = MODE_COLOURS[cell.mode]
    x = [part.mean_pom for part in cell.reliability]
    y = [part.observed.value or 0.0 for part in cell.reliability]
    if cell.mode == "weak":
        for part in cell.reliability:
            axes.plot([part.mean_pom] * 2, part.observed.interval or (), color=colour, linewidth=0.8, alpha=0.5)
    label = f"{mode_name(cell.mode)}  slope {number(cell.calibration_slope.value, 2)}"
    axes.plot(x, y, color=colour, linestyle=MODE_LINES[cell.mode], linewidth=1.2, marker="o", markersize=3, label=label)


def box_accuracy_drawing(comparison: Comparison, split: str) -> Drawing | None:
    """Share of images whose box reaches an IoU of 0.5, by threshold on the map (Choe et al. 2020), a panel per network."""
    found = [(item, item.curve) for item in comparison.localisation if item.split == split and item.curve is not None]
    if not found:
        return None
    slug = f"box_accuracy_{split}"
    with style(slug):
        figure, grid = panel_grid(len(found), (2.55, 1.9))
        highest = max(max(*curve.own, *curve.centre_box, *curve.random_map) for _, curve in found)
        for place, (axes, (item, curve)) in enumerate(zip(grid, found, strict=False)):
            axes.set_title(backbone_name(item.backbone))
            _box_accuracy(axes, curve)
            axes.set_ylim(-0.02, 1.45 * highest + 0.02)
            axes.set_ylabel("" if place % PANEL_COLUMNS else "Images with IoU ≥ 0.5")
        return render(
            figure,
            slug=slug,
            title=f"Box accuracy by threshold on the map, {split} validation set",
            caption=(
                "The centred box spans 1 − threshold of each side. The peak is MaxBoxAcc; the dot is the threshold that the"
                " development set chose. A threshold chosen on the images that are scored flatters every line."
            ),
            alt="; ".join(
                f"{backbone_name(item.backbone)}: at best {percent(max(curve.own), 0)}%, centred box"
                f" {percent(max(curve.centre_box), 0)}%, random map {percent(max(curve.random_map), 0)}%"
                for item, curve in found
            ),
        )


def _box_accuracy(axes: Axes, curve: BoxAccuracyCurve) -> None:
    lines = (
        ("Class activation map", curve.own, MODE_COLOURS["weak"], "-"),
        ("Centred box", curve.centre_box, INK, (0, (5, 2))),
        ("Random map", curve.random_map, MUTED, (0, (1.5, 1.5))),
    )
    for name, shares, colour, line in lines:
        axes.plot(curve.thresholds, shares, color=colour, linestyle=line, linewidth=1.3, label=name)
    if curve.development is not None:
        height = curve.own[curve.thresholds.index(curve.development)]
        axes.plot([curve.development], [height], marker="o", markersize=4, color=MODE_COLOURS["weak"])
    axes.set_xlim(0, 1)
    axes.set_xlabel("Threshold")
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    axes.legend(loc="upper right", handlelength=2.2, borderaxespad=0.2)


def training_drawing(inputs: ReportInputs, backbones: Iterable[str]) -> Drawing | None:
    """AUC and loss on the development split by epoch, a column per network; the chosen seed bold, the others faint."""
    cells = [cell for cell in inputs.cells if not cell.history.empty]
    names = [name for name in backbones if any(cell.backbone == name for cell in cells)]
    if not names:
        return None
    slug = "training"
    with style(slug):
        width = min(2.55, 8.0 / len(names))
        figure, rows = panels(2, len(names), panel_in=(width, 1.55), gap_in=(0.5, 0.28), margins_in=(0.6, 0.12, 0.48, 0.32))
        for column, name in enumerate(names):
            for cell in cells:
                if cell.backbone == name:
                    _curves(rows[0][column], cell, "development_auc")
                    _curves(rows[1][column], cell, "development_loss")
            rows[0][column].set_title(backbone_name(name))
            rows[0][column].tick_params(labelbottom=False)
            rows[1][column].set_xlabel("Epoch")
            for row in rows:
                row[column].grid(visible=True)
                row[column].set_axisbelow(True)
            rows[0][column].legend(loc="lower right", handlelength=2.2)
        rows[0][0].set_ylabel("Development AUC")
        rows[1][0].set_ylabel("Development loss")
        return render(
            figure,
            slug=slug,
            title="Training",
            caption="Development split, by epoch. Bold: the seeds that the tables use; dot: the best epoch of the best seed.",
            alt="Development AUC and loss by epoch for every network and supervision mode.",
        )


def _curves(axes: Axes, cell: CellArtefacts, column: str) -> None:
    colour, best = MODE_COLOURS.get(cell.mode, MUTED), cell.info.get("best_seed")
    keys = [name for name in ("seed", "sample") if name in cell.history.columns]
    labelled = False
    for key, part in cell.history.groupby(keys, sort=True):
        chosen = best is not None and best in (key[0], ENSEMBLE)
        is_first = chosen and not labelled
        labelled = labelled or is_first
        axes.plot(
            part["epoch"],
            part[column],
            color=colour,
            linestyle=MODE_LINES.get(cell.mode, "-"),
            linewidth=1.4 if chosen else 0.7,
            alpha=1.0 if chosen else 0.35,
            label=mode_name(cell.mode) if is_first else None,
        )
        at = part[part["epoch"] == cell.info.get("best_epoch")]
        if chosen and len(at):
            axes.plot(at["epoch"], at[column], marker="o", markersize=3.6, color=colour)


def _rows_of(chosen: pd.DataFrame, cell: CellResult) -> pd.DataFrame:
    return chosen[(chosen["backbone"] == cell.backbone) & (chosen["mode"] == cell.mode) & (chosen["split"] == cell.split)]
