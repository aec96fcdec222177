"""PxAP against scikit-learn's average precision over every single value, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from wsus.errors import MaskError
from wsus.evaluation.localisation import centred_box_map, random_map
from wsus.evaluation.pixel_precision import (
    LEVELS,
    leave_one_out,
    level_shares,
    pixel_average_precision,
    pixel_precision_bounds,
)


def stacked(maps: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    found = [level_shares(cam_HW, mask_HW) for cam_HW, mask_HW in maps]
    return np.stack([one.lesion_L for one in found]), np.stack([one.image_L for one in found])


def made(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Noise that is somewhat higher in a lesion, in images of two sizes."""
    maps = []
    for seed in range(count):
        hw = (60, 80) if seed % 2 else (90, 70)
        mask_HW = np.zeros(hw, dtype=bool)
        mask_HW[20:40, 15 + seed : 40 + seed] = True
        raised_HW = random_map(hw, seed) + 0.5 * mask_HW
        maps.append(((raised_HW / raised_HW.max()).astype(np.float32), mask_HW))
    return maps


def test_levels_come_close_to_every_value_as_a_threshold_and_the_bounds_hold_it() -> None:
    maps = made(12)
    lesion_NL, image_NL = stacked(maps)
    truth, values, weight = (
        np.concatenate(parts)
        for parts in zip(
            *[(mask_HW.ravel(), cam_HW.ravel(), np.full(mask_HW.size, 1 / mask_HW.size)) for cam_HW, mask_HW in maps], strict=True
        )
    )
    exact = average_precision_score(truth, values, sample_weight=weight)
    low, high = pixel_precision_bounds(lesion_NL, image_NL)

    assert pixel_average_precision(lesion_NL, image_NL) == pytest.approx(exact, abs=5e-4)
    assert low < exact < high
    assert high - low < 0.03


def test_two_values_are_worked_by_hand() -> None:
    """Of ten pixels four reach 1, three of them in the lesion of five: 3/5 at a precision of 3/4; the rest at 5/10."""
    cam_HW = np.array([[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]], dtype=np.float32)
    mask_HW = np.array([[1, 1, 1, 0, 1, 1, 0, 0, 0, 0]], dtype=bool)
    lesion_NL, image_NL = stacked([(cam_HW, mask_HW)])

    assert (lesion_NL[0, 0], lesion_NL[0, -1], image_NL[0, -1]) == pytest.approx((0.2, 0.3, 0.4))
    assert pixel_average_precision(lesion_NL, image_NL) == pytest.approx(3 / 5 * 3 / 4 + 2 / 5 * 5 / 10)


def test_map_that_is_the_mask_is_perfect_and_a_constant_one_gets_the_lesions_share() -> None:
    mask_HW = np.zeros((20, 30), dtype=bool)
    mask_HW[5:10, 5:20] = True

    assert pixel_average_precision(*stacked([(mask_HW.astype(np.float32), mask_HW)])) == 1.0
    assert pixel_average_precision(*stacked([(np.zeros((20, 30), np.float32), mask_HW)])) == pytest.approx(75 / 600)


def test_each_image_weighs_the_same_whatever_its_size() -> None:
    """A picture with every pixel doubled each way says what it said before."""
    maps = made(3)
    larger = [*maps[:2], tuple(np.kron(array, np.ones((2, 2), array.dtype)) for array in maps[2])]

    assert pixel_average_precision(*stacked(larger)) == pytest.approx(pixel_average_precision(*stacked(maps)))


def test_leaving_out_a_patient_is_leaving_out_its_images() -> None:
    lesion_NL, image_NL = stacked(made(5))
    patients = np.array([7, 7, 2, 9, 2])

    without = leave_one_out(lesion_NL, image_NL, patients)

    for place, patient in enumerate((2, 7, 9)):
        rest = patients != patient
        assert without[place] == pytest.approx(pixel_average_precision(lesion_NL[rest], image_NL[rest]), abs=1e-6)


def test_centred_box_map_is_cut_to_boxes_of_one_less_the_threshold() -> None:
    cam_HW = centred_box_map((40, 80))

    assert [int((cam_HW >= cut).any(axis=0).sum()) for cut in (0.25, 0.5, 0.75)] == [60, 40, 20]
    assert [int((cam_HW >= cut).any(axis=1).sum()) for cut in (0.25, 0.5, 0.75)] == [30, 20, 10]


def test_empty_mask_and_another_shape_are_refused() -> None:
    with pytest.raises(MaskError, match="the mask is empty"):
        level_shares(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool))
    with pytest.raises(MaskError, match=r"\(H, W\) = \(3, 4\), the map \(4, 4\)"):
        level_shares(np.zeros((4, 4), np.float32), np.ones((3, 4), bool))


def test_top_value_falls_into_the_last_level() -> None:
    found = level_shares(np.array([[1.0, 0.995, 0.0]], np.float32), np.array([[True, False, False]]))
    assert found.image_L[LEVELS - 1] == pytest.approx(2 / 3)
