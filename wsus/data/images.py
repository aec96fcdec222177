"""Decode one image file into grey pixels. Every image of the project, studied or served, enters here.

    decode_image(content, name=..., frame=None, limits=...)  -> GreyImage              one still image, or one frame
    decode_frames(content, name=..., limits=...)             -> tuple[GreyImage, ...]  all frames that show something
    read_image(path, ...), read_frames(path, ...)            the same for files
    read_grey(path) -> grey uint8 (H, W)                     where the pixels alone are wanted

PNG, JPEG, BMP, TIFF and DICOM, recognised by content, never by name or content type. What is accepted, converted and refused
stands in docs/images.md. Every refusal is an `ImageError` with a `reason` (`wsus.errors.ImageReason`), whatever the bytes
are; memory stays within `DecodeLimits.max_memory_bytes`. Arguments and results can be pickled, so that a server may call
these functions in a worker process, to which it also gives a time limit. `name` stands in messages: give no client's
file name, which may be a patient's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from wsus.data.formats.limits import DEFAULT_LIMITS, DecodeLimits
from wsus.data.formats.raster import decode_all_pages, decode_raster, open_raster
from wsus.data.formats.sniff import FORMATS, describe_other, sniff
from wsus.data.mask_faults import ReadMask, interpret, is_image_itself
from wsus.data.missing_file import missing_hint
from wsus.errors import ImageError, ImageReason, MaskError
from wsus.types import GreyHW, GreyImage, MaskHW

__all__ = [
    "DEFAULT_LIMITS",
    "FORMATS",
    "DecodeLimits",
    "decode_frames",
    "decode_image",
    "open_picture",
    "read_doubtful_mask",
    "read_file_bytes",
    "read_frames",
    "read_grey",
    "read_image",
    "read_mask",
    "read_union_mask",
]


def decode_image(
    content: bytes,
    *,
    name: str,
    frame: int | None = None,
    region: int | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> GreyImage:
    """Decode the bytes of one image.

    Args:
        name: stands in error messages.
        frame: the index, from 0, of a DICOM frame or TIFF page. Where None, a file of several is refused
            (`frame_needed`), but for a DICOM file that calls one of its frames representative.
        region: the index, from 0, of the B-mode region of a DICOM file that names several; where None, the largest.
    Raises:
        ImageError: it is empty, too large, damaged, of a refused kind or of one colour.
    """
    kind = _checked_kind(content, name, limits)
    if kind == "DICOM":
        from wsus.data.formats.dicom import decode_dicom  # here, since pydicom costs a quarter of a second at each start

        image = decode_dicom(content, name, limits, frame, region)
    else:
        _check_one_region(region, name)
        image = decode_raster(content, kind, name, limits, frame)
    if _is_blank(image):
        level = int(image.grey_HW.flat[0])
        colour = "all black" if level == 0 else f"of one colour (grey level {level} everywhere)"
        raise ImageError(
            f"{name}: the image is {colour}, so there is nothing to diagnose; check how it was exported", ImageReason.BLANK
        )
    return image


def decode_frames(
    content: bytes, *, name: str, region: int | None = None, limits: DecodeLimits = DEFAULT_LIMITS
) -> tuple[GreyImage, ...]:
    """Decode all frames of a DICOM file or pages of a TIFF file, or a still image alone, without those of one colour.

    Raises:
        ImageError: as `decode_image`; or there are more frames than `limits` allow; or all are of one colour.
    """
    kind = _checked_kind(content, name, limits)
    if kind == "DICOM":
        from wsus.data.formats.dicom import decode_all_frames

        frames = decode_all_frames(content, name, limits, region)
    else:
        _check_one_region(region, name)
        frames = decode_all_pages(content, kind, name, limits)
    shown = tuple(frame for frame in frames if not _is_blank(frame))
    if not shown:
        raise ImageError(f"{name}: all frames are of one colour; check how it was exported", ImageReason.BLANK)
    return shown


def read_image(
    path: Path, *, frame: int | None = None, region: int | None = None, limits: DecodeLimits = DEFAULT_LIMITS
) -> GreyImage:
    """`decode_image` for a file. Raises ImageError, also where the file is missing."""
    return decode_image(read_file_bytes(path, limits), name=str(path), frame=frame, region=region, limits=limits)


def read_frames(path: Path, *, region: int | None = None, limits: DecodeLimits = DEFAULT_LIMITS) -> tuple[GreyImage, ...]:
    """`decode_frames` for a file. Raises ImageError, also where the file is missing."""
    return decode_frames(read_file_bytes(path, limits), name=str(path), region=region, limits=limits)


def read_grey(path: Path, limits: DecodeLimits = DEFAULT_LIMITS) -> GreyHW:
    """The pixels alone of `read_image`, uint8 (H, W)."""
    return read_image(path, limits=limits).grey_HW


def read_mask(path: Path, *, image: GreyImage | None = None, limits: DecodeLimits = DEFAULT_LIMITS) -> MaskHW:
    """Read a lesion mask: any Pillow mode, non-zero inside the lesion.

    Args:
        image: the image that the mask belongs to; None to accept any size. A mask has the size of the image's whole frame
            (`source_hw`) and is cut to the part of it that is diagnosed.
    Returns:
        bool, shape (H, W). It may be empty (all False); `roi` and the audit say so where that matters.
    Raises:
        MaskError: the file cannot be decoded, has another size than its image, or cannot be right (`wsus.data.mask_faults`).
    """
    mask_HW, fault = read_doubtful_mask(path, image=image, limits=limits)
    if fault is not None:
        raise MaskError(f"mask {path}: {fault.words}")
    return mask_HW


def read_doubtful_mask(path: Path, *, image: GreyImage | None = None, limits: DecodeLimits = DEFAULT_LIMITS) -> ReadMask:
    """As `read_mask`, with the fault of a mask that cannot be right instead of an error."""
    try:
        content = read_file_bytes(path, limits)
        kind = _checked_kind(content, str(path), limits)
        if kind == "DICOM":
            raise MaskError(f"mask {path}: a DICOM file; export the mask as PNG")
        opened, _ = open_raster(content, kind, str(path), limits)
        mask_HW, fault = interpret(opened, kind)
    except ImageError as error:
        raise MaskError(f"mask {error}") from error
    if image is None:
        return ReadMask(mask_HW, fault)
    if mask_HW.shape != image.source_hw:
        height, width = image.source_hw
        raise MaskError(
            f"mask {path}: {mask_HW.shape[1]} x {mask_HW.shape[0]} px, but its image has {width} x {height} px "
            "(width x height); export the mask at the image's size"
        )
    x0, y0, x1, y1 = image.crop_xyxy_px
    return ReadMask(mask_HW[y0:y1, x0:x1], is_image_itself(opened, image) or fault)


def read_union_mask(paths: tuple[Path, ...], *, image: GreyImage) -> MaskHW:
    """The union of an image's lesion masks, of the shape of `grey_HW`; all False where there is none. Raises as `read_mask`."""
    union_HW = np.zeros(image.grey_HW.shape, dtype=bool)
    for path in paths:
        union_HW |= read_mask(path, image=image)
    return union_HW


