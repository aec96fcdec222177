"""Every figure of a report, in its order."""

from __future__ import annotations

from wsus.comparison.compare import chosen_predictions
from wsus.comparison.result import Comparison
from wsus.report.figures.canvas import Drawing
from wsus.report.figures.decision import decision_drawing
from wsus.report.figures.forest import forest_drawing
from wsus.report.figures.gallery import gallery_drawing
from wsus.report.figures.hard_cases import hard_case_drawings
from wsus.report.figures.plots import box_accuracy_drawing, calibration_drawing, roc_drawing, training_drawing
from wsus.report.figures.schematics import flow_drawing, method_drawing
from wsus.report.inputs import ReportInputs

SCORED = ("internal", "external")


def all_figures(comparison: Comparison, inputs: ReportInputs) -> tuple[Drawing, ...]:
    """Figures 1 to 3 of the paper, ROC, calibration, decision curves, subgroups, training; those without data are left out."""
    chosen = chosen_predictions(inputs.predictions, comparison)
    splits = [split for split in SCORED if split in comparison.splits]
    drawings = [
        flow_drawing(inputs, comparison),
        method_drawing(inputs, comparison.modes),
        *(gallery_drawing(cell) for cell in inputs.cells if cell.mode == "weak"),
        *(roc_drawing(comparison, chosen, split) for split in splits),
        *(calibration_drawing(comparison, split) for split in splits),
        *(box_accuracy_drawing(comparison, split) for split in splits),
        *(decision_drawing(comparison, split) for split in splits),
        *(forest_drawing(comparison, split) for split in splits),
        *hard_case_drawings(comparison, inputs),
        training_drawing(inputs, comparison.backbones),
    ]
    return tuple(drawing for drawing in drawings if drawing is not None)
