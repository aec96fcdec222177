"""Localisation figures, each worked by hand, and the baselines that know nothing of the image."""

import numpy as np
import pytest

from wsus.errors import MaskError
from wsus.evaluation.localisation import box_iou, centred_box_scores, cut_and_score, random_map, score_localisation
from wsus.types import MaskHW


def region(x0: int, y0: int, x1: int, y1: int, hw: tuple[int, int] = (8, 10)) -> MaskHW:
    mask_HW = np.zeros(hw, dtype=bool)
    mask_HW[y0:y1, x0:x1] = True
    return mask_HW


def test_hand_worked_figures() -> None:
    cam_HW = np.zeros((8, 10), dtype=np.float32)
    cam_HW[2:4, 2:6] = 0.5  # eight pixels, four of them in the mask
    cam_HW[3, 5] = 1.0  # the peak, in the mask
    found = score_localisation(cam_HW, cam_HW >= 0.3, (2, 2, 6, 4), (5, 3), region(4, 2, 8, 4))

    assert found.localised
    assert found.iou == pytest.approx(4 / 12)
    assert found.dice == pytest.approx(2 * 4 / (8 + 8))
    assert found.pointing_hit
    assert found.energy_in_mask == pytest.approx((3 * 0.5 + 1.0) / (7 * 0.5 + 1.0))


def test_peak_is_read_as_x_and_then_y() -> None:
    cam_HW = region(7, 1, 8, 2).astype(np.float32)
    found = score_localisation(cam_HW, cam_HW > 0, (7, 1, 8, 2), (7, 1), region(7, 1, 8, 2))
    assert (found.pointing_hit, found.iou, found.dice, found.energy_in_mask) == (True, 1.0, 1.0, 1.0)


def test_focus_beside_the_lesion_scores_nothing() -> None:
    focus_HW = region(0, 0, 3, 3)
    found = score_localisation(focus_HW.astype(np.float32), focus_HW, (0, 0, 3, 3), (1, 1), region(5, 5, 8, 8))
    assert (found.localised, found.iou, found.dice, found.pointing_hit, found.energy_in_mask) == (False, 0.0, 0.0, False, 0.0)


@pytest.mark.parametrize(
    ("peak", "hit"), [((30, 20), True), ((45, 20), True), ((46, 20), False), ((41, 30), True), ((42, 31), False)]
)
def test_pointing_tolerates_fifteen_pixels(peak: tuple[int, int], hit: bool) -> None:
    """The mask is one pixel, (30, 20): 11 and 10 pixels away are 14.9, 12 and 11 are 16.3."""
    mask_HW = region(30, 20, 31, 21, (60, 80))
    cam_HW = region(peak[0], peak[1], peak[0] + 1, peak[1] + 1, (60, 80))
    found = score_localisation(cam_HW.astype(np.float32), cam_HW, None, peak, mask_HW)

    assert (found.pointing_hit, found.pointing_hit_15px) == (peak == (30, 20), hit)


def test_pointing_with_tolerance_at_the_images_edge_and_without_a_peak() -> None:
    mask_HW = region(0, 0, 2, 2, (40, 40))
    flat_HW = np.zeros((40, 40), dtype=bool)

    assert score_localisation(flat_HW.astype(np.float32), flat_HW, None, (10, 0), mask_HW).pointing_hit_15px
    assert not score_localisation(flat_HW.astype(np.float32), flat_HW, None, None, mask_HW).pointing_hit_15px


def test_map_of_zeros_without_a_focus_scores_nothing() -> None:
    empty_HW = np.zeros((8, 10), dtype=bool)
    found = score_localisation(empty_HW.astype(np.float32), empty_HW, None, None, region(5, 5, 8, 8))
    assert (found.localised, found.iou, found.dice, found.pointing_hit, found.energy_in_mask) == (False, 0.0, 0.0, False, 0.0)


@pytest.mark.parametrize(
    ("first", "second", "iou"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0.0),
        (None, (0, 0, 1, 1), 0.0),
    ],
)
def test_boxes_are_half_open(
    first: tuple[int, int, int, int] | None, second: tuple[int, int, int, int] | None, iou: float
) -> None:
    assert box_iou(first, second) == pytest.approx(iou)
    assert box_iou(second, first) == pytest.approx(iou)


