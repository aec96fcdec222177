"""Masks that cannot be right: what their pixels say, and what a reader would silently make of them.

A mask marks the lesion by pixels that are not black. So a shape that lies in the alpha channel, in a palette with a white
ground or in a colour that turns black is read as another one; JPEG smears an edge, and 20 % more pixels are not black; an
inverted mask, or a copy of the image itself, marks nearly everything.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsus.types import GreyImage, MaskHW

MaskFaultKind = Literal[
    "mask_alpha", "mask_palette", "mask_colour", "mask_is_picture", "mask_smeared", "mask_whole", "mask_inverted"
]
_FEW_LEVELS = 16  # labels of several lesions; a picture has more
_NEAR = 32  # of 255: what JPEG makes of black or white
_TWO_VALUED_SHARE = 0.95
_SMEAR = {"JPEG": 0.02, "": 0.10}  # of the area; a soft edge of a lossless mask is a pixel wide
_INVERTED_AREA, _INVERTED_BORDER = 0.5, 0.75


class MaskFault(NamedTuple):
    """Why a mask cannot be right: its kind, and a sentence with what to do."""

    kind: MaskFaultKind
    words: str


class ReadMask(NamedTuple):
    """A mask as it is read, bool (H, W), and what is wrong with it."""

    mask_HW: MaskHW
    fault: MaskFault | None


def interpret(opened: Image.Image, kind: str) -> ReadMask:
    """The mask of a picture file: what is not black is inside.

    Args:
        opened: upright and loaded, of any mode.  kind: PNG, JPEG, BMP or TIFF.
    """
    fault = _hidden_shape(opened)
    levels_HW = np.asarray(opened if opened.mode == "1" else opened.convert("L"))
    mask_HW = levels_HW > 0
    if fault is None and opened.mode not in ("I", "F", "I;16", "I;16B"):
        fault = _levels_fault(levels_HW.astype(np.uint8), mask_HW, kind)
    return ReadMask(mask_HW, fault or _shape_fault(mask_HW))


def is_image_itself(opened: Image.Image, image: GreyImage) -> MaskFault | None:
    """The fault of a mask whose pixels are those of its image."""
    levels_HW = np.asarray(opened.convert("L"))
    x0, y0, x1, y1 = image.crop_xyxy_px
    same = levels_HW.shape == image.source_hw and np.array_equal(levels_HW[y0:y1, x0:x1], image.grey_HW)
    return MaskFault("mask_is_picture", "it is the image itself; take the mask that was drawn") if same else None


def is_two_valued(opened: Image.Image) -> bool:
    """Whether a picture has no more than two values, alpha included: no ultrasound image has so few."""
    values = np.asarray(opened.convert("RGBA")).view(np.uint32)
    first = values.flat[0]
    others = values[values != first]
    return not others.size or bool((others == others[0]).all())


def looks_like_a_mask(opened: Image.Image) -> bool:
    """As `is_two_valued`, for masks that JPEG or resampling softened, and those with a few labels."""
    if is_two_valued(opened) or opened.mode == "1":
        return True
    levels_HW = np.asarray(opened.convert("L"))
    return np.unique(levels_HW).size <= _FEW_LEVELS or _nearly_two_valued(levels_HW)


def _hidden_shape(opened: Image.Image) -> MaskFault | None:
    """Shapes that turning grey loses."""
    if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
        alpha = opened.convert("RGBA").getchannel("A")
        if np.asarray(alpha).min() < 255:
            return MaskFault(
                "mask_alpha", "its shape may lie in the alpha channel; save it black and white, without transparency"
            )
    if opened.mode == "P":
        indices_HW = np.asarray(opened)
        if not np.array_equal(indices_HW > 0, np.asarray(opened.convert("L")) > 0):
            words = "its palette shows the ground (index 0) bright or a mark black; save it black and white, without a palette"
            return MaskFault("mask_palette", words)
    if opened.mode in ("RGB", "RGBA", "P", "PA"):
        colours_HW3 = np.asarray(opened.convert("RGB"))
        if not np.array_equal(colours_HW3.max(axis=2) > 0, np.asarray(opened.convert("L")) > 0):
            words = "it marks by a colour that is black as grey; save it black and white"
            return MaskFault("mask_colour", words)
    return None


def _levels_fault(levels_HW: NDArray[np.uint8], mask_HW: MaskHW, kind: str) -> MaskFault | None:
    high = int(levels_HW.max())
    count = np.unique(levels_HW).size
    if count <= 2 or (kind != "JPEG" and count <= _FEW_LEVELS and high <= _FEW_LEVELS):
        return None
    if count > _FEW_LEVELS and not _nearly_two_valued(levels_HW):
        words = f"it has {count} grey levels, as a picture has; save a mask that is black outside the lesion and white inside"
        return MaskFault("mask_is_picture", words)
    area, sharp = int(mask_HW.sum()), int((levels_HW >= high / 2).sum())
    if sharp and area - sharp > _SMEAR.get(kind, _SMEAR[""]) * sharp and _nearly_two_valued(levels_HW):
        how = "JPEG has" if kind == "JPEG" else "resampling or compression has"
        words = (
            f"{how} smeared its edge, so that its area is {100 * (area - sharp) / sharp:.0f} % off; save it as PNG, in two values"
        )
        return MaskFault("mask_smeared", words)
    return None


def _nearly_two_valued(levels_HW: NDArray[np.uint8]) -> bool:
    low, high = int(levels_HW.min()), int(levels_HW.max())
    near = (levels_HW <= low + min(_NEAR, (high - low) // 4)) | (levels_HW >= high - min(_NEAR, (high - low) // 4))
    return bool(high - low > 2 * _NEAR and near.mean() >= _TWO_VALUED_SHARE)


def _shape_fault(mask_HW: MaskHW) -> MaskFault | None:
    if mask_HW.all():
        return MaskFault("mask_whole", "it marks the whole image; draw the lesion")
    border = np.concatenate([mask_HW[0], mask_HW[-1], mask_HW[1:-1, 0], mask_HW[1:-1, -1]])
    if mask_HW.mean() > _INVERTED_AREA and border.mean() > _INVERTED_BORDER:
        share = f"{100 * mask_HW.mean():.0f} %"
        words = f"it marks {share} of the image and its border, as if inside and outside were exchanged; invert it"
        return MaskFault("mask_inverted", words)
    return None
