"""Which part of an image a model looks at: by its supervision mode, in training's own geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsus.data import roi
from wsus.data.roi import CropGeometry
from wsus.errors import MaskError
from wsus.models.bundle import Bundle
from wsus.types import GreyHW, MaskHW, Mode


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """What is predicted: grey pixels (H, W) and, for a model of the mode manual_roi, the lesion's mask (H, W)."""

    image_id: str
    image_HW: GreyHW
    mask_HW: MaskHW | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkInput:
    """What the network sees of one image. pixels_HW: uint8, square.  fallback: an automatic ROI was wanted and not found."""

    image_id: str
    pixels_HW: GreyHW
    geometry: CropGeometry
    fallback: bool = False


class Cropper:
    """The crops of one model. Only the mode auto_roi loads a network for it, and with it torch."""

    def __init__(self, bundle: Bundle, *, device: str = "cpu") -> None:
        self._card, self._device = bundle.card, device
        self._unet = bundle.unet if bundle.card.mode is Mode.AUTO_ROI else None

    def inputs(self, images: Sequence[DecodedImage]) -> list[NetworkInput]:
        """One input per image. Raises MaskError where a model needs a mask that an image lacks, or that is empty."""
        if self._card.mode is Mode.AUTO_ROI:
            return self._automatic(images)
        if self._card.mode is Mode.MANUAL_ROI:
            return [_cut(image, self._manual(image)) for image in images]
        return [_cut(image, roi.whole_image(_hw(image), self._card.crop)) for image in images]

    def _manual(self, image: DecodedImage) -> CropGeometry:
        if image.mask_HW is None:
            raise MaskError(
                f"{image.image_id}: this model was trained on drawn regions and needs a mask; use a weak model without"
            )
        return roi.around_mask(image.mask_HW, self._card.crop, name=image.image_id)

    def _automatic(self, images: Sequence[DecodedImage]) -> list[NetworkInput]:
        import torch

        from wsus.training.segmenter import find_boxes

        assert self._unet is not None
        assert self._card.segmenter is not None
        wholes = [roi.whole_image(_hw(image), self._card.segmenter.crop) for image in images]
        inputs_BHW = np.stack([roi.extract(image.image_HW, whole) for image, whole in zip(images, wholes, strict=True)])
        boxes = find_boxes(self._unet, inputs_BHW, wholes, self._card.segmenter, device=torch.device(self._device))
        crop = self._card.crop
        return [
            _cut(image, roi.whole_image(_hw(image), crop), fallback=True)
            if box is None
            else _cut(image, roi.around_box(_hw(image), box, crop))
            for image, box in zip(images, boxes, strict=True)
        ]


def _cut(image: DecodedImage, geometry: CropGeometry, *, fallback: bool = False) -> NetworkInput:
    pixels_HW = roi.extract(image.image_HW, geometry)
    return NetworkInput(image_id=image.image_id, pixels_HW=pixels_HW, geometry=geometry, fallback=fallback)


def _hw(image: DecodedImage) -> tuple[int, int]:
    return image.image_HW.shape[0], image.image_HW.shape[1]
