"""An upload's bytes through the project's decoder, in a decoder's process; imports no torch, so that those start fast."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from serve_app.exchange import View
from serve_app.problems import ProblemError
from serve_app.responses import data_address
from serve_app.schemas import ImageFacts
from wsus.data.formats import dicom as _  # noqa: F401  loaded here, so that no decoder's process loads it anew
from wsus.data.images import DecodeLimits, decode_frames, decode_image
from wsus.data.roi import CropConfig, CropGeometry
from wsus.errors import ImageError, ImageReason
from wsus.types import BoxXyxyPx, GreyHW, GreyImage

_NAME = "the upload"  # never the client's file name, which may be a patient's
_TOO_MUCH = {ImageReason.TOO_LARGE, ImageReason.TOO_MANY_PIXELS, ImageReason.TOO_MANY_FRAMES, ImageReason.TOO_COMPLEX}
_ANOTHER_KIND = {
    ImageReason.UNSUPPORTED_FORMAT,
    ImageReason.UNSUPPORTED_TRANSFER_SYNTAX,
    ImageReason.WRONG_MODALITY,
    ImageReason.NOT_AN_IMAGE,
    ImageReason.ANIMATED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """One frame of an upload. views: one for each crop that was asked for.  png: of the frame itself, where it was asked for."""

    views: tuple[View, ...]
    png: bytes | None
    size_hw: tuple[int, int]
    format: str
    frame: int
    frames: int
    spacing_mm: tuple[float, float] | None
    region_xyxy_px: BoxXyxyPx | None
    warnings: tuple[str, ...]

    def facts(self) -> ImageFacts:
        """What is answered about the image."""
        height, width = self.size_hw
        return ImageFacts(
            format=self.format,
            width_px=width,
            height_px=height,
            frame=self.frame,
            frames=self.frames,
            spacing_mm=self.spacing_mm,
            region_xyxy_px=self.region_xyxy_px,
            png=None if self.png is None else data_address(self.png),
        )


RESULTS = (Decoded, View, CropConfig, CropGeometry)  # the classes that these decoders send back


def decode_upload(content: bytes, limits: DecodeLimits, crops: tuple[CropConfig, ...], frame: int, with_png: bool) -> Decoded:
    """Decode one upload, of several frames the one of this number, from 0. Raises ImageError."""
    one = _decoded(decode_image(content, name=_NAME, frame=frame, limits=limits), crops, with_png=with_png)
    if one.frames == 1:
        return one
    others = f"frame {one.frame} (of 0 to {one.frames - 1}): the others were not looked at"
    return replace(one, warnings=(*one.warnings, others))


def decode_all_frames(content: bytes, limits: DecodeLimits, crops: tuple[CropConfig, ...]) -> tuple[Decoded, ...]:
    """Decode all frames of an upload that show something. Raises ImageError."""
    return tuple(_decoded(image, crops, with_png=False) for image in decode_frames(content, name=_NAME, limits=limits))


def problem_of(error: ImageError) -> ProblemError:
    """The status that belongs to a decoder's reason."""
    status = 413 if error.reason in _TOO_MUCH else 415 if error.reason in _ANOTHER_KIND else 422
    return ProblemError(status, error.reason.value, str(error))


def _decoded(image: GreyImage, crops: tuple[CropConfig, ...], *, with_png: bool) -> Decoded:
    height, width = image.grey_HW.shape
    return Decoded(
        views=tuple(View.of(image.grey_HW, crop) for crop in crops),
        png=_png(image.grey_HW) if with_png else None,
        size_hw=(height, width),
        format=image.format,
        frame=image.frame,
        frames=image.frame_count,
        spacing_mm=image.spacing_mm_yx,
        region_xyxy_px=image.crop_xyxy_px if image.grey_HW.shape != image.source_hw else None,
        warnings=image.warnings,
    )


def _png(image_HW: GreyHW) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(image_HW)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
