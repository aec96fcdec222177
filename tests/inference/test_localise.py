"""Where a map points, in the original's pixels, against hand-worked maps."""

import numpy as np
import pytest

from wsus.data.roi import CropConfig, CropGeometry, whole_image
from wsus.inference.localise import cam_in_source, localise

WHOLE_4 = CropGeometry(source_hw=(4, 4), box_xyxy_px=(0, 0, 4, 4), size_px=32)


def test_hand_worked_map_is_scaled_to_its_range() -> None:
    cam_hw = np.full((4, 4), 10.0)
    cam_hw[1, 2], cam_hw[0, 0] = 20.0, 13.0
    scaled_HW = cam_in_source(cam_hw, WHOLE_4)
    assert scaled_HW.dtype == np.float32
    assert scaled_HW[1, 2] == 1
    assert scaled_HW[0, 0] == pytest.approx(0.3)
    assert scaled_HW[3, 3] == 0


def test_hand_worked_focus() -> None:
    cam_HW = np.zeros((6, 8), dtype=np.float32)
    cam_HW[0:2, 0:3] = 0.4  # six pixels: the largest component
    cam_HW[4, 5], cam_HW[5, 6] = 1.0, 0.3  # touch at a corner: one component, with the peak
    cam_HW[0, 7] = 0.29  # below the threshold

    found = localise(cam_HW, 0.3)

    assert found.boxes_xyxy_px == ((0, 0, 3, 2), (5, 4, 7, 6))
    assert found.peak_xy_px == (5, 4)
    assert found.area_fraction == pytest.approx(8 / 48)
    assert found.focus_HW.sum() == 8
    assert not found.constant_map


def test_threshold_is_reached_by_what_equals_it() -> None:
    cam_HW = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    assert localise(cam_HW, 0.5).boxes_xyxy_px == ((1, 0, 3, 1),)


def test_scale_and_offset_of_the_map_do_not_matter() -> None:
    cam_hw = np.random.default_rng(0).normal(size=(7, 7))
    geometry = whole_image((50, 80), CropConfig())
    plain, moved = cam_in_source(cam_hw, geometry), cam_in_source(1000 * cam_hw - 5, geometry)
    assert np.allclose(plain, moved, atol=1e-4)


def test_constant_map_points_nowhere() -> None:
    scaled_HW = cam_in_source(np.full((7, 7), 3.7), whole_image((50, 80), CropConfig()))
    found = localise(scaled_HW)
    assert not scaled_HW.any()
    assert found.constant_map
    assert found.boxes_xyxy_px == ()
    assert found.peak_xy_px is None
    assert found.area_fraction == 0


def test_floor_at_a_percentile_of_what_was_seen() -> None:
    cam_hw = np.arange(16.0).reshape(4, 4)
    scaled_HW = cam_in_source(cam_hw, WHOLE_4, floor_percentile=60)
    assert np.percentile(cam_hw, 60) == 9
    assert scaled_HW[2, 1] == 0  # 9, the floor itself
    assert scaled_HW[3, 0] == pytest.approx((12 - 9) / (15 - 9))
    assert scaled_HW[3, 3] == 1
    assert (scaled_HW[:2] == 0).all()


def test_floor_leaves_the_peak_where_it_is() -> None:
    cam_hw = np.random.default_rng(1).normal(size=(14, 14))
    geometry = whole_image((90, 60), CropConfig())
    peaks = [localise(cam_in_source(cam_hw, geometry, floor)).peak_xy_px for floor in (0.0, 50.0, 85.0)]
    assert len(set(peaks)) == 1


def test_padding_takes_no_part() -> None:
    geometry = whole_image((32, 64), CropConfig(size_px=64))  # 16 rows of padding above and below
    cam_hw = np.zeros((8, 8))
    cam_hw[0] = cam_hw[7] = 100.0  # in the padding
    cam_hw[4, 4] = 1.0
    scaled_HW = cam_in_source(cam_hw, geometry)
    row, column = np.unravel_index(scaled_HW.argmax(), scaled_HW.shape)
    assert scaled_HW.shape == (32, 64)
    assert scaled_HW.max() == 1
    assert (row // 8, column // 8) == (2, 4)  # entry (4, 4) lies 16 rows above, less the padding


def test_outside_of_the_crop_is_zero() -> None:
    geometry = CropGeometry(source_hw=(40, 40), box_xyxy_px=(10, 10, 26, 26), size_px=32)
    scaled_HW = cam_in_source(np.array([[-9.0, -8.0], [-7.0, -5.0]]), geometry)
    inside = np.zeros((40, 40), dtype=bool)
    inside[10:26, 10:26] = True
    assert not scaled_HW[~inside].any()
    assert scaled_HW[25, 25] == 1
    assert scaled_HW[10, 10] == 0


@pytest.mark.parametrize("threshold", [0.0, 1.0, 30, float("nan")])
def test_threshold_outside_its_range_names_the_value(threshold: float) -> None:
    with pytest.raises(ValueError, match=rf"in \(0, 1\).*got {threshold}"):
        localise(np.zeros((2, 2), dtype=np.float32), threshold)


def test_map_that_is_not_finite_says_how_much_of_it() -> None:
    with pytest.raises(ValueError, match="1 of 4 values are not"):
        cam_in_source(np.array([[0.0, np.nan], [1.0, 2.0]]), WHOLE_4)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (1, 4, 4)])
def test_map_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(h, w\) with h, w >= 1; got"):
        cam_in_source(np.zeros(shape), WHOLE_4)
