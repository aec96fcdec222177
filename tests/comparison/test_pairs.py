"""Pairs of a comparison: the same images, one family of tests per split, and what each could have shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
from made_cells import FULL, LABELS, QUICK, WEAK, cell_of

from wsus.comparison.compare import ComparisonConfig, compare
from wsus.evaluation.auc import delong_paired
from wsus.evaluation.paired import holm
from wsus.evaluation.power import mcnemar_cases, power_noninferiority_auc


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
    assert pair.power_sensitivity is not None
    assert pair.power_specificity is not None
    assert pair.power_sensitivity.needed_pos == pair.power_specificity.needed_neg == mcnemar_cases(0.5, 0.1, target=0.9)


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
        assert [pair.p_holm for pair in here] == holm([pair.p for pair in here])


def test_modes_without_a_common_image_are_named_and_not_compared(two_modes: pd.DataFrame) -> None:
    other = two_modes["mode"] == "manual_roi"
    two_modes.loc[other, "image_id"] = "other-" + two_modes.loc[other, "image_id"]
    pair = compare(two_modes, QUICK).pair("net", "manual_roi", "internal")

    assert pair is not None
    assert (pair.n, len(pair.only_weak), len(pair.only_full)) == (0, 8, 8)
    assert (pair.p, pair.noninferiority, pair.noninferiority_sensitivity, pair.power_sensitivity) == (None, None, None, None)