def test_centred_box_on_a_centred_lesion_of_its_size_is_perfect() -> None:
    found = centred_box_scores(region(5, 2, 15, 6, (8, 20)))
    assert (found.iou, found.dice, found.pointing_hit, found.energy_in_mask) == (1.0, 1.0, True, 1.0)


def test_centred_box_of_given_shares_is_worked_by_hand() -> None:
    found = centred_box_scores(region(0, 0, 5, 4), width_share=0.4, height_share=0.25)  # the box is 3..7 x 3..5

    assert found.iou == pytest.approx(2 / (8 + 20 - 2))
    assert found.energy_in_mask == pytest.approx(2 / 8)
    assert not found.pointing_hit


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_share_of_a_side_lies_between_zero_and_one(share: float) -> None:
    with pytest.raises(ValueError, match=r"width_share must lie in \(0, 1\]"):
        centred_box_scores(region(1, 1, 3, 3), width_share=share)


def test_random_map_depends_on_its_seed_alone() -> None:
    first_HW, again_HW, other_HW = (random_map((80, 100), seed) for seed in (3, 3, 4))
    assert (first_HW.min(), first_HW.max(), first_HW.shape) == (0.0, 1.0, (80, 100))
    assert (first_HW == again_HW).all()
    assert (first_HW != other_HW).any()


def test_random_maps_hit_a_large_lesion_by_chance_as_often_as_it_is_large() -> None:
    mask_HW = region(0, 0, 50, 80, (80, 100))  # half of the image
    found = [cut_and_score(random_map((80, 100), seed), mask_HW) for seed in range(300)]

    assert np.mean([one.localised for one in found]) > 0.95  # the paper's criterion is lenient: that is what this baseline shows
    assert 0.4 < np.mean([one.pointing_hit for one in found]) < 0.6
    assert 0.45 < np.mean([one.energy_in_mask for one in found]) < 0.55


def test_threshold_is_a_share_of_the_maps_range() -> None:
    with pytest.raises(ValueError, match=r"threshold must lie in \(0, 1\).*got 30"):
        cut_and_score(random_map((8, 10), 0), region(1, 1, 3, 3), threshold=30)


def test_constant_map_is_cut_to_nothing() -> None:
    found = cut_and_score(np.zeros((8, 10), dtype=np.float32), region(5, 5, 8, 8))
    assert (found.localised, found.iou, found.pointing_hit) == (False, 0.0, False)


def test_empty_mask_is_refused_by_all() -> None:
    empty_HW = np.zeros((8, 10), dtype=bool)
    with pytest.raises(MaskError, match="the mask is empty"):
        score_localisation(empty_HW.astype(np.float32), empty_HW, None, None, empty_HW)
    with pytest.raises(MaskError, match="the mask is empty"):
        centred_box_scores(empty_HW)
    with pytest.raises(MaskError, match="the mask is empty"):
        cut_and_score(random_map((8, 10), 0), empty_HW)


def test_mask_of_another_size_is_refused() -> None:
    cam_HW = np.ones((8, 10), dtype=np.float32)
    with pytest.raises(MaskError, match=r"\(9, 10\), the map \(8, 10\)"):
        score_localisation(cam_HW, cam_HW > 0, (0, 0, 10, 8), (0, 0), region(1, 1, 3, 3, (9, 10)))


@pytest.mark.parametrize("value", [-0.5, float("nan"), float("inf")])
def test_map_that_was_not_scaled_is_refused(value: float) -> None:
    cam_HW = np.full((8, 10), 0.5, dtype=np.float32)
    cam_HW[0, 0] = value
    with pytest.raises(ValueError, match="finite and not negative"):
        score_localisation(cam_HW, cam_HW > 0, (0, 0, 10, 8), (0, 0), region(1, 1, 3, 3))


def test_focus_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(8, 10\) and \(8, 9\)"):
        score_localisation(np.ones((8, 10), dtype=np.float32), np.ones((8, 9), dtype=bool), None, None, region(1, 1, 3, 3))
