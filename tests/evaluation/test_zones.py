"""Zones of an image, and the image without one of them."""

import numpy as np
import pytest
from scipy import ndimage

from wsus.errors import MaskError
from wsus.evaluation.zones import ZONES, lesion_alone, lesion_painted_over, marks_removed, zone_energy, zones


def image_with_lesion() -> tuple[np.ndarray, np.ndarray]:
    """Speckle of about 120, a dark lesion, and a caliper's cross beside it."""
    rng = np.random.default_rng(0)
    image_HW = (120 + 12 * ndimage.gaussian_filter(rng.normal(size=(100, 120)), 1) * 3).clip(0, 255).astype(np.uint8)
    mask_HW = np.zeros((100, 120), dtype=bool)
    mask_HW[30:50, 40:70] = True
    image_HW[mask_HW] = 30
    image_HW[40, 76:81] = image_HW[38:43, 78] = 255
    return image_HW, mask_HW


def test_zones_are_the_image_and_overlap_nowhere() -> None:
    found = zones(*image_with_lesion())
    assert tuple(found) == ZONES
    assert (np.sum([zone.astype(int) for zone in found.values()], axis=0) == 1).all()


def test_hand_worked_zones() -> None:
    image_HW, mask_HW = image_with_lesion()
    found = zones(image_HW, mask_HW)
    assert (found["lesion"] == mask_HW).all()
    assert found["marks"][40, 78]
    assert found["marks"].sum() == 9
    assert found["border"][:8].all()
    assert not found["border"][8:92, 10:110].any()
    assert found["below"][50:92, 40:70].all()
    assert not found["below"][:, :40].any()


def test_energy_is_shared_out() -> None:
    image_HW, mask_HW = image_with_lesion()
    found = zones(image_HW, mask_HW)
    shares = zone_energy(mask_HW.astype(np.float32), found)
    assert shares["lesion"] == 1.0
    assert sum(zone_energy(np.ones(mask_HW.shape, np.float32), found).values()) == pytest.approx(1)
    assert set(zone_energy(np.zeros(mask_HW.shape, np.float32), found).values()) == {0.0}


def test_painted_over_the_lesion_is_gone_and_the_rest_stays() -> None:
    image_HW, mask_HW = image_with_lesion()
    painted_HW = lesion_painted_over(image_HW, mask_HW, np.random.default_rng(1))
    assert abs(float(painted_HW[mask_HW].mean()) - 120) < 10
    assert painted_HW[mask_HW].std() > 3  # speckle, no flat patch
    far_HW = ~ndimage.binary_dilation(mask_HW, iterations=6)
    assert (painted_HW[far_HW] == image_HW[far_HW]).all()


def test_alone_the_lesion_stays_and_the_rest_is_one_grey() -> None:
    image_HW, mask_HW = image_with_lesion()
    alone_HW = lesion_alone(image_HW, mask_HW)
    assert (alone_HW[mask_HW] == 30).all()
    assert len(np.unique(alone_HW[~ndimage.binary_dilation(mask_HW, iterations=6)])) == 1


def test_marks_go_and_the_lesion_stays() -> None:
    image_HW, mask_HW = image_with_lesion()
    cleaned_HW = marks_removed(image_HW, np.random.default_rng(1))
    assert cleaned_HW[36:46, 74:84].max() < 200
    assert (cleaned_HW[mask_HW] == image_HW[mask_HW]).all()


def test_empty_mask_is_refused() -> None:
    image_HW, mask_HW = image_with_lesion()
    with pytest.raises(MaskError, match="the mask is empty, so nothing can be painted over"):
        zones(image_HW, np.zeros_like(mask_HW))
    with pytest.raises(MaskError, match="both must be of one size"):
        lesion_alone(image_HW, mask_HW[1:])
