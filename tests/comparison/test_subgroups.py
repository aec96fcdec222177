"""Subgroups of a comparison: their levels, sizes and shares."""

from __future__ import annotations

import pandas as pd
from made_cells import QUICK, cell_of

from wsus.comparison.compare import compare


def test_small_subgroup_gives_its_size_and_no_auc(two_modes: pd.DataFrame) -> None:
    groups = compare(two_modes, QUICK).subgroups

    assert [(group.level, group.n, group.auc.value) for group in groups] == [("X", 4, None), ("Y", 4, None)]
    assert "fewer than 5" in (groups[0].auc.note or "")


def test_subgroup_counts_are_those_of_the_hand_worked_cell(two_modes: pd.DataFrame) -> None:
    """Y holds the images 0, 2, 4, 6: benign 0.1 and 0.3, malignant 0.4 (missed) and 0.8."""
    group = next(group for group in compare(two_modes, QUICK).subgroups if group.level == "Y")

    assert (group.sensitivity.x, group.sensitivity.n, group.specificity.x, group.specificity.n) == (1, 2, 2, 2)


def test_histology_has_shares_of_its_one_class_and_calipers_are_a_subgroup(two_modes: pd.DataFrame) -> None:
    kinds = ["cyst", "cyst", "fibroadenoma", "fibroadenoma", "IDC", "IDC", "IDC", "ILC"]
    table = two_modes.assign(histology=kinds * 2, calipers=["yes", None, "no", "yes", "no", "no", "yes", None] * 2)
    groups = {(g.variable, g.level): g for g in compare(table, QUICK).subgroups}

    assert [key[1] for key in groups if key[0] == "histology"] == ["IDC", "ILC", "cyst", "fibroadenoma"]
    fibroadenoma = groups["histology", "fibroadenoma"]  # 0.3 right, 0.7 called malignant
    assert (fibroadenoma.specificity.value, fibroadenoma.sensitivity.value, fibroadenoma.auc.value) == (0.5, None, None)
    assert {level: groups["calipers", level].n for level in ("yes", "no")} == {"yes": 3, "no": 3}


def test_rare_levels_are_taken_together_and_come_last() -> None:
    pom = [0.4, 0.6] * 15
    names = ["common"] * 10 + [f"kind {i:02d}" for i in range(20)]
    groups = compare(cell_of("net", "weak", pom, [0, 1] * 15).assign(histology=names), QUICK).subgroups

    levels = [(g.level, g.n) for g in groups if g.variable == "histology"]
    assert len(levels) == 8
    assert levels[0] == ("common", 10)
    assert levels[-1] == ("14 others", 14)
