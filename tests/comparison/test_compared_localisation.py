"""Localisation of a comparison: counts over masks, thresholds of two kinds, sizes of the lesion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_cells import LABELS, QUICK, WEAK, cell_of
from scipy import stats

from wsus.comparison.compare import compare
from wsus.comparison.localisation_result import LocalisationGroup, LocalisationResult
from wsus.errors import DataError
from wsus.evaluation.box_accuracy import CAM_THRESHOLDS


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
    internal = _with_curves(cell_of("net", "weak", pom, labels), [[0.6, 0.5], [0.1, 0.9], [0.7, 0.31], [0.49, 0.8]])
    development = _with_curves(cell_of("net", "weak", pom, labels, split="development"), [[0.5, 0.1]] * 4)

    found = compare(pd.concat([internal, development]), QUICK).located("net", "internal")

    assert found is not None
    figures = {name: _group(found, "all").figure(name).own for name in ("max_box_acc", "development_box_acc", "max_box_acc_v2")}
    assert (figures["max_box_acc"].x, figures["development_box_acc"].x) == (3, 2)
    # IoU 0.3: all four at the second threshold; 0.5: three there; 0.7: two there
    assert figures["max_box_acc_v2"].value == pytest.approx((4 / 4 + 3 / 4 + 2 / 4) / 3)
    assert _group(found, "malignant").figure("max_box_acc").own.x == 1  # at the threshold of the whole set
    assert found.curve is not None
    assert (found.curve.best, found.curve.development) == (0.02, 0.01)
    assert found.curve.own[:3] == (0.5, 0.75, 0.0)


def test_localisation_by_size_of_the_lesion() -> None:
    rows = cell_of("net", "weak", WEAK, LABELS).assign(lesion_size_mm=[5, 8, 12, 15, 25, 30, 31, 32])

    found = compare(rows, QUICK).located("net", "internal")

    assert found is not None
    assert [(g.variable, g.level, g.n) for g in found.groups[3:]] == [
        ("lesion_size_mm", "< 10 mm", 2), ("lesion_size_mm", "10 to < 20 mm", 2), ("lesion_size_mm", "≥ 20 mm", 3),
    ]  # fmt: skip
    assert _group(found, "< 10 mm").figure("iou50").own.x == 2


def test_ious_of_another_grid_of_thresholds_are_refused() -> None:
    rows = _with_curves(cell_of("net", "weak", WEAK, LABELS), [[0.5]] * 8)
    rows["iou_by_threshold"] = [np.zeros(7, dtype=np.float32)] * 8

    with pytest.raises(DataError, match=r"iou_by_threshold: expected 99 IoUs per image.*found \[7\]"):
        compare(rows, QUICK)


def test_ious_of_an_older_version_keep_their_thresholds_but_do_not_mix_with_newer_ones() -> None:
    rows = _with_curves(cell_of("net", "weak", WEAK, LABELS), [[0.5]] * 8)
    older = rows.assign(**dict.fromkeys([name for name in rows if name.endswith("iou_by_threshold")], None))
    for name in [name for name in rows if name.endswith("iou_by_threshold")]:
        older[name] = [np.array([0.0, 0.6] + [0.0] * 17, dtype=np.float32)] * 8

    found = compare(older, QUICK).located("net", "internal")
    assert found is not None
    assert found.curve is not None
    assert (len(found.curve.thresholds), found.curve.best) == (19, 0.1)
    with pytest.raises(DataError, match=r"this set and the development set: expected 19 .*found \[19, 99\]"):
        compare(pd.concat([older, rows.assign(split="development")]), QUICK)


def _with_levels(rows: pd.DataFrame, lesion_above: list[float]) -> pd.DataFrame:
    """Maps of two values: a fifth of each image reaches 1, a tenth of it is lesion, of which so much lies above."""
    top = np.zeros(100, dtype=np.float32)
    lists = {"lesion_by_level": [], "image_by_level": []}
    for above in lesion_above:
        for name, low, high in (("lesion_by_level", 0.1 - above, above), ("image_by_level", 0.8, 0.2)):
            values = top.copy()
            values[[0, -1]] = low, high
            lists[name].append(values)
    return rows.assign(localised=True, **lists, **{f"centre_box_{name}": [v[0]] * len(rows) for name, v in lists.items()})


def test_pxap_is_worked_by_hand_with_a_jackknife_over_patients() -> None:
    above = [0.1, 0.05, 0.1, 0.05, 0.1, 0.1, 0.05, 0.1]
    rows = _with_levels(cell_of("net", "weak", WEAK, LABELS), above)

    def pxap(of: np.ndarray) -> float:
        return of.mean() / 0.1 * of.mean() / 0.2 + (1 - of.mean() / 0.1) * 0.1

    found = compare(rows, QUICK).located("net", "internal")

    assert found is not None
    figure = _group(found, "all").figure("pxap")
    without = np.array([pxap(np.delete(np.array(above), k)) for k in range(8)])
    reach = stats.t.ppf(0.975, 7) * np.sqrt(7 / 8 * ((without - without.mean()) ** 2).sum())
    assert figure.own.value == pytest.approx(pxap(np.array(above)), abs=1e-6)
    assert figure.own.high == pytest.approx(pxap(np.array(above)) + reach, abs=1e-5)
    assert figure.centre_box.value == pytest.approx(0.5, abs=1e-6)
    assert figure.p_box is not None
    assert 0.01 < figure.p_box < 0.2
    assert found.pxap_bounds is not None
    assert found.pxap_bounds[0] < pxap(np.array(above)) < found.pxap_bounds[1]
    assert _group(found, "all").figure("pointing_15px").own.note == "not computed when the images were scored"


def test_localisation_reads_nullable_columns_as_it_reads_plain_ones(two_modes: pd.DataFrame) -> None:
    nullable = two_modes.astype({"localised": "boolean", "pointing_hit": "boolean", "iou": "Float64"})

    assert compare(nullable, QUICK).localisation == compare(two_modes, QUICK).localisation


def test_mean_of_equal_figures_has_no_interval(two_modes: pd.DataFrame) -> None:
    """A t interval of no width would claim certainty."""
    found = compare(two_modes, QUICK).located("net", "internal")

    assert found is not None
    iou = _group(found, "all").figure("iou").own
    assert (iou.low, iou.high, iou.note) == (None, None, "no two images that differ, or one patient: no interval")


def test_map_against_box_is_a_test_on_the_same_images(two_modes: pd.DataFrame) -> None:
    """Of seven images with a mask the map hits six, the box one of these: five discordant, all for the map."""
    weak = two_modes["mode"] == "weak"
    table = two_modes.assign(
        pointing_hit=[True] * 6 + [False, None] + [None] * 8, centre_box_pointing_hit=[True] + [False] * 6 + [None] * 9
    )[weak]
    found = compare(table, QUICK).located("net", "internal")

    assert found is not None
    assert _group(found, "all").figure("pointing").p_box == pytest.approx(2 * 0.5**5)
    assert _group(found, "all").figure("iou").p_box is None
