"""The only inference path: a decoded image in, a Prediction in original pixels out.

A row of a study, a file on the command line and an upload all pass here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wsus.data import roi
from wsus.data.roi import CropGeometry
from wsus.errors import ImageError, MaskError
from wsus.inference.localise import cam_in_source, localise
from wsus.nets.cam_net import scale_to_unit
from wsus.training.bundle import Bundle
from wsus.training.segmenter import find_boxes
from wsus.types import MALIGNANT, Explain, GreyHW, MaskHW, Mode, Prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """What is predicted: grey pixels (H, W) and, for a model of the mode manual_roi, the lesion's mask (H, W)."""

    image_id: str
    image_HW: GreyHW
    mask_HW: MaskHW | None = None


class Predictor:
    """One loaded bundle on one device.

    batch_size: images per pass through the network.
    cam_threshold, operating_point: instead of those on the model's card.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 32,
        cam_threshold: float | None = None,
        operating_point: float | None = None,
    ) -> None:
        self.card, self.model_id, self.digest = bundle.card, bundle.model_id, bundle.digest
        self.engine_name = "torch"
        self.device, self.batch_size = torch.device(device), batch_size
        self.cam_threshold = bundle.card.cam_threshold if cam_threshold is None else cam_threshold
        self.operating_point = bundle.card.operating_point if operating_point is None else operating_point
        self._net = bundle.net.to(device=self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._unet = bundle.unet

    def predict(self, images: Sequence[DecodedImage], explain: Explain | Sequence[Explain] = "predicted") -> list[Prediction]:
        """Predict decoded images, in their order.

        Args:
            explain: the class whose map is returned, for all images or for each.
        Raises:
            MaskError: the model needs a mask that an image lacks, or that is empty.
            ImageError: the part of an image that the network would see is all black.
        """
        return list(self.stream(images, explain))

    def stream(self, images: Sequence[DecodedImage], explain: Explain | Sequence[Explain] = "predicted") -> Iterator[Prediction]:
        """`predict`, a batch at a time, so that maps of many images need not be kept together."""
        each: Sequence[Explain] = [explain] * len(images) if isinstance(explain, str) else explain
        for start in range(0, len(images), self.batch_size):
            batch = slice(start, start + self.batch_size)
            yield from self._predict_batch(images[batch], each[batch])

    def _predict_batch(self, images: Sequence[DecodedImage], explain: Sequence[Explain]) -> list[Prediction]:
        crops = self._crops(images)
        inputs_BHW = np.stack([roi.extract(image.image_HW, geometry) for image, (geometry, _) in zip(images, crops, strict=True)])
        for image, input_HW in zip(images, inputs_BHW, strict=True):
            if not input_HW.any():
                raise ImageError(
                    f"{image.image_id}: the part that the network would see is all black; check the region of interest"
                )
        with torch.inference_mode():
            output = self._net(scale_to_unit(torch.from_numpy(inputs_BHW).to(self.device)))
            poms = torch.softmax(output.logits_BC.double(), dim=1)[:, MALIGNANT].cpu().numpy()
            cams_BChw = output.cam_BChw.cpu().numpy()
        return [
            self._prediction(image, float(pom), cam_Chw, geometry, fallback, whose)
            for image, pom, cam_Chw, (geometry, fallback), whose in zip(images, poms, cams_BChw, crops, explain, strict=True)
        ]

    def _prediction(
        self,
        image: DecodedImage,
        pom: float,
        cam_Chw: NDArray[np.float32],
        geometry: CropGeometry,
        fallback: bool,
        explain: Explain,
    ) -> Prediction:
        label = int(pom >= self.operating_point)
        explained = label if explain == "predicted" else MALIGNANT
        cam_HW = cam_in_source(cam_Chw[explained], geometry)
        return Prediction(
            image_id=image.image_id,
            pom=pom,
            label=label,
            operating_point=self.operating_point,
            explained_class=explained,
            cam_HW=cam_HW,
            localisation=localise(cam_HW, self.cam_threshold),
            crop_xyxy_px=geometry.box_xyxy_px,
            fallback_crop=fallback,
            model_id=self.model_id,
        )

    def _crops(self, images: Sequence[DecodedImage]) -> list[tuple[CropGeometry, bool]]:
        """What the network sees of each image, and whether an automatic ROI was wanted and not found."""
        sizes = [(image.image_HW.shape[0], image.image_HW.shape[1]) for image in images]
        crop, mode = self.card.crop, self.card.mode
        if mode is Mode.WEAK:
            return [(roi.whole_image(hw, crop), False) for hw in sizes]
        if mode is Mode.MANUAL_ROI:
            return [(self._manual_crop(image), False) for image in images]
        assert self._unet is not None
        assert self.card.segmenter is not None
        wholes = [roi.whole_image(hw, self.card.segmenter.crop) for hw in sizes]
        inputs_BHW = np.stack([roi.extract(image.image_HW, whole) for image, whole in zip(images, wholes, strict=True)])
        boxes = find_boxes(self._unet, inputs_BHW, wholes, self.card.segmenter, device=self.device)
        return [
            (roi.whole_image(hw, crop), True) if box is None else (roi.around_box(hw, box, crop), False)
            for hw, box in zip(sizes, boxes, strict=True)
        ]

    def _manual_crop(self, image: DecodedImage) -> CropGeometry:
        if image.mask_HW is None:
            raise MaskError(
                f"{image.image_id}: this model was trained on drawn regions and needs a mask; use a weak model without"
            )
        return roi.around_mask(image.mask_HW, self.card.crop, name=image.image_id)
