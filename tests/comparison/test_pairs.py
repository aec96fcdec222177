"""Pairs of a comparison: the same images, one family of tests per split, and what each could have shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_cells import FULL, LABELS, QUICK, WEAK, cell_of

from wsus.comparison.compare import ComparisonConfig, compare
from wsus.evaluation.auc import delong_paired
from wsus.evaluation.paired import PairedCounts, holm
from wsus.evaluation.power import power_noninferiority_auc, power_noninferiority_paired


def test_pair_is_the_paired_test_of_the_same_images(two_modes: pd.DataFrame) -> None:
    pair = compare(two_modes, QUICK).pair("net", "manual_roi", "internal")

    expected = delong_paired(LABELS, WEAK, FULL)
    assert pair is not None
    assert pair.p == expected.p_value
    assert pair.auc_difference.value == expected.diff
    on_malignant = pair.sensitivity
    assert (on_malignant.both_right, on_malignant.only_weak_right, on_malignant.only_full_right) == (2, 1, 1)
    assert pair.specificity.n == 4


def test_pair_says_what_it_could_have_shown(two_modes: pd.DataFrame) -> None:
    pair = compare(two_modes, ComparisonConfig(bootstrap=0, power=0.9, margin=0.1)).pair("net", "manual_roi", "internal")

    assert pair is not None
    assert pair.power_auc == power_noninferiority_auc(delong_paired(LABELS, WEAK, FULL), 0.1, target=0.9)
    of_sensitivity = PairedCounts(both_correct=2, only_a_correct=1, only_b_correct=1, both_wrong=0)
    assert pair.power_sensitivity == power_noninferiority_paired(of_sensitivity, 0.1, target=0.9)
    assert pair.power_specificity is not None
    assert pair.power_specificity.needed_neg == pair.power_sensitivity.needed_pos


def test_images_of_one_mode_only_are_left_out_and_named(two_modes: pd.DataFrame) -> None:
    gone = (two_modes["mode"] == "manual_roi") & (two_modes["image_id"] == "internal-003")
    pair = compare(two_modes[~gone], QUICK).pair("net", "manual_roi", "internal")

    assert pair is not None
    assert (pair.n, pair.only_weak, pair.only_full) == (7, ("internal-003",), ())


def test_holm_is_applied_within_each_split() -> None:
    rng = np.random.default_rng(0)
    labels = [0, 1] * 40
    cells = [
        cell_of(backbone, mode, list(np.clip(rng.normal(0.5 + 0.2 * (np.array(labels) - 0.5), 0.2), 0, 1)), labels, split=split)
        for split in ("internal", "external")
        for backbone in ("a", "b")
        for mode in ("weak", "manual_roi", "auto_roi")
    ]
    pairs = compare(pd.concat(cells), QUICK).pairs

    for split in ("internal", "external"):
        here = [pair for pair in pairs if pair.split == split]
        assert len(here) == 4
        family = [p for pair in here for p in (pair.p, pair.sensitivity.p, pair.specificity.p)]
        adjusted = [p for pair in here for p in (pair.p_holm, pair.sensitivity.p_holm, pair.specificity.p_holm)]
        assert adjusted == holm(family)
        tests = [(pair.noninferiority, pair.noninferiority_sensitivity, pair.noninferiority_specificity) for pair in here]
        one_sided = holm([test.p_value for three in tests for test in three if test])
        assert [p for pair in here for p in pair.noninferiority_p_holm.values()] == one_sided


def test_modes_without_a_common_image_are_named_and_not_compared(two_modes: pd.DataFrame) -> None:
    other = two_modes["mode"] == "manual_roi"
    two_modes.loc[other, "image_id"] = "other-" + two_modes.loc[other, "image_id"]
    pair = compare(two_modes, QUICK).pair("net", "manual_roi", "internal")

    assert pair is not None
    assert (pair.n, len(pair.only_weak), len(pair.only_full)) == (0, 8, 8)
    assert (pair.p, pair.noninferiority, pair.noninferiority_sensitivity, pair.power_sensitivity) == (None, None, None, None)


def test_copies_of_images_decide_nothing_more_than_the_images(two_modes: pd.DataFrame) -> None:
    copies = pd.concat([two_modes.assign(image_id=two_modes["image_id"] + f"-{k}") for k in range(8)], ignore_index=True)
    once, often = (compare(table, QUICK).pair("net", "manual_roi", "internal") for table in (two_modes, copies))

    assert once is not None
    assert often is not None
    assert (often.n, often.n_patients) == (64, 8)
    assert often.p == pytest.approx(once.p)
    assert often.auc_difference_images.low > once.auc_difference_images.low  # type: ignore[operator]
    assert often.auc_difference.interval == pytest.approx(once.auc_difference.interval)
    for name in ("noninferiority", "noninferiority_sensitivity", "noninferiority_specificity"):
        of_once, of_often = getattr(once, name), getattr(often, name)
        assert of_often.verdict == of_once.verdict
        assert (of_often.lower, of_often.upper) == pytest.approx((of_once.lower, of_once.upper))
    assert often.power_auc is not None
    assert often.power_auc.power == pytest.approx(once.power_auc.power)  # type: ignore[union-attr]
    assert often.sensitivity.method == "McNemar, over patients"
    assert [one.rule for one in often.patient_level] == ["max", "mean"]
    assert often.patient_level[1].auc_difference.value == pytest.approx(once.auc_difference.value)
    assert once.patient_level == ()
