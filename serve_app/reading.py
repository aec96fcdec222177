"""An upload's bytes through the project's decoder, in a decoder's process; imports no torch, so that those start fast."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, TypeAdapter

from serve_app.decoding import Plain
from serve_app.exchange import View
from serve_app.problems import ProblemError
from serve_app.responses import data_address
from serve_app.schemas import ImageFacts
from wsus.data.formats import dicom as _  # noqa: F401  loaded here, so that no decoder's process loads it anew
from wsus.data.images import DecodeLimits, decode_frames, decode_image
from wsus.data.roi import CropConfig, extract, whole_image
from wsus.errors import ImageError, ImageReason
from wsus.inference.answer import one_of_several, region_of
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


class FrameFacts(BaseModel):
    """What is known of one frame, as a decoder's process says it."""

    model_config = ConfigDict(frozen=True)

    size_hw: tuple[PositiveInt, PositiveInt]
    format: str
    frame: NonNegativeInt
    frames: PositiveInt
    spacing_mm: tuple[float, float] | None
    region_xyxy_px: BoxXyxyPx | None
    warnings: tuple[str, ...]


_FACTS = TypeAdapter(tuple[FrameFacts, ...])


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """One frame of an upload. views: one for each crop that was asked for.  png: of the frame itself, where it was asked for."""

    facts: FrameFacts
    views: tuple[View, ...]
    png: bytes | None

    def image_facts(self) -> ImageFacts:
        """What is answered about the image."""
        height, width = self.facts.size_hw
        return ImageFacts(
            format=self.facts.format,
            width_px=width,
            height_px=height,
            frame=self.facts.frame,
            frames=self.facts.frames,
            spacing_mm=self.facts.spacing_mm,
            region_xyxy_px=self.facts.region_xyxy_px,
            png=None if self.png is None else data_address(self.png),
        )


def decode_upload(
    content: bytes,
    limits: DecodeLimits,
    crops: tuple[CropConfig, ...],
    with_png: bool,
    frame: int,
    region: int | None = None,
) -> Plain:
    """Decode one upload, of several frames or regions the one of this number, from 0. Raises ImageError."""
    image = decode_image(content, name=_NAME, frame=frame, region=region, limits=limits)
    image = replace(image, warnings=(*image.warnings, *one_of_several(image)))
    return _plain([image], crops, with_png=with_png)


def decode_all_frames(content: bytes, limits: DecodeLimits, crops: tuple[CropConfig, ...], with_png: bool) -> Plain:
    """Decode all frames of an upload that show something. Raises ImageError."""
    return _plain(decode_frames(content, name=_NAME, limits=limits), crops, with_png=with_png)


def read_frames(
    value: Any, pieces: Sequence[bytes], limits: DecodeLimits, crops: tuple[CropConfig, ...], with_png: bool, most: int
) -> tuple[Decoded, ...]:
    """What the decoders above sent, held against what was asked of them.

    Args:
        most: frames; there is at least one.
    Raises:
        ValueError: it is not what they send.
    """
    facts = _FACTS.validate_python(value)
    each = len(crops) + with_png
    if (
        not 1 <= len(facts) <= most
        or len(pieces) != each * len(facts)
        or any(math.prod(one.size_hw) > limits.max_pixels for one in facts)
    ):
        raise ValueError(f"{len(pieces)} pieces for frames of {[one.size_hw for one in facts][:5]}")
    of_each = [pieces[each * place : each * (place + 1)] for place in range(len(facts))]
    return tuple(
        Decoded(
            facts=one,
            views=tuple(_view(one.size_hw, crop, piece) for crop, piece in zip(crops, mine, strict=False)),
            png=mine[-1] if with_png else None,
        )
        for one, mine in zip(facts, of_each, strict=True)
    )


def most_bytes(limits: DecodeLimits, crops: tuple[CropConfig, ...], frames: int, with_png: bool) -> int:
    """What a decoder may send back of so many frames: their views, and a PNG, which may be a little larger than its pixels."""
    return frames * (sum(crop.size_px**2 for crop in crops) + (2 * limits.max_pixels + 2**20 if with_png else 0))


def problem_of(error: ImageError) -> ProblemError:
    """The status that belongs to a decoder's reason."""
    status = 413 if error.reason in _TOO_MUCH else 415 if error.reason in _ANOTHER_KIND else 422
    return ProblemError(status, error.reason.value, str(error))


def _view(size_hw: tuple[int, int], crop: CropConfig, piece: bytes) -> View:
    pixels_HW = np.frombuffer(piece, dtype=np.uint8).reshape(crop.size_px, crop.size_px)
    return View(crop=crop, geometry=whole_image(size_hw, crop), pixels_HW=pixels_HW)


def _plain(images: Iterable[GreyImage], crops: tuple[CropConfig, ...], *, with_png: bool) -> Plain:
    facts, pieces = [], []
    for image in images:
        size_hw = image.grey_HW.shape[0], image.grey_HW.shape[1]
        facts.append(
            {
                "size_hw": size_hw,
                "format": image.format,
                "frame": image.frame,
                "frames": image.frame_count,
                "spacing_mm": image.spacing_mm_yx,
                "region_xyxy_px": region_of(image),
                "warnings": image.warnings,
            }
        )
        pieces += [extract(image.grey_HW, whole_image(size_hw, crop)).tobytes() for crop in crops]
        pieces += [_png(image.grey_HW)] if with_png else []
    return facts, pieces


def _png(image_HW: GreyHW) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(image_HW)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
