"""MaxBoxAcc on maps small enough to be cut by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wsus.data.roi import mask_box
from wsus.errors import MaskError
from wsus.evaluation.box_accuracy import (
    CAM_THRESHOLDS,
    best_threshold,
    box_accuracy,
    box_ious,
    centred_box_ious,
    hits_at,
    lesion_boxes,
    v2_hits,
)
from wsus.evaluation.localisation import box_iou, centred_box_scores, random_map
from wsus.types import MaskHW


def region(x0: int, y0: int, x1: int, y1: int, hw: tuple[int, int] = (10, 12)) -> MaskHW:
    mask_HW = np.zeros(hw, dtype=bool)
    mask_HW[y0:y1, x0:x1] = True
    return mask_HW


def at(threshold: float) -> int:
    return CAM_THRESHOLDS.index(threshold)


def test_threshold_changes_the_box() -> None:
    cam_HW = np.where(region(2, 2, 6, 6), 1.0, np.where(region(0, 0, 8, 8), 0.4, 0.0)).astype(np.float32)
    found = box_ious(cam_HW, lesion_boxes(region(2, 2, 6, 6)))

    assert found.largest_T[at(0.4)] == pytest.approx(16 / 64)
    assert found.largest_T[at(0.45)] == 1.0
    assert found.largest_T[at(0.95)] == 1.0


def test_largest_component_counts_and_the_best_one_is_told_apart() -> None:
    cam_HW = (region(0, 0, 4, 4) | region(8, 6, 10, 8)).astype(np.float32)
    found = box_ious(cam_HW, lesion_boxes(region(8, 6, 10, 8)))

    assert (found.largest_T == 0.0).all()
    assert (found.best_T == 1.0).all()


def test_of_two_lesions_the_one_that_fits_counts_for_the_best_and_both_for_the_largest() -> None:
    found = box_ious(region(0, 0, 4, 4).astype(np.float32), lesion_boxes(region(0, 0, 4, 4) | region(6, 0, 8, 4)))

    assert found.best_T[0] == 1.0
    assert found.largest_T[0] == pytest.approx(16 / 32)


def test_constant_map_reaches_nothing() -> None:
    found = box_ious(np.zeros((10, 12), dtype=np.float32), lesion_boxes(region(1, 1, 3, 3)))
    assert not found.largest_T.any()
    assert not found.best_T.any()


def test_order_threshold_is_that_of_cutting_the_map_there() -> None:
    cam_HW, mask_HW = random_map((90, 110), 5), region(30, 20, 70, 60, (90, 110))
    found = box_ious(cam_HW, lesion_boxes(mask_HW))

    for place, threshold in enumerate(CAM_THRESHOLDS):
        expected = box_iou(mask_box(cam_HW >= threshold, largest_only=True), mask_box(mask_HW))
        assert found.largest_T[place] == pytest.approx(expected, abs=1e-6)


def test_centred_box_grows_as_the_threshold_falls() -> None:
    mask_HW = region(3, 2, 9, 8)
    found = centred_box_ious(lesion_boxes(mask_HW))

    assert found.largest_T[at(0.5)] == pytest.approx(centred_box_scores(mask_HW).iou)
    assert found.largest_T[at(0.05)] == pytest.approx(36 / (11 * 10), abs=1e-6)  # 11 x 10 after rounding 11.4 and 9.5


def test_empty_mask_and_another_shape_are_refused() -> None:
    with pytest.raises(MaskError, match="the mask is empty"):
        lesion_boxes(np.zeros((4, 4), dtype=bool))
    with pytest.raises(MaskError, match=r"\(H, W\) = \(10, 12\), the map \(9, 12\)"):
        box_ious(np.ones((9, 12), dtype=np.float32), lesion_boxes(region(1, 1, 3, 3)))


def test_accuracy_threshold_and_hits_are_worked_by_hand() -> None:
    ious_NT = np.array([[0.6, 0.5, 0.0], [0.1, 0.9, 0.75], [0.7, 0.29, 0.75]], dtype=np.float32)

    assert box_accuracy(ious_NT).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert best_threshold(ious_NT) == 0  # the lowest of equals
    assert best_threshold(ious_NT, 0.7) == 2
    assert hits_at(ious_NT, 1).tolist() == [True, True, False]
    # 0.3: two of three at every threshold, the first is taken; 0.5: likewise; 0.7: the last
    assert v2_hits(ious_NT).tolist() == pytest.approx([2 / 3, 1 / 3, 1.0])
