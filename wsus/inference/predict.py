"""The only inference path: a decoded image in, a Prediction in original pixels out.

A row of a study, a file on the command line and an upload all pass here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from wsus.errors import ImageError, ImageReason
from wsus.inference.crops import Cropper, DecodedImage, NetworkInput
from wsus.inference.engines.choose import make_engine
from wsus.inference.engines.engine import Engine, EngineChoice, EngineOutput, Precision
from wsus.inference.expected import read_expected
from wsus.inference.guard import read_guard
from wsus.inference.localise import cam_in_source, localise
from wsus.models.bundle import Bundle
from wsus.models.sites import SiteProfile
from wsus.types import MALIGNANT, Explain, Prediction

if TYPE_CHECKING:
    import torch


class Predictor:
    """One loaded bundle on one device.

    batch_size: images per pass through the network.
    cam_threshold, operating_point: instead of those on the model's card.
    site: the profile that POMs are scaled and cut by, where a call names no other; None for the model's own.
    engine, threads, precision: what runs the network, see `make_engine`; or an engine that is loaded already.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 32,
        cam_threshold: float | None = None,
        operating_point: float | None = None,
        site: SiteProfile | None = None,
        engine: EngineChoice | Engine = "auto",
        threads: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.card, self.model_id, self.digest = bundle.card, bundle.model_id, bundle.digest
        self.batch_size = batch_size
        self.cam_threshold = bundle.card.cam_threshold if cam_threshold is None else cam_threshold
        self.operating_point = bundle.card.operating_point if operating_point is None else operating_point
        self.site = site
        if isinstance(engine, str):
            engine = make_engine(bundle, engine, device=str(device), threads=threads, precision=precision)
        self.engine = engine
        self.expected_answers, self.guard = read_expected(bundle), read_guard(bundle)
        self._cropper = Cropper(bundle, device=str(device))

    @property
    def engine_name(self) -> str:
        """What runs the network: "torch" or "onnx"."""
        return self.engine.name

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
        explains = _for_each(explain, len(images))
        for start in range(0, len(images), self.batch_size):
            batch = slice(start, start + self.batch_size)
            inputs = self._cropper.inputs(images[batch])
            yield from self._predict_batch(inputs, explains[batch], [self.site] * len(inputs))

    def predict_inputs(
        self,
        inputs: Sequence[NetworkInput],
        explain: Explain | Sequence[Explain] = "predicted",
        sites: Sequence[SiteProfile | None] | None = None,
    ) -> list[Prediction]:
        """`predict`, for images that were cropped elsewhere: as `card.crop` says, by `wsus.data.roi`.

        Args:
            sites: the profile for each image; this predictor's for all where None.
        Raises:
            ImageError: an input is all black, or the network gives no number for it.
        """
        explains = _for_each(explain, len(inputs))
        profiles = [self.site] * len(inputs) if sites is None else sites
        batches = (slice(start, start + self.batch_size) for start in range(0, len(inputs), self.batch_size))
        return [one for batch in batches for one in self._predict_batch(inputs[batch], explains[batch], profiles[batch])]

    def _predict_batch(
        self, inputs: Sequence[NetworkInput], explains: Sequence[Explain], sites: Sequence[SiteProfile | None]
    ) -> list[Prediction]:
        inputs_BHW = np.stack([one.pixels_HW for one in inputs])
        for one in inputs:
            if not one.pixels_HW.any():
                raise ImageError(
                    f"{one.image_id}: the part that the network would see is all black; check the region of interest",
                    ImageReason.BLANK,
                )
        output = self.engine.infer(inputs_BHW)
        if self.card.map.mirror:
            output = _mean_with_mirrored(output, self.engine.infer(np.ascontiguousarray(inputs_BHW[:, :, ::-1])))
        for one, logits_C, cam_Chw in zip(inputs, output.logits_BC, output.cam_BChw, strict=True):
            if not (np.isfinite(logits_C).all() and np.isfinite(cam_Chw).all()):
                raise ImageError(
                    f"{one.image_id}: the network gives no number for this image; leave it out, and tell its publisher",
                    ImageReason.NO_NUMBER,
                )
        poms = softmax(output.logits_BC.astype(np.float64), axis=1)[:, MALIGNANT]
        found = [
            self._prediction(one, float(pom), cam_Chw, explain, site)
            for one, pom, cam_Chw, explain, site in zip(inputs, poms, output.cam_BChw, explains, sites, strict=True)
        ]
        if self.guard is None:
            return found
        scores = self.guard.scores(inputs_BHW, output.features_BK)
        threshold = self.guard.threshold
        return [replace(one, ood_score=float(score), ood_threshold=threshold) for one, score in zip(found, scores, strict=True)]

    def _prediction(
        self, seen: NetworkInput, model_pom: float, cam_Chw: NDArray[np.float32], explain: Explain, site: SiteProfile | None
    ) -> Prediction:
        pom = model_pom if site is None else float(site.scaling.apply(model_pom))
        operating_point = self.operating_point if site is None else site.operating_point
        label = int(pom >= operating_point)
        explained = label if explain == "predicted" else MALIGNANT
        cam_HW = cam_in_source(cam_Chw[explained], seen.geometry, self.card.map.floor_percentile)
        return Prediction(
            image_id=seen.image_id,
            pom=pom,
            label=label,
            operating_point=operating_point,
            explained_class=explained,
            cam_HW=cam_HW,
            localisation=localise(cam_HW, self.cam_threshold),
            crop_xyxy_px=seen.geometry.box_xyxy_px,
            fallback_crop=seen.fallback,
            model_id=self.model_id,
            site=None if site is None else site.site,
            model_pom=None if site is None else model_pom,
            not_sure=None if site is None or site.not_sure is None else bool(site.not_sure.unsure(pom)),
        )


def _mean_with_mirrored(output: EngineOutput, mirrored: EngineOutput) -> EngineOutput:
    """Scores and maps averaged, the mirror image's maps mirrored back; features stay the image's own, as the guard knows them."""
    return output._replace(
        logits_BC=np.float32(0.5) * (output.logits_BC + mirrored.logits_BC),
        cam_BChw=np.float32(0.5) * (output.cam_BChw + mirrored.cam_BChw[..., ::-1]),
    )


def _for_each(explain: Explain | Sequence[Explain], count: int) -> Sequence[Explain]:
    explains: Sequence[Explain] = [explain] * count if isinstance(explain, str) else list(explain)
    if len(explains) != count:
        raise ValueError(f"one class to explain per image: got {len(explains)} for {count} images")
    return explains