def open_picture(path: Path, limits: DecodeLimits = DEFAULT_LIMITS) -> Image.Image | None:
    """A PNG, JPEG, BMP or TIFF file of one picture as it is, of any mode; None for DICOM. Raises ImageError."""
    content = read_file_bytes(path, limits)
    kind = _checked_kind(content, str(path), limits)
    return None if kind == "DICOM" else open_raster(content, kind, str(path), limits)[0]


def read_file_bytes(path: Path, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
    """The content of a file, once its size is known to be sensible. Raises ImageError."""
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise _too_large(str(path), size, limits)
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(
            f"{path}: no such file{missing_hint(path)}; check the path in the manifest or on the command line",
            ImageReason.NOT_FOUND,
        ) from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})", ImageReason.UNREADABLE) from error


def _checked_kind(content: bytes, name: str, limits: DecodeLimits) -> str:
    if not content:
        raise ImageError(f"{name}: the file is empty (0 bytes); copy it again from its source", ImageReason.EMPTY)
    if len(content) > limits.max_bytes:
        raise _too_large(name, len(content), limits)
    kind = sniff(content)
    if kind is None:
        other = describe_other(content)
        is_a = f"this is {other}" if other else "not an image that can be read"
        raise ImageError(f"{name}: {is_a}; expected {', '.join(FORMATS)}", ImageReason.UNSUPPORTED_FORMAT)
    return kind


def _check_one_region(region: int | None, name: str) -> None:
    if region not in (None, 0):
        raise ImageError(f"{name}: there is no region {region}; it has one picture, region 0", ImageReason.REGION_OUT_OF_RANGE)


def _too_large(name: str, size: int, limits: DecodeLimits) -> ImageError:
    return ImageError(f"{name}: {size:,} bytes; at most {limits.max_bytes:,} are read", ImageReason.TOO_LARGE)


def _is_blank(image: GreyImage) -> bool:
    return int(image.grey_HW.min()) == int(image.grey_HW.max())
