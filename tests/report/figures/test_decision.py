"""Decision curves are drawn for what is there, and say in words where they are of use."""

from __future__ import annotations

import dataclasses

from wsus.comparison.result import Comparison, DecisionCurveResult
from wsus.report.figures.decision import decision_drawing


def test_words_name_the_thresholds_at_which_a_network_is_of_use(comparison: Comparison) -> None:
    cell = comparison.cell("vgg16", "weak", "internal")
    assert cell is not None
    useful = DecisionCurveResult(
        threshold=(0.2, 0.4, 0.6, 0.8),
        net_benefit=(0.3, 0.35, 0.2, -0.1),
        treat_all=(0.375, 0.17, -0.25, -1.5),
        low=(0.2, 0.25, 0.1, -0.2),
        high=(0.4, 0.45, 0.3, 0.0),
        prevalence=0.5,
    )
    never = dataclasses.replace(useful, net_benefit=(0.3, 0.1, -0.1, -0.1))
    cells = (
        dataclasses.replace(cell, decision_curve=useful),
        dataclasses.replace(cell, backbone="resnet34", decision_curve=never),
        dataclasses.replace(cell, mode="manual_roi", decision_curve=None),
    )

    drawing = decision_drawing(dataclasses.replace(comparison, cells=cells), "internal")

    assert drawing is not None
    assert drawing.alt == (
        "Decision curves. VGG16 weak: above both at thresholds from 0.40 to 0.60; ResNet34 weak: nowhere above both"
    )
    assert "share of cancers of 50.0%" in drawing.caption


def test_no_curve_no_drawing(comparison: Comparison) -> None:
    assert decision_drawing(dataclasses.replace(comparison, cells=()), "internal") is None
