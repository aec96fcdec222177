"""Components at many thresholds at once are those that labelling each threshold finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from wsus.evaluation.level_boxes import level_boxes
from wsus.evaluation.localisation import random_map

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def labelled(cam_HW: np.ndarray, threshold: float) -> list[tuple[int, tuple[int, ...]]]:
    """Area and box of every 8-connected component, in the order of scipy's labels."""
    components_HW, _ = ndimage.label(cam_HW >= threshold, structure=np.ones((3, 3)))
    areas = np.bincount(components_HW.ravel())[1:]
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(components_HW)]
    return [(int(area), box) for area, box in zip(areas, boxes, strict=True)]


def found_at(cam_HW: np.ndarray, thresholds: tuple[float, ...], level: int) -> list[tuple[int, tuple[int, ...]]]:
    found = level_boxes(cam_HW, thresholds)
    inside = found.level_N == level
    return [(int(area), tuple(map(int, box))) for area, box in zip(found.area_px_N[inside], found.boxes_N4[inside], strict=True)]


def test_components_touch_at_corners_and_are_boxed_half_open() -> None:
    cam_HW = np.zeros((5, 6), dtype=np.float32)
    cam_HW[1, 1] = cam_HW[2, 2] = 0.9  # one component, over a corner
    cam_HW[4, 5] = 0.6

    found = level_boxes(cam_HW, (0.5, 0.8))

    assert found.level_N.tolist() == [0, 0, 1]
    assert found.area_px_N.tolist() == [2, 1, 2]
    assert found.boxes_N4.tolist() == [[1, 1, 3, 3], [5, 4, 6, 5], [1, 1, 3, 3]]


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_any_map_is_cut_as_one_by_one(seed: int, height: int, width: int, values: int) -> None:
    cam_HW = (np.random.default_rng(seed).integers(0, values + 1, (height, width)) / values).astype(np.float32)
    for level, threshold in enumerate((0.2, 0.5, 1.0)):
        assert sorted(found_at(cam_HW, (0.2, 0.5, 1.0), level)) == sorted(labelled(cam_HW, threshold))


@pytest.mark.parametrize("seed", range(4))
def test_map_of_a_networks_size_has_the_same_components_in_the_same_order(seed: int) -> None:
    cam_HW = random_map((211, 305), seed)
    for level, threshold in enumerate(THRESHOLDS):
        assert found_at(cam_HW, THRESHOLDS, level) == labelled(cam_HW, threshold)


def test_constant_map_has_no_component() -> None:
    assert level_boxes(np.zeros((4, 4), dtype=np.float32), THRESHOLDS).boxes_N4.shape == (0, 4)


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.5, 0.2), (), tuple(np.linspace(0, 1, 200))])
def test_thresholds_ascend_and_are_not_too_many(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="thresholds must ascend, and be at most 127"):
        level_boxes(np.ones((2, 2), dtype=np.float32), thresholds)
