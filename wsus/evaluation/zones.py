"""Where in a breast-ultrasound image a map's energy may lie, and the image without one of these parts.

A whole-image network may learn what is not the lesion: the shadow below it, calipers around it, text at the border. Zones are
told from the radiologist's mask and the grey values alone; they overlap nowhere, and are taken in this order: lesion, marks,
border, below, elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsus.errors import MaskError
from wsus.types import GreyHW, MaskHW

ZONES = ("lesion", "marks", "border", "below", "elsewhere")
_BORDER_SHARE = 0.08  # of each side
_MARK_SIDE_SHARE = 0.05  # a mark is narrower than this share of the longer side
_MARK_CONTRAST = 60  # grey levels above its surroundings
_GREY = np.uint8(64)
_RIM_SHARE = 0.04  # of the longer side: what lies so near to the lesion goes with it when it is painted over


def zones(image_HW: GreyHW, mask_HW: MaskHW) -> dict[str, MaskHW]:
    """The zones of one image, bool (H, W) each; together they are the image.

    Raises:
        MaskError: the mask is empty, or of another size than the image.
    """
    _check(image_HW, mask_HW)
    height, width = mask_HW.shape
    border_HW = np.ones(mask_HW.shape, dtype=bool)
    rows, columns = max(1, round(height * _BORDER_SHARE)), max(1, round(width * _BORDER_SHARE))
    border_HW[rows:-rows, columns:-columns] = False
    lowest_W = np.where(mask_HW.any(axis=0), height - 1 - mask_HW[::-1].argmax(axis=0), height)
    below_HW = np.arange(height)[:, None] > lowest_W[None, :]
    wanted = {"lesion": mask_HW, "marks": marks(image_HW), "border": border_HW, "below": below_HW}

    found: dict[str, MaskHW] = {}
    left_HW = np.ones(mask_HW.shape, dtype=bool)
    for name, zone_HW in wanted.items():
        found[name] = zone_HW & left_HW
        left_HW = left_HW & ~zone_HW
    return {**found, "elsewhere": left_HW}


def marks(image_HW: GreyHW) -> MaskHW:
    """Small things that are much brighter than their surroundings: calipers, text, rulers."""
    side = max(3, round(max(image_HW.shape) * _MARK_SIDE_SHARE))
    opened_HW = ndimage.grey_opening(image_HW, size=(side, side))
    return np.asarray(image_HW.astype(np.int16) - opened_HW > _MARK_CONTRAST) & (image_HW > 180)


def zone_energy(cam_HW: NDArray[np.float32], found: dict[str, MaskHW]) -> dict[str, float]:
    """Share of a map's sum in each zone; all 0 for a map of zeros."""
    total = float(cam_HW.sum(dtype=np.float64))
    return {name: float(cam_HW[zone].sum(dtype=np.float64)) / total if total > 0 else 0.0 for name, zone in found.items()}


def lesion_painted_over(image_HW: GreyHW, mask_HW: MaskHW, rng: np.random.Generator) -> GreyHW:
    """The lesion and its rim in the greys of what lies around them, with speckle of their own."""
    _check(image_HW, mask_HW)
    rim = max(1, round(max(mask_HW.shape) * _RIM_SHARE))
    covered_HW = ndimage.binary_dilation(mask_HW, iterations=rim)
    return _painted(image_HW, covered_HW, rng)


def lesion_alone(image_HW: GreyHW, mask_HW: MaskHW) -> GreyHW:
    """All but the lesion and its rim in one grey, the same in every image: their own mean would tell how bright they were."""
    _check(image_HW, mask_HW)
    rim = max(1, round(max(mask_HW.shape) * _RIM_SHARE))
    kept_HW = ndimage.binary_dilation(mask_HW, iterations=rim)
    return np.where(kept_HW, image_HW, _GREY).astype(np.uint8)


def marks_removed(image_HW: GreyHW, rng: np.random.Generator) -> GreyHW:
    """Calipers and text in the greys of what lies around them."""
    return _painted(image_HW, ndimage.binary_dilation(marks(image_HW), iterations=2), rng)


def _painted(image_HW: GreyHW, covered_HW: MaskHW, rng: np.random.Generator) -> GreyHW:
    """Each covered pixel takes the nearest greys that are not, smoothed, times speckle as strong as theirs."""
    if not covered_HW.any() or covered_HW.all():
        return image_HW
    seen_HW = (~covered_HW).astype(np.float64)
    sigma = max(2.0, 0.5 * np.sqrt(covered_HW.sum() / np.pi))
    weight_HW = ndimage.gaussian_filter(seen_HW, sigma) + 1e-9
    smooth_HW = ndimage.gaussian_filter(image_HW * seen_HW, sigma) / weight_HW
    near_HW = ndimage.binary_dilation(covered_HW, iterations=max(2, int(sigma))) & ~covered_HW
    spread = float(np.std(image_HW[near_HW] / np.maximum(smooth_HW[near_HW], 1.0))) if near_HW.any() else 0.0
    grain_HW = ndimage.gaussian_filter(rng.normal(size=image_HW.shape), 1.0)
    filled_HW = smooth_HW * (1 + spread * grain_HW / max(float(grain_HW.std()), 1e-9))
    return np.where(covered_HW, filled_HW.clip(0, 255), image_HW).astype(np.uint8)


def _check(image_HW: GreyHW, mask_HW: MaskHW) -> None:
    if mask_HW.shape != image_HW.shape:
        raise MaskError(f"the mask has shape (H, W) = {mask_HW.shape}, the image {image_HW.shape}; both must be of one size")
    if not mask_HW.any():
        raise MaskError("the mask is empty, so nothing can be painted over; leave the image out")
