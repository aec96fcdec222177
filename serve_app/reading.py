"""An upload's bytes through the project's decoder, in a decoder's process; imports no torch, so that those start fast."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from serve_app.problems import ProblemError
from serve_app.responses import data_address
from serve_app.schemas import ImageFacts
from wsus.data.images import decode_image
from wsus.errors import ImageError
from wsus.types import BoxXyxyPx, GreyHW


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """One frame of an upload. image_HW: grey uint8."""

    image_HW: GreyHW
    format: str
    frame: int
    frames: int
    spacing_mm: tuple[float, float] | None
    region_xyxy_px: BoxXyxyPx | None
    warnings: tuple[str, ...]

    def facts(self, *, with_png: bool) -> ImageFacts:
        """What is answered about the image."""
        height, width = self.image_HW.shape
        return ImageFacts(
            format=self.format,
            width_px=width,
            height_px=height,
            frame=self.frame,
            frames=self.frames,
            spacing_mm=self.spacing_mm,
            region_xyxy_px=self.region_xyxy_px,
            png=data_address(_png(self.image_HW)) if with_png else None,
        )


def decode_upload(content: bytes, frame: int) -> Decoded:
    """Decode one upload. Raises ImageError."""
    image = decode_image(content, name="the upload", frame=frame + 1)
    return Decoded(
        image_HW=image.grey_HW,
        format=image.format,
        frame=frame,
        frames=image.frame_count,
        spacing_mm=image.spacing_mm_yx,
        region_xyxy_px=image.crop_xyxy_px if image.grey_HW.shape != image.source_hw else None,
        warnings=image.warnings,
    )


def problem_of(error: ImageError) -> ProblemError:
    """The status that belongs to a decoder's reason."""
    return ProblemError(422, "unusable_image", str(error))


def _png(image_HW: GreyHW) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(image_HW)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
