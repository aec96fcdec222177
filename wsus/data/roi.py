"""From an original image to the square that a network sees, and back.

Source: Kim et al. 2021: "we extracted a square image with a fixed margin of 30 pixels that enclosed the corresponding
mask, resized the image to 224 x 224 pixels".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsus.errors import ConfigError, MaskError
from wsus.types import BoxXyxyPx, GreyHW, MaskHW

Fit = Literal["pad", "stretch"]
_MAX_SIZE_PX = 2048
_STRIP_PIXELS = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CropConfig:
    """How an image becomes a network's input.

    size_px: side of the input; 224 in the paper.
    margin_px: what is added on each side of the smallest square around a mask; 30 in the paper.
    fit: a whole image is padded to a square ("pad", keeps the aspect ratio) or stretched to it ("stretch", the paper).
    """

    size_px: int = 224
    margin_px: int = 30
    fit: Fit = "pad"

    def __post_init__(self) -> None:
        if self.size_px < 32:
            raise ConfigError(f"size_px must be at least 32, or a stride of 32 leaves no map; got {self.size_px}")
        if self.size_px > _MAX_SIZE_PX:  # a bundle says it, and memory goes with its square
            raise ConfigError(f"size_px must be at most {_MAX_SIZE_PX}; got {self.size_px}")
        if self.margin_px < 0:
            raise ConfigError(f"margin_px must not be negative; got {self.margin_px}")
        if self.margin_px > _MAX_SIZE_PX:
            raise ConfigError(f"margin_px must be at most {_MAX_SIZE_PX}; got {self.margin_px}")
        if self.fit not in ("pad", "stretch"):
            raise ConfigError(f"fit must be 'pad' or 'stretch'; got {self.fit!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CropGeometry:
    """Which box of an original image was resized to a square input. The box may reach beyond the image: then it was padded.

    source_hw: (H, W) of the original.  box_xyxy_px: in original pixels.  size_px: side of the input.
    """

    source_hw: tuple[int, int]
    box_xyxy_px: BoxXyxyPx
    size_px: int

    def to_source_xy(self, x: float, y: float) -> tuple[float, float]:
        """Continuous input coordinates (pixel edges at integers) -> continuous original coordinates."""
        x0, y0, x1, y1 = self.box_xyxy_px
        return x0 + x * (x1 - x0) / self.size_px, y0 + y * (y1 - y0) / self.size_px

    def to_input_xy(self, x: float, y: float) -> tuple[float, float]:
        """The inverse of `to_source_xy`."""
        x0, y0, x1, y1 = self.box_xyxy_px
        return (x - x0) * self.size_px / (x1 - x0), (y - y0) * self.size_px / (y1 - y0)

    def map_to_source(self, map_hw: NDArray[np.floating], outside: float = 0.0) -> NDArray[np.float32]:
        """Bring a map over the input (any resolution) to the original's pixels, bilinearly; `outside` where nothing was seen.

        Returns:
            float32, shape `source_hw`.
        """
        x0, y0, x1, y1 = self.box_xyxy_px
        height, width = self.source_hw
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)

        map_height, map_width = map_hw.shape
        down, across = map_height / (y1 - y0), map_width / (x1 - x0)  # of a pixel of the original, on the map
        inside = ((left - x0) * across, (top - y0) * down, (right - x0) * across, (bottom - y0) * down)
        resized = Image.fromarray(np.ascontiguousarray(map_hw, dtype=np.float32)).resize(
            (right - left, bottom - top), Image.Resampling.BILINEAR, box=inside
        )  # of the image alone: the padding of a narrow one is many times as large

        result_HW = np.full((height, width), outside, dtype=np.float32)
        result_HW[top:bottom, left:right] = np.asarray(resized)
        return result_HW


def whole_image(image_hw: tuple[int, int], config: CropConfig) -> CropGeometry:
    """The geometry of the whole image: padded evenly to a square, or stretched to it."""
    height, width = image_hw
    if config.fit == "stretch":
        return CropGeometry(source_hw=image_hw, box_xyxy_px=(0, 0, width, height), size_px=config.size_px)
    side = max(height, width)
    x0, y0 = -((side - width) // 2), -((side - height) // 2)
    return CropGeometry(source_hw=image_hw, box_xyxy_px=(x0, y0, x0 + side, y0 + side), size_px=config.size_px)


def around_box(image_hw: tuple[int, int], box_xyxy_px: BoxXyxyPx, config: CropConfig) -> CropGeometry:
    """The smallest square that holds the box, plus the margin; at the border it is shifted, then padded."""
    x0, y0, x1, y1 = box_xyxy_px
    side = max(x1 - x0, y1 - y0) + 2 * config.margin_px
    left = _placed((x0 + x1 - side) // 2, side, image_hw[1])
    top = _placed((y0 + y1 - side) // 2, side, image_hw[0])
    return CropGeometry(source_hw=image_hw, box_xyxy_px=(left, top, left + side, top + side), size_px=config.size_px)


def mask_box(mask_HW: MaskHW, *, largest_only: bool = False) -> BoxXyxyPx | None:
    """The smallest box around a mask (of its largest connected component, if asked); None where it is empty."""
    if largest_only and mask_HW.any():
        components_HW, _ = ndimage.label(mask_HW, structure=np.ones((3, 3)))
        mask_HW = components_HW == np.bincount(components_HW.ravel())[1:].argmax() + 1
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if rows.size == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def around_mask(mask_HW: MaskHW, config: CropConfig, *, name: str) -> CropGeometry:
    """The manual ROI of the paper: `around_box` of a mask. Raises MaskError where the mask is empty."""
    box = mask_box(mask_HW)
    if box is None:
        raise MaskError(f"{name}: the mask is empty, so there is no region of interest; draw one, or use the mode 'weak'")
    return around_box((mask_HW.shape[0], mask_HW.shape[1]), box, config)


def extract(image_HW: GreyHW, geometry: CropGeometry) -> GreyHW:
    """Cut the box out (zeros beyond the border) and resize it to the input's side, bilinearly with antialiasing.

    Returns:
        uint8, shape (size_px, size_px).
    """
    if image_HW.shape != geometry.source_hw:
        raise ValueError(f"the geometry is for an image of {geometry.source_hw}; got {image_HW.shape}")
    size = geometry.size_px
    x0, y0, x1, y1 = geometry.box_xyxy_px
    whole = Image.fromarray(image_HW)
    if (x1 - x0) * (y1 - y0) <= _STRIP_PIXELS:
        box = whole.crop(geometry.box_xyxy_px)  # Pillow pads with zeros
        return np.asarray(box.resize((size, size), Image.Resampling.BILINEAR))

    narrow_HS = np.zeros((y1 - y0, size), np.uint8)  # as Pillow does it: across, rounded, then down; but no padding as a whole
    step = max(1, _STRIP_PIXELS // (x1 - x0))
    for top in range(max(y0, 0), min(y1, image_HW.shape[0]), step):
        bottom = min(top + step, y1, image_HW.shape[0])
        strip = whole.crop((x0, top, x1, bottom)).resize((size, bottom - top), Image.Resampling.BILINEAR)
        narrow_HS[top - y0 : bottom - y0] = np.asarray(strip)
    return np.asarray(Image.fromarray(narrow_HS).resize((size, size), Image.Resampling.BILINEAR))


def _placed(start: int, side: int, length: int) -> int:
    """Shift a span of `side` into [0, length); where it does not fit, centre it, so that the padding is even."""
    if side >= length:
        return -((side - length) // 2)
    return min(max(start, 0), length - side)
