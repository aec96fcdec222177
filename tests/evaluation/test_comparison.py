"""A whole comparison on made predictions, small enough that its counts can be made by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from wsus.errors import ConfigError, DataError
from wsus.evaluation.auc import auc_with_interval, delong_paired
from wsus.evaluation.box_accuracy import CAM_THRESHOLDS
from wsus.evaluation.comparison import ComparisonConfig, chosen_predictions, compare
from wsus.evaluation.comparison_result import LocalisationGroup, LocalisationResult
from wsus.evaluation.paired import holm
from wsus.evaluation.power import mcnemar_cases, power_noninferiority_auc

QUICK = ComparisonConfig(bootstrap=50)


def _cell(
    backbone: str, mode: str, pom: list[float], labels: list[int], *, split: str = "internal", seed: int = 0
) -> pd.DataFrame:
    n = len(pom)
    return pd.DataFrame(
        {
            "backbone": backbone,
            "mode": mode,
            "seed": seed,
            "split": split,
            "image_id": [f"{split}-{i:03d}" for i in range(n)],
            "patient_id": [f"{split}-p{i:03d}" for i in range(n)],
            "label": labels,
            "pom": pom,
            "operating_point": 0.5,
            "called_malignant": [value >= 0.5 for value in pom],
            "localised": [True] * (n - 1) + [None],
            "iou": [0.6] * (n - 1) + [np.nan],
            "pointing_hit": [False] * (n - 1) + [None],
            "fallback_crop": False,
            "device": ["X" if i % 2 else "Y" for i in range(n)],
        }
    )


LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
WEAK = [0.1, 0.2, 0.3, 0.7, 0.4, 0.6, 0.8, 0.9]  # one benign image called malignant, one malignant called benign
FULL = [0.2, 0.6, 0.1, 0.3, 0.7, 0.45, 0.55, 0.8]


@pytest.fixture
def two_modes() -> pd.DataFrame:
    return pd.concat([_cell("net", "weak", WEAK, LABELS), _cell("net", "manual_roi", FULL, LABELS)], ignore_index=True)


def test_counts_and_shares_are_those_of_the_hand_worked_cell(two_modes: pd.DataFrame) -> None:
    cell = compare(two_modes, QUICK).cell("net", "weak", "internal")

    assert cell is not None
    assert (cell.tp, cell.fn, cell.tn, cell.fp) == (3, 1, 3, 1)
    assert (cell.sensitivity.x, cell.sensitivity.n, cell.sensitivity.value) == (3, 4, 0.75)
    assert cell.auc.value == pytest.approx(14 / 16)  # of the 16 pairs only 0.7 > 0.4 and 0.7 > 0.6 stand the wrong way round
    assert cell.brier == pytest.approx(np.mean((np.array(WEAK) - LABELS) ** 2))


def test_pair_is_the_paired_test_of_the_same_images(two_modes: pd.DataFrame) -> None:
    pair = compare(two_modes, QUICK).pair("net", "manual_roi", "internal")

    expected = delong_paired(LABELS, WEAK, FULL)
    assert pair is not None
    assert pair.p == expected.p_value
    assert pair.auc_difference.value == expected.diff
    on_malignant = pair.sensitivity
    assert (on_malignant.both_right, on_malignant.only_weak_right, on_malignant.only_full_right) == (2, 1, 1)
    assert pair.specificity.n == 4


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


def test_rows_in_another_order_give_the_same_comparison(two_modes: pd.DataFrame) -> None:
    shuffled = two_modes.sample(frac=1, random_state=3).sort_values(["mode"], ascending=False, kind="stable")

    assert compare(shuffled, QUICK).to_json() == compare(two_modes, QUICK).to_json()


def test_holm_is_applied_within_each_split() -> None:
    rng = np.random.default_rng(0)
    labels = [0, 1] * 40
    cells = [
        _cell(backbone, mode, list(np.clip(rng.normal(0.5 + 0.2 * (np.array(labels) - 0.5), 0.2), 0, 1)), labels, split=split)
        for split in ("internal", "external")
        for backbone in ("a", "b")
        for mode in ("weak", "manual_roi", "auto_roi")
    ]
    pairs = compare(pd.concat(cells), QUICK).pairs

    for split in ("internal", "external"):
        here = [pair for pair in pairs if pair.split == split]
        assert len(here) == 4
        assert [pair.p_holm for pair in here] == holm([pair.p for pair in here])


def test_seed_and_best_network_are_chosen_on_the_development_split_alone() -> None:
    good, bad = [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9], [0.9, 0.2, 0.8, 0.4, 0.6, 0.1, 0.3, 0.7]
    cells = [
        _cell("a", "weak", bad, LABELS, split="development", seed=0),
        _cell("a", "weak", good, LABELS, split="internal", seed=0),  # better where it must not count
        _cell("a", "weak", WEAK, LABELS, split="development", seed=1),
        _cell("a", "weak", bad, LABELS, split="internal", seed=1),
        _cell("b", "weak", good, LABELS, split="development", seed=0),
        _cell("b", "weak", bad, LABELS, split="internal", seed=0),
    ]
    comparison = compare(pd.concat(cells), QUICK)

    cell = comparison.cell("a", "weak", "internal")
    assert cell is not None
    assert cell.seed == 1
    assert cell.auc_by_seed == {0: 1.0, 1: auc_with_interval(LABELS, bad).auc}
    assert comparison.best_weak == "b"


def test_chosen_seed_is_taken_where_it_is_given(two_modes: pd.DataFrame) -> None:
    second = two_modes.assign(seed=7, pom=0.5, called_malignant=True)
    table = pd.concat([two_modes, second])

    comparison = compare(table, QUICK, chosen_seeds={("net", "weak"): 7})

    cell = comparison.cell("net", "weak", "internal")
    assert cell is not None
    assert (cell.seed, cell.auc.value) == (7, 0.5)
    chosen = chosen_predictions(table, comparison)
    assert set(chosen.loc[chosen["mode"] == "weak", "seed"]) == {7}


def test_chosen_seed_without_predictions_is_an_error(two_modes: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"net-weak: seed 9 .* exist for \[0\] only"):
        compare(two_modes, QUICK, chosen_seeds={("net", "weak"): 9})


def test_missing_cell_is_named_with_its_reason_and_the_rest_compared(two_modes: pd.DataFrame) -> None:
    expected = {("net", "weak"): "", ("net", "manual_roi"): "", ("net", "auto_roi"): "the loss was not a number"}
    comparison = compare(two_modes, QUICK, expected=expected)

    assert [(cell.mode, cell.reason) for cell in comparison.missing] == [("auto_roi", "the loss was not a number")]
    assert comparison.modes == ("weak", "manual_roi", "auto_roi")
    assert len(comparison.pairs) == 1


def test_missing_weak_cell_leaves_the_full_modes() -> None:
    comparison = compare(_cell("net", "manual_roi", FULL, LABELS), QUICK, expected=[("net", "weak"), ("net", "manual_roi")])

    assert comparison.pairs == ()
    assert comparison.best_weak is None
    assert [cell.mode for cell in comparison.cells] == ["manual_roi"]


def test_perfect_cell_gets_the_score_interval_and_says_so() -> None:
    cell = compare(_cell("net", "weak", [0.1] * 4 + [0.9] * 4, LABELS), QUICK).cell("net", "weak", "internal")

    assert cell is not None
    assert cell.auc.value == 1.0
    assert cell.auc.low is not None
    assert cell.auc.low < 1.0
    assert cell.auc.method == "Newcombe score"
    assert "no width" in (cell.auc.note or "")
    assert (cell.auc_clustered.value, cell.auc_clustered.interval) == (1.0, None)
    assert "no width" in (cell.auc_clustered.note or "")


def test_split_of_one_class_has_shares_but_no_auc() -> None:
    table = pd.concat([_cell("net", mode, [0.2, 0.7], [1, 1]) for mode in ("weak", "manual_roi")])
    comparison = compare(table, QUICK)

    cell, pair = comparison.cell("net", "weak", "internal"), comparison.pair("net", "manual_roi", "internal")
    assert cell is not None
    assert (cell.auc.value, cell.sensitivity.value, cell.specificity.value) == (None, 0.5, None)
    assert pair is not None
    assert (pair.p, pair.noninferiority, pair.flags) == (None, None, ("one_class",))
    assert (cell.partial_auc, cell.decision_curve, cell.lr_positive.value, cell.auc_se) == ((), None, None, None)
    assert (pair.power_auc, pair.power_specificity) == (None, None)


def test_localisation_counts_images_with_a_mask_only(two_modes: pd.DataFrame) -> None:
    found = compare(two_modes, QUICK).located("net", "internal")

    assert found is not None
    assert (found.n, found.without_mask) == (7, 1)
    benign, malignant, everyone = (_group(found, level) for level in ("benign", "malignant", "all"))
    overlap = benign.figure("overlap")
    assert (overlap.own.x, overlap.own.n, malignant.figure("overlap").own.n, found.fisher_p["overlap"]) == (4, 4, 3, 1.0)
    assert (benign.figure("pointing").own.x, malignant.figure("pointing").own.x) == (0, 0)
    assert everyone.figure("iou").own.value == pytest.approx(0.6)
    for missing in (overlap.centre_box, everyone.figure("dice").own, everyone.figure("max_box_acc").own):
        assert (missing.value, missing.note) == (None, "not computed when the images were scored")
    assert found.curve is None


def _group(found: LocalisationResult, level: str) -> LocalisationGroup:
    group = found.group(level)
    assert group is not None
    return group


def _with_curves(rows: pd.DataFrame, ious: list[list[float]]) -> pd.DataFrame:
    """IoUs at the first thresholds; 0 at the others."""
    curves = [np.array(first + [0.0] * (len(CAM_THRESHOLDS) - len(first)), dtype=np.float32) for first in ious]
    prefixes = ("", "centre_box_", "random_map_")
    names = [f"{prefix}{name}" for prefix in prefixes for name in ("iou_by_threshold", "best_iou_by_threshold")]
    return rows.assign(localised=True, **dict.fromkeys(names, curves))


def test_max_box_acc_is_worked_by_hand_and_so_is_that_of_the_development_set() -> None:
    """Here the second threshold is best (3 of 4 images); the development set chose the first (2 of 4)."""
    pom, labels = [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]
    internal = _with_curves(_cell("net", "weak", pom, labels), [[0.6, 0.5], [0.1, 0.9], [0.7, 0.31], [0.49, 0.8]])
    development = _with_curves(_cell("net", "weak", pom, labels, split="development"), [[0.5, 0.1]] * 4)

    found = compare(pd.concat([internal, development]), QUICK).located("net", "internal")

    assert found is not None
    figures = {name: _group(found, "all").figure(name).own for name in ("max_box_acc", "development_box_acc", "max_box_acc_v2")}
    assert (figures["max_box_acc"].x, figures["development_box_acc"].x) == (3, 2)
    # IoU 0.3: all four at the second threshold; 0.5: three there; 0.7: two there
    assert figures["max_box_acc_v2"].value == pytest.approx((4 / 4 + 3 / 4 + 2 / 4) / 3)
    assert _group(found, "malignant").figure("max_box_acc").own.x == 1  # at the threshold of the whole set
    assert found.curve is not None
    assert (found.curve.best, found.curve.development) == (0.1, 0.05)
    assert found.curve.own[:3] == (0.5, 0.75, 0.0)


def test_localisation_by_size_of_the_lesion() -> None:
    rows = _cell("net", "weak", WEAK, LABELS).assign(lesion_size_mm=[5, 8, 12, 15, 25, 30, 31, 32])

    found = compare(rows, QUICK).located("net", "internal")

    assert found is not None
    assert [(g.variable, g.level, g.n) for g in found.groups[3:]] == [
        ("lesion_size_mm", "< 10 mm", 2), ("lesion_size_mm", "10 to < 20 mm", 2), ("lesion_size_mm", "≥ 20 mm", 3),
    ]  # fmt: skip
    assert _group(found, "< 10 mm").figure("iou50").own.x == 2


def test_ious_of_another_grid_of_thresholds_are_refused() -> None:
    rows = _with_curves(_cell("net", "weak", WEAK, LABELS), [[0.5]] * 8)
    rows["iou_by_threshold"] = [np.zeros(7, dtype=np.float32)] * 8

    with pytest.raises(DataError, match=r"iou_by_threshold: expected 19 IoUs per image.*found \[7\]"):
        compare(rows, QUICK)


def test_localisation_reads_nullable_columns_as_it_reads_plain_ones(two_modes: pd.DataFrame) -> None:
    nullable = two_modes.astype({"localised": "boolean", "pointing_hit": "boolean", "iou": "Float64"})

    assert compare(nullable, QUICK).localisation == compare(two_modes, QUICK).localisation


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
    groups = compare(_cell("net", "weak", pom, [0, 1] * 15).assign(histology=names), QUICK).subgroups

    levels = [(g.level, g.n) for g in groups if g.variable == "histology"]
    assert len(levels) == 8
    assert levels[0] == ("common", 10)
    assert levels[-1] == ("14 others", 14)


def test_hard_cases_are_those_that_half_of_the_cells_got_wrong(two_modes: pd.DataFrame) -> None:
    cases = compare(two_modes, QUICK).hard_cases

    assert {case.image_id for case in cases} == {"internal-001", "internal-003", "internal-004", "internal-005"}
    assert all(case.wrong == 1 and case.cells == 2 for case in cases)
    first = next(case for case in cases if case.image_id == "internal-003")
    assert [(said.backbone, said.mode, said.pom, said.called_malignant) for said in first.poms] == [
        ("net", "weak", 0.7, True), ("net", "manual_roi", 0.3, False),
    ]  # fmt: skip
    assert first.attributes == {"device": "X"}


def test_hard_cases_stand_worst_first_and_are_cut_at_the_limit(two_modes: pd.DataFrame) -> None:
    """Mean distance from the truth: 003: (0.7 + 0.3) / 2, 001: (0.2 + 0.6) / 2, 004: (0.6 + 0.3) / 2, 005: (0.4 + 0.55) / 2."""
    cases = compare(two_modes, ComparisonConfig(bootstrap=0, hard_cases=3)).hard_cases

    assert [case.image_id for case in cases] == ["internal-003", "internal-005", "internal-004"]


def test_operating_points_come_from_the_development_split() -> None:
    development = [value / 2 for value in WEAK]
    table = pd.concat([_cell("net", "weak", development, LABELS, split="development"), _cell("net", "weak", WEAK, LABELS)])
    points = compare(table, QUICK).operating_points

    assert {point.split for point in points} == {"internal"}
    assert all(point.threshold in development for point in points)


def test_json_has_null_and_never_nan() -> None:
    table = pd.concat([_cell("net", mode, [0.2, 0.7], [1, 1]) for mode in ("weak", "manual_roi")])
    text = json.dumps(compare(table, QUICK).to_json(), allow_nan=False)

    assert json.loads(text)["cells"][0]["auc"]["value"] is None


def test_bootstrap_is_left_out_at_zero_draws(two_modes: pd.DataFrame) -> None:
    cell = compare(two_modes, ComparisonConfig(bootstrap=0)).cells[0]

    assert (cell.auc_bootstrap.value, cell.auc_bootstrap.note) == (None, "the bootstrap was left out")


def test_cells_that_disagree_on_a_label_are_refused(two_modes: pd.DataFrame) -> None:
    two_modes.loc[0, "label"] = 1

    with pytest.raises(DataError, match=r"1 images have another label .* internal-000"):
        compare(two_modes, QUICK)


def test_cells_that_disagree_on_a_patient_are_refused(two_modes: pd.DataFrame) -> None:
    two_modes.loc[0, "patient_id"] = "somebody else"

    with pytest.raises(DataError, match=r"1 images have another patient .* internal-000"):
        compare(two_modes, QUICK)


def test_modes_without_a_common_image_are_named_and_not_compared(two_modes: pd.DataFrame) -> None:
    other = two_modes["mode"] == "manual_roi"
    two_modes.loc[other, "image_id"] = "other-" + two_modes.loc[other, "image_id"]
    pair = compare(two_modes, QUICK).pair("net", "manual_roi", "internal")

    assert pair is not None
    assert (pair.n, len(pair.only_weak), len(pair.only_full)) == (0, 8, 8)
    assert (pair.p, pair.noninferiority, pair.noninferiority_sensitivity, pair.power_sensitivity) == (None, None, None, None)


def test_no_prediction_at_all_says_where_to_look() -> None:
    with pytest.raises(DataError, match="no cell of the study has finished"):
        compare(pd.DataFrame(), QUICK)


@pytest.mark.parametrize(("setting", "value"), [("margin", 0.0), ("confidence", 1.0), ("bootstrap", -1)])
def test_setting_outside_its_range_names_the_value(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{setting} .*got {value}"):
        ComparisonConfig(**{setting: value})


def test_mean_of_equal_figures_has_no_interval(two_modes: pd.DataFrame) -> None:
    """A t interval of no width would claim certainty."""
    found = compare(two_modes, QUICK).located("net", "internal")

    assert found is not None
    iou = _group(found, "all").figure("iou").own
    assert (iou.low, iou.high, iou.note) == (None, None, "no two images that differ: no interval")
