"""A cell of a comparison: counts, shares, ratios and intervals, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_cells import LABELS, QUICK, WEAK, cell_of

from wsus.comparison.compare import ComparisonConfig, compare
from wsus.evaluation.auc import auc_with_interval


def test_counts_and_shares_are_those_of_the_hand_worked_cell(two_modes: pd.DataFrame) -> None:
    cell = compare(two_modes, QUICK).cell("net", "weak", "internal")

    assert cell is not None
    assert (cell.tp, cell.fn, cell.tn, cell.fp) == (3, 1, 3, 1)
    assert (cell.sensitivity.x, cell.sensitivity.n, cell.sensitivity.value) == (3, 4, 0.75)
    assert cell.auc.value == pytest.approx(14 / 16)  # of the 16 pairs only 0.7 > 0.4 and 0.7 > 0.6 stand the wrong way round
    assert cell.brier.value == pytest.approx(np.mean((np.array(WEAK) - LABELS) ** 2))


def test_cell_has_its_ratios_partial_areas_and_decision_curve(two_modes: pd.DataFrame) -> None:
    cell = compare(two_modes, QUICK).cell("net", "weak", "internal")

    assert cell is not None
    assert (cell.lr_positive.value, cell.lr_negative.value) == (pytest.approx(3.0), pytest.approx(1 / 3))
    assert cell.lr_positive.method == "exact unconditional"
    assert [(part.focus, part.low) for part in cell.partial_auc] == [("specificity", 0.8), ("sensitivity", 0.8)]
    # the benign image of 0.7 is the first to be called: below 1/4 the curve stays where two malignant images put it
    assert cell.partial_auc[0].area.value == pytest.approx(0.2 * 2 / 4)
    assert cell.auc_se == pytest.approx((auc_with_interval(LABELS, WEAK).variance or 0) ** 0.5)
    assert cell.decision_curve is not None
    at_half = cell.decision_curve.threshold.index(0.5)
    assert cell.decision_curve.net_benefit[at_half] == pytest.approx(3 / 8 - 1 / 8)
    assert cell.decision_curve.treat_all[at_half] == pytest.approx(0.0)


def test_interval_over_patients_is_on_the_logit_scale(two_modes: pd.DataFrame) -> None:
    cell = compare(two_modes, QUICK).cell("net", "weak", "internal")

    assert cell is not None
    assert cell.auc_clustered.interval == auc_with_interval(LABELS, WEAK).ci_logit  # one image per patient
    assert cell.auc_clustered.method == "Obuchowski, logit"


def test_perfect_cell_gets_the_score_interval_and_says_so() -> None:
    cell = compare(cell_of("net", "weak", [0.1] * 4 + [0.9] * 4, LABELS), QUICK).cell("net", "weak", "internal")

    assert cell is not None
    assert cell.auc.value == 1.0
    assert cell.auc.low is not None
    assert cell.auc.low < 1.0
    assert cell.auc.method == "Newcombe score"
    assert "no width" in (cell.auc.note or "")
    assert (cell.auc_clustered.value, cell.auc_clustered.low) == (1.0, pytest.approx(cell.auc.low))  # one image per patient
    assert "no width" in (cell.auc_clustered.note or "")


def test_split_of_one_class_has_shares_but_no_auc() -> None:
    table = pd.concat([cell_of("net", mode, [0.2, 0.7], [1, 1]) for mode in ("weak", "manual_roi")])
    comparison = compare(table, QUICK)

    cell, pair = comparison.cell("net", "weak", "internal"), comparison.pair("net", "manual_roi", "internal")
    assert cell is not None
    assert (cell.auc.value, cell.sensitivity.value, cell.specificity.value) == (None, 0.5, None)
    assert pair is not None
    assert (pair.p, pair.noninferiority, pair.flags) == (None, None, ("one_class",))
    assert (cell.partial_auc, cell.decision_curve, cell.lr_positive.value, cell.auc_se) == ((), None, None, None)
    assert (pair.power_auc, pair.power_specificity) == (None, None)


def test_bootstrap_is_left_out_at_zero_draws(two_modes: pd.DataFrame) -> None:
    cell = compare(two_modes, ComparisonConfig(bootstrap=0)).cells[0]

    assert (cell.auc_bootstrap.value, cell.auc_bootstrap.note) == (None, "the bootstrap was left out")


def test_figures_of_several_images_of_a_patient_are_over_patients(two_modes: pd.DataFrame) -> None:
    copies = pd.concat([two_modes.assign(image_id=two_modes["image_id"] + f"-{k}") for k in range(4)], ignore_index=True)
    once, often = (compare(table, QUICK).cell("net", "weak", "internal") for table in (two_modes, copies))

    assert once is not None
    assert often is not None
    assert often.auc.method == "Obuchowski, logit"
    assert often.auc.interval == pytest.approx(auc_with_interval(LABELS, WEAK).ci_logit)
    assert often.auc_images.method == "DeLong"
    assert often.auc_images.low > often.auc.low  # type: ignore[operator]
    for name in ("sensitivity", "specificity", "accuracy"):
        assert getattr(often, name).interval == pytest.approx(getattr(once, name).interval)
        assert getattr(often, name).method == "Clopper-Pearson, over patients"
    highest, mean = often.patient_level
    assert (highest.n, mean.n, mean.auc.value, mean.sensitivity.x) == (8, 8, pytest.approx(14 / 16), 3)
    assert once.patient_level == ()


def test_guard_share_is_counted_where_there_was_a_guard(two_modes: pd.DataFrame) -> None:
    flagged = [True, False, False, True, False, False, False, False]
    cell = compare(two_modes.assign(unlike_training=flagged * 2), QUICK).cell("net", "weak", "internal")

    assert cell is not None
    assert cell.unlike_training is not None
    assert (cell.unlike_training.x, cell.unlike_training.n) == (2, 8)
    assert compare(two_modes, QUICK).cells[0].unlike_training is None
