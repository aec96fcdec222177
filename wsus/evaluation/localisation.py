"""Does a map point at the lesion? One image's figures, and what a map that knows nothing would get on the same mask.

Sources: Kim et al. 2021 (correct where the focus overlaps the mask at all); Choe et al. 2020, CVPR, "Evaluating weakly
supervised object localization methods right" (box IoU; the centred box as a baseline); Zhang et al. 2018, IJCV 126:1084
(pointing game, and its tolerance of 15 pixels); Wang et al. 2020, CVPR workshops, "Score-CAM" (energy-based pointing game).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsus.data.roi import mask_box
from wsus.errors import MaskError
from wsus.types import BoxXyxyPx, MaskHW

POINTING_TOLERANCE_PX = 15  # at the map's size, which here is the image's (Zhang et al. 2018)
_NOISE_SIDE = 7  # the side of a stock network's map at 224 px and stride 32


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalisationScores:
    """One image's localisation against the radiologist's mask.

    localised: the focus and the mask share a pixel (the paper's criterion, lenient).
    iou: of the box of the focus' largest component with the mask's box, in [0, 1].
    dice: of the focus with the mask, pixel by pixel, in [0, 1].
    pointing_hit: the map's peak lies inside the mask.
    pointing_hit_15px: it lies within POINTING_TOLERANCE_PX of a pixel of the mask.
    energy_in_mask: share of the map's sum inside the mask, in [0, 1]; 0 for a map of zeros.
    """

    localised: bool
    iou: float
    dice: float
    pointing_hit: bool
    pointing_hit_15px: bool
    energy_in_mask: float


def score_localisation(
    cam_HW: NDArray[np.float32],
    focus_HW: MaskHW,
    largest_box: BoxXyxyPx | None,
    peak_xy_px: tuple[int, int] | None,
    mask_HW: MaskHW,
) -> LocalisationScores:
    """Compare one map with one mask.

    Args:
        cam_HW: the map scaled to [0, 1] in original pixels, shape (H, W).  focus_HW: bool, the map cut at its threshold.
        largest_box: half-open box of the focus' largest component; None where the map is constant (no focus).
        peak_xy_px: (x, y) of the map's maximum; None where the map is constant.
        mask_HW: bool, True inside the lesion, at least one pixel.
    Raises:
        MaskError: the mask is empty (nothing could be localised: leave such an image out), or differs in size from the map.
        ValueError: map and focus differ in shape, or the map is negative or not finite.
    """
    if cam_HW.shape != focus_HW.shape or cam_HW.ndim != 2:
        raise ValueError(f"map and focus have the same shape (H, W); got {cam_HW.shape} and {focus_HW.shape}")
    _check_mask(mask_HW)
    if mask_HW.shape != cam_HW.shape:
        raise MaskError(f"the mask has shape (H, W) = {mask_HW.shape}, the map {cam_HW.shape}; both must be in original pixels")
    total = float(cam_HW.sum(dtype=np.float64))
    if not np.isfinite(total) or float(cam_HW.min()) < 0.0:
        raise ValueError("a map scaled to [0, 1] is finite and not negative; scale it before it is scored")
    overlap = int(np.count_nonzero(focus_HW & mask_HW))
    return LocalisationScores(
        localised=overlap > 0,
        iou=box_iou(largest_box, mask_box(mask_HW)),
        dice=2 * overlap / (int(np.count_nonzero(focus_HW)) + int(np.count_nonzero(mask_HW))),
        pointing_hit=_points_at(mask_HW, peak_xy_px, 0),
        pointing_hit_15px=_points_at(mask_HW, peak_xy_px, POINTING_TOLERANCE_PX),
        energy_in_mask=min(float(cam_HW[mask_HW].sum(dtype=np.float64)) / total, 1.0) if total > 0 else 0.0,
    )


def box_iou(first: BoxXyxyPx | None, second: BoxXyxyPx | None) -> float:
    """Intersection over union of two half-open boxes; 0 where either does not exist.

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    if first is None or second is None:
        return 0.0
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def centred_box_scores(mask_HW: MaskHW, *, width_share: float = 0.5, height_share: float = 0.5) -> LocalisationScores:
    """The baseline that always points at the middle: a box over the given share of each side, uniform inside.

    Args:
        mask_HW: bool, at least one pixel.  width_share, height_share: in (0, 1]; half by default. Give the average focus'
            shares to compare at equal size.
    Raises:
        MaskError: the mask is empty.
        ValueError: a share outside (0, 1].
    """
    for name, share in (("width_share", width_share), ("height_share", height_share)):
        if not 0.0 < share <= 1.0:
            raise ValueError(f"{name} must lie in (0, 1]; got {share!r}")
    _check_mask(mask_HW)
    height, width = mask_HW.shape
    x0, y0, x1, y1 = box = centred_box((height, width), width_share, height_share)
    focus_HW = np.zeros(mask_HW.shape, dtype=bool)
    focus_HW[y0:y1, x0:x1] = True
    return score_localisation(focus_HW.astype(np.float32), focus_HW, box, (width // 2, height // 2), mask_HW)


def centred_box(image_hw: tuple[int, int], width_share: float, height_share: float) -> BoxXyxyPx:
    """The box in the middle of an image (H, W) over the given share of each side, at least one pixel wide and high."""
    height, width = image_hw
    box_width, box_height = max(1, round(width * width_share)), max(1, round(height * height_share))
    x0, y0 = (width - box_width) // 2, (height - box_height) // 2
    return x0, y0, x0 + box_width, y0 + box_height


def random_map(image_hw: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """7 x 7 normal noise brought to the image's size as a network's map is, scaled to [0, 1]; float32, shape (H, W)."""
    noise_hw = np.random.default_rng(seed).normal(size=(_NOISE_SIDE, _NOISE_SIDE)).astype(np.float32)
    noise_HW = np.asarray(Image.fromarray(noise_hw).resize((image_hw[1], image_hw[0]), Image.Resampling.BILINEAR))
    low, high = noise_HW.min(), noise_HW.max()
    return (noise_HW - low) / (high - low) if high > low else np.zeros(image_hw, dtype=np.float32)


def cut_and_score(cam_HW: NDArray[np.float32], mask_HW: MaskHW, threshold: float = 0.3) -> LocalisationScores:
    """`score_localisation` of a map that is scaled to [0, 1], cut at a threshold; with `random_map`, a baseline.

    Args:
        cam_HW: shape (H, W); constant where all 0.  mask_HW: bool, at least one pixel.
        threshold: share of the map's range, in (0, 1).
    Raises:
        MaskError: the mask is empty.
        ValueError: a threshold outside (0, 1).
    """
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold must lie in (0, 1), a share of the map's range; got {threshold!r}")
    _check_mask(mask_HW)
    focus_HW = cam_HW >= threshold
    peak_y, peak_x = np.unravel_index(int(cam_HW.argmax()), cam_HW.shape)
    peak = (int(peak_x), int(peak_y)) if focus_HW.any() else None
    return score_localisation(cam_HW, focus_HW, mask_box(focus_HW, largest_only=True), peak, mask_HW)


def centred_box_map(image_hw: tuple[int, int]) -> NDArray[np.float32]:
    """The map of the baseline that always points at the middle: cut at t it is a box over 1 - t of each side.

    Float32, shape (H, W), of an image of that height and width.
    """
    across_H, across_W = (np.abs(2 * np.arange(side) + 1 - side) / side for side in image_hw)
    return np.asarray(1 - np.maximum(across_H[:, None], across_W), dtype=np.float32)


def _points_at(mask_HW: MaskHW, peak_xy_px: tuple[int, int] | None, tolerance_px: int) -> bool:
    """Whether a pixel of the mask lies within the tolerance of the peak, centre to centre."""
    if peak_xy_px is None:
        return False
    x, y = peak_xy_px
    top, left = max(y - tolerance_px, 0), max(x - tolerance_px, 0)
    near_y, near_x = np.nonzero(mask_HW[top : y + tolerance_px + 1, left : x + tolerance_px + 1])
    return bool(((near_x + left - x) ** 2 + (near_y + top - y) ** 2 <= tolerance_px**2).any())


def _check_mask(mask_HW: MaskHW) -> None:
    if mask_HW.ndim != 2 or not mask_HW.any():
        raise MaskError(
            "the mask is empty, so there is no lesion to localise; leave the image out of localisation, or draw its mask"
        )


def _area(box: BoxXyxyPx) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
