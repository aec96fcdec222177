"""MaxBoxAcc: how often a map's box meets the lesion's, over all thresholds at which the map could have been cut.

BoxAcc(threshold, d) is the share of images in which the box of the map, cut at the threshold, has an IoU of at least d
with the lesion's box; MaxBoxAcc(d) is its maximum over the thresholds. It frees a method from the choice of a threshold,
and is optimistic where the threshold is chosen on the images that it is reported for. Thresholds lie 0.01 apart; what a finer
grid would add stands in docs/localisation.md.

MaxBoxAcc: d = 0.5, the box of the largest component. MaxBoxAccV2: the mean over d = 0.3, 0.5 and 0.7, of the component
and the lesion that fit best.

Source: Choe et al. 2020, CVPR, "Evaluating weakly supervised object localization methods right", sections 3.2 and 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsus.errors import MaskError
from wsus.evaluation.level_boxes import level_boxes
from wsus.evaluation.localisation import centred_box
from wsus.types import MaskHW

CAM_THRESHOLDS = tuple(step / 100 for step in range(1, 100))
OLDER_THRESHOLDS = tuple(step / 20 for step in range(1, 20))  # of predictions that an older version wrote
IOU_LEVELS = (0.3, 0.5, 0.7)
_MAIN_LEVEL = 0.5

IouT = NDArray[np.float32]  # one per threshold
IouNT = NDArray[np.float32]  # images x thresholds


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxIous:
    """One image's IoUs, one per threshold of CAM_THRESHOLDS; 0 where nothing reaches the threshold.

    largest_T: the box of the map's largest component with the box of the whole mask.
    best_T: the component and the part of the mask whose boxes fit best.
    """

    largest_T: IouT
    best_T: IouT


@dataclass(frozen=True, kw_only=True, slots=True)
class LesionBoxes:
    """What a map's boxes are held against: the box of the whole mask, (1, 4), those of its connected parts, (M, 4)."""

    image_hw: tuple[int, int]
    whole_14: NDArray[np.int64]
    parts_M4: NDArray[np.int64]


def lesion_boxes(mask_HW: MaskHW) -> LesionBoxes:
    """The boxes of a mask, bool, shape (H, W). Raises MaskError where it is empty."""
    parts_M4 = level_boxes(mask_HW.astype(np.float32), (0.5,)).boxes_N4
    if not len(parts_M4):
        raise MaskError("the mask is empty, so there is no lesion to localise; leave the image out of localisation")
    whole_14 = np.concatenate([parts_M4[:, :2].min(axis=0), parts_M4[:, 2:].max(axis=0)])[None]
    return LesionBoxes(image_hw=(mask_HW.shape[0], mask_HW.shape[1]), whole_14=whole_14, parts_M4=parts_M4)


def box_ious(cam_HW: NDArray[np.float32], lesion: LesionBoxes) -> BoxIous:
    """Cut one map at every threshold and hold its boxes against those of the mask.

    Args:
        cam_HW: the map scaled to [0, 1], shape (H, W) of the mask.
    Raises:
        MaskError: the map has another shape than the mask.
    """
    if cam_HW.shape != lesion.image_hw:
        raise MaskError(f"the mask has shape (H, W) = {lesion.image_hw}, the map {cam_HW.shape}; both must be in original pixels")
    found = level_boxes(cam_HW, CAM_THRESHOLDS)
    largest_T, best_T = np.zeros((2, len(CAM_THRESHOLDS)), dtype=np.float32)
    order = np.lexsort((-found.area_px_N, found.level_N))  # of equal areas, the first
    levels, first = np.unique(found.level_N[order], return_index=True)
    largest_T[levels] = _ious(found.boxes_N4[order[first]], lesion.whole_14)[:, 0]
    np.maximum.at(best_T, found.level_N, _ious(found.boxes_N4, lesion.parts_M4).max(axis=1))
    return BoxIous(largest_T=largest_T, best_T=best_T)


def centred_box_ious(lesion: LesionBoxes) -> BoxIous:
    """The baseline that always points at the middle; where a map is cut at t, its box spans 1 - t of each side.

    So it has the same freedom as a map: one number, chosen for the whole set.
    """
    boxes_T4 = np.array([centred_box(lesion.image_hw, 1 - threshold, 1 - threshold) for threshold in CAM_THRESHOLDS])
    return BoxIous(largest_T=_ious(boxes_T4, lesion.whole_14)[:, 0], best_T=_ious(boxes_T4, lesion.parts_M4).max(axis=1))


def box_accuracy(ious_NT: IouNT, iou_level: float = _MAIN_LEVEL) -> NDArray[np.float64]:
    """BoxAcc at every threshold: the share of images that reach the level, in [0, 1], shape (thresholds,)."""
    return np.asarray((ious_NT >= iou_level).mean(axis=0), dtype=np.float64)


def best_threshold(ious_NT: IouNT, iou_level: float = _MAIN_LEVEL) -> int:
    """The place of the threshold with the highest BoxAcc, the lowest of equals: where MaxBoxAcc is reached."""
    return int(box_accuracy(ious_NT, iou_level).argmax())


def hits_at(ious_NT: IouNT, threshold: int, iou_level: float = _MAIN_LEVEL) -> NDArray[np.bool_]:
    """Which images reach the level at the threshold of a place."""
    return np.asarray(ious_NT[:, threshold] >= iou_level)


def v2_hits(best_NT: IouNT) -> NDArray[np.float64]:
    """Per image the share of the levels that it reaches, each level at its own best threshold; the mean is MaxBoxAccV2."""
    hits = [hits_at(best_NT, best_threshold(best_NT, level), level) for level in IOU_LEVELS]
    return np.asarray(np.mean(hits, axis=0), dtype=np.float64)


def _ious(boxes_N4: NDArray[np.int64], others_M4: NDArray[np.int64]) -> NDArray[np.float32]:
    """Intersection over union of every box with every other, shape (N, M)."""
    low_NM2 = np.maximum(boxes_N4[:, None, :2], others_M4[None, :, :2])
    high_NM2 = np.minimum(boxes_N4[:, None, 2:], others_M4[None, :, 2:])
    shared_NM = np.maximum(high_NM2 - low_NM2, 0).prod(axis=2)
    areas_N, areas_M = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes_N4, others_M4))
    return (shared_NM / (areas_N[:, None] + areas_M[None] - shared_NM)).astype(np.float32)
