"""PxAP: how well a map's pixels tell those of the lesion from all others, over every threshold at which it could be cut.

PxPrec(t) is the share of the pixels with a value of at least t that lie in a mask, PxRec(t) the share of the masks' pixels
with such a value, the pixels of all images pooled. PxAP is the sum of PxPrec(t) times the growth of PxRec, as t falls from
1 to 0. No threshold is chosen, and shape counts, not only the box.

Choe et al. bring all images to one size; so here a pixel weighs one over the number of pixels of its image.

Maps are kept as what lies in each of LEVELS equal steps of the value. Within a step the lesion's pixels are taken to be
spread evenly; the lowest step counts as one threshold, since pixels below a map's floor are all 0 alike.
`pixel_precision_bounds` says how far that can lie from cutting at every value.

Source: Choe et al. 2020, CVPR, "Evaluating weakly supervised object localization methods right", section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsus.errors import MaskError
from wsus.types import MaskHW

LEVELS = 100

Floats = NDArray[np.float64]
SharesNL = NDArray[np.float32]  # images x levels, from the lowest values to the highest


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelShares:
    """One map by its values: the share of the image's pixels in each level, of the lesion's pixels and of all.

    lesion_L, image_L: level k holds values from k / LEVELS to below (k + 1) / LEVELS, the last one 1 too.
    """

    lesion_L: NDArray[np.float32]
    image_L: NDArray[np.float32]


def level_shares(cam_HW: NDArray[np.float32], mask_HW: MaskHW) -> LevelShares:
    """Count one map's values inside and outside the lesion.

    Args:
        cam_HW: the map scaled to [0, 1], shape (H, W).  mask_HW: bool, True inside the lesion, the same shape.
    Raises:
        MaskError: the shapes differ, or the mask is empty.
    """
    if cam_HW.shape != mask_HW.shape:
        raise MaskError(f"the mask has shape (H, W) = {mask_HW.shape}, the map {cam_HW.shape}; both must be in original pixels")
    if not mask_HW.any():
        raise MaskError("the mask is empty, so there is no lesion to localise; leave the image out of localisation")
    level_HW = np.minimum((cam_HW * LEVELS).astype(np.int16), LEVELS - 1)
    lesion_L, image_L = (np.bincount(values.ravel(), minlength=LEVELS) for values in (level_HW[mask_HW], level_HW))
    return LevelShares(lesion_L=(lesion_L / mask_HW.size).astype(np.float32), image_L=(image_L / mask_HW.size).astype(np.float32))


def pixel_average_precision(lesion_NL: SharesNL, image_NL: SharesNL) -> float:
    """PxAP of a set of maps, in [0, 1]; `LevelShares` of at least one image, stacked."""
    return float(_areas(_summed(lesion_NL), _summed(image_NL))[0])


def pixel_precision_bounds(lesion_NL: SharesNL, image_NL: SharesNL) -> tuple[float, float]:
    """Between what PxAP with a cut at every value must lie, wherever in its level each pixel is.

    The precision at a lesion's pixel is lowest where all others of its level lie above it, and highest where the lesion's do.
    """
    lesion_L, above_L, image_L, all_above_L = _falling(_summed(lesion_NL), _summed(image_NL))
    others_L = image_L - lesion_L
    lowest = _share(above_L, all_above_L + others_L)
    highest = _share(above_L + lesion_L, all_above_L + lesion_L)
    low, high = ((lesion_L * precision).sum() / lesion_L.sum() for precision in (lowest, highest))
    return float(low), float(high)


def leave_one_out(lesion_NL: SharesNL, image_NL: SharesNL, patients: NDArray[np.intp]) -> Floats:
    """PxAP without each patient in turn, shape (patients,): what the jackknife takes. At least two patients.

    Args:
        patients: one number per image.
    """
    groups = np.unique(patients, return_inverse=True)[1]
    rest = []
    for shares_NL in (lesion_NL, image_NL):
        by_patient_GL = np.zeros((int(groups.max()) + 1, shares_NL.shape[1]))
        np.add.at(by_patient_GL, groups, shares_NL)
        rest.append(np.maximum(by_patient_GL.sum(axis=0) - by_patient_GL, 0.0))
    return _areas(rest[0], rest[1])


def _areas(lesion_XL: Floats, image_XL: Floats) -> Floats:
    """PxAP of each of X sets: the mean precision over a level (Simpson's rule) times the recall that it adds."""
    lesion_XL, above_XL, image_XL, all_above_XL = _falling(lesion_XL, image_XL)
    end_XL = _share(above_XL + lesion_XL, all_above_XL + image_XL)
    start_XL = np.where(all_above_XL > 0, _share(above_XL, all_above_XL), end_XL)
    middle_XL = _share(above_XL + lesion_XL / 2, all_above_XL + image_XL / 2)

    mean_XL = (start_XL + 4 * middle_XL + end_XL) / 6
    mean_XL[:, -1] = end_XL[:, -1]
    return np.asarray((lesion_XL * mean_XL).sum(axis=1) / lesion_XL.sum(axis=1))


def _falling(lesion_XL: Floats, image_XL: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """From the highest level down: lesion, lesion above, image, image above."""
    lesion_XL, image_XL = lesion_XL[:, ::-1], image_XL[:, ::-1]
    return lesion_XL, lesion_XL.cumsum(axis=1) - lesion_XL, image_XL, image_XL.cumsum(axis=1) - image_XL


def _summed(shares_NL: SharesNL) -> Floats:
    return np.asarray(shares_NL.sum(axis=0, dtype=np.float64))[None]


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
