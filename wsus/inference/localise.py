"""From a class activation map to where it points, in the original image's pixels.

Source: Kim et al. 2021: M' = (M - min M) / (max M - min M), focus = M' >= 0.3. A percentile in the place of the minimum:
Kim et al. 2021, ICCV, "Normalization matters in weakly supervised object localization".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsus.data.roi import CropGeometry
from wsus.types import BoxXyxyPx, Localisation, MaskHW


def cam_in_source(cam_hw: NDArray[np.floating], geometry: CropGeometry, floor_percentile: float = 0.0) -> NDArray[np.float32]:
    """Bring a map to the original's pixels and scale it to [0, 1] over the part of the image that the network saw.

    What lies in the padding beyond the border takes no part in the scaling: a lesion cannot be there.

    Args:
        cam_hw: finite map M_c at the network's resolution, shape (h, w).
        floor_percentile: of the map over what the network saw; what lies at or below it becomes 0.
    Returns:
        float32, shape (H, W) of the original; 0 where nothing was seen; all 0 where the map is constant.
    Raises:
        ValueError: the map is not two-dimensional or not finite.
    """
    if cam_hw.ndim != 2 or cam_hw.size == 0:
        raise ValueError(f"a map has shape (h, w) with h, w >= 1; got {cam_hw.shape}")
    if not np.isfinite(cam_hw).all():
        raise ValueError(f"a map must be finite; {np.count_nonzero(~np.isfinite(cam_hw))} of {cam_hw.size} values are not")
    map_HW = geometry.map_to_source(cam_hw, outside=np.nan)
    low = np.nanpercentile(map_HW, floor_percentile) if floor_percentile else np.nanmin(map_HW)
    high = np.nanmax(map_HW)
    if not high > low:
        return np.zeros(geometry.source_hw, dtype=np.float32)
    scaled_HW = np.nan_to_num((map_HW - low) / (high - low), nan=0.0).astype(np.float32)
    return scaled_HW.clip(0.0, 1.0) if floor_percentile else scaled_HW


def localise(cam_HW: NDArray[np.float32], threshold: float = 0.3) -> Localisation:
    """Cut a map that is scaled to [0, 1] at a threshold.

    Raises:
        ValueError: the threshold lies outside (0, 1).

    >>> localise(np.array([[0.0, 0.2, 1.0]], dtype=np.float32)).boxes_xyxy_px
    ((2, 0, 3, 1),)
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), a share of the map's range; got {threshold!r}")
    constant = not bool(cam_HW.max() > 0)  # a constant map points nowhere: saying "everywhere" would count as localised
    focus_HW = (cam_HW >= threshold) & (not constant)
    row, column = np.unravel_index(int(cam_HW.argmax()), cam_HW.shape)
    return Localisation(
        threshold=threshold,
        focus_HW=focus_HW,
        boxes_xyxy_px=_boxes(focus_HW),
        peak_xy_px=None if constant else (int(column), int(row)),
        area_fraction=np.count_nonzero(focus_HW) / focus_HW.size,
        constant_map=constant,
    )


def _boxes(focus_HW: MaskHW) -> tuple[BoxXyxyPx, ...]:
    """The bounding boxes of the 8-connected components, the largest component first."""
    rows, columns = np.flatnonzero(focus_HW.any(axis=1)), np.flatnonzero(focus_HW.any(axis=0))
    if not rows.size:
        return ()
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    components_hw, count = ndimage.label(focus_HW[top:bottom, left:right], structure=np.ones((3, 3)))
    if count == 1:
        return ((left, top, right, bottom),)
    sizes = np.bincount(components_hw.ravel(), minlength=count + 1)[1:]
    found = ndimage.find_objects(components_hw)
    return tuple(
        (left + found[i][1].start, top + found[i][0].start, left + found[i][1].stop, top + found[i][0].stop)
        for i in np.argsort(-sizes, kind="stable")
    )
