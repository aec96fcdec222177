"""Decode one image file into grey pixels. Every image of the project, studied or served, enters here.

Accepted: 8-bit greyscale and 8-bit RGB (turned grey by ITU-R 601 luma) as PNG, JPEG, BMP or TIFF. Refused, with the
reason: other colour spaces and depths, since turning them grey needs a choice (a window, a palette, a blend) that
changes the picture and that the file's owner must make; animations; images of one colour, which hold nothing.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsus.errors import ImageError, MaskError
from wsus.types import GreyHW, MaskHW

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_CONVERT_HINT = "convert it to 8-bit greyscale or RGB first, for instance with `convert IN -colorspace Gray -depth 8 OUT.png`"


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeLimits:
    """What a decoder accepts. The pixel limit is read off the header, before anything is unpacked.

    min_side_px: shorter sides hold no lesion that a network could see.
    """

    max_pixels: int = 40_000_000
    max_bytes: int = 64 * 1024 * 1024
    min_side_px: int = 16


DEFAULT_LIMITS = DecodeLimits()


def read_grey(path: Path, limits: DecodeLimits = DEFAULT_LIMITS) -> GreyHW:
    """Read and decode one image file.

    Returns:
        uint8 pixels, shape (H, W).
    Raises:
        ImageError: the file is missing, empty, truncated, of a refused kind or size, or of one colour.
    """
    return decode_grey(read_file_bytes(path, limits), name=str(path), limits=limits)


def decode_grey(content: bytes, *, name: str, limits: DecodeLimits = DEFAULT_LIMITS) -> GreyHW:
    """Decode the bytes of one image; `name` stands in error messages. See `read_grey`."""
    image = _open(content, name, limits)
    if image.mode not in ("L", "RGB"):
        raise ImageError(f"{name}: pixels are {_mode_in_words(image)}; expected 8-bit greyscale or RGB; {_CONVERT_HINT}")
    pixels_HW = np.asarray(image.convert("L"))
    low, high = int(pixels_HW.min()), int(pixels_HW.max())
    if low == high:
        colour = "all black" if high == 0 else f"of one colour (grey level {high} everywhere)"
        raise ImageError(f"{name}: the image is {colour}, so there is nothing to diagnose; check how it was exported")
    return pixels_HW


def read_mask(path: Path, *, image_hw: tuple[int, int] | None = None, limits: DecodeLimits = DEFAULT_LIMITS) -> MaskHW:
    """Read a lesion mask: any Pillow mode, non-zero inside the lesion.

    Args:
        image_hw: the (H, W) of the image that the mask belongs to; None to accept any.
    Returns:
        bool, shape (H, W). It may be empty (all False); `roi` and the audit say so where that matters.
    Raises:
        MaskError: the file cannot be decoded, or has another size than its image.
    """
    try:
        image = _open(read_file_bytes(path, limits), str(path), limits)
        mask_HW = np.asarray(image if image.mode == "1" else image.convert("L")) > 0
    except ImageError as error:
        raise MaskError(f"mask {error}") from error
    if image_hw is not None and mask_HW.shape != tuple(image_hw):
        raise MaskError(
            f"mask {path}: {mask_HW.shape[1]} x {mask_HW.shape[0]} px, but its image has {image_hw[1]} x {image_hw[0]} px "
            "(width x height); export the mask at the image's size"
        )
    return mask_HW


def read_union_mask(paths: tuple[Path, ...], *, image_hw: tuple[int, int]) -> MaskHW:
    """The union of an image's lesion masks, shape (H, W); all False where there is none. Raises as `read_mask`."""
    union_HW = np.zeros(image_hw, dtype=bool)
    for path in paths:
        union_HW |= read_mask(path, image_hw=image_hw)
    return union_HW


def read_file_bytes(path: Path, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
    """The content of a file, once its size is known to be sensible. Raises ImageError."""
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise ImageError(f"{path}: {size:,} bytes; at most {limits.max_bytes:,} are read")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; check the path in the manifest or on the command line") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open(content: bytes, name: str, limits: DecodeLimits) -> Image.Image:
    if not content:
        raise ImageError(f"{name}: the file is empty (0 bytes); copy it again from its source")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit below is stricter
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            _check_header(image, name, limits)
            image.load()
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not an image that can be read; expected {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: more than {limits.max_pixels:,} pixels; reduce the image") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow's decoders raise for broken files
        raise ImageError(f"{name}: the file is damaged or truncated ({error}); copy it again from its source") from error
    return image


def _check_header(image: Image.Image, name: str, limits: DecodeLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageError(f"{name}: {width} x {height} px; at most {limits.max_pixels:,} pixels are accepted; reduce the image")
    if min(width, height) < limits.min_side_px:
        raise ImageError(f"{name}: {width} x {height} px; both sides must have at least {limits.min_side_px} px")
    if image.mode == "RGB" and any(
        ";16" in str(tile[3]) for tile in getattr(image, "tile", ())
    ):  # Pillow would drop half of each value
        raise ImageError(f"{name}: pixels are 16-bit colours; expected 8-bit greyscale or RGB; {_CONVERT_HINT}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{name}: {frames} frames; expected a still image; export the frame to be read")


def _mode_in_words(image: Image.Image) -> str:
    words = {
        "CMYK": "CMYK (print colours)",
        "RGBA": "RGBA (with transparency)",
        "LA": "grey with transparency",
        "P": "indexed by a palette",
        "1": "1-bit (black and white, as a mask)",
        "F": "32-bit floating point",
        "I": "16- or 32-bit integers",
    }
    return words.get(image.mode, "16-bit" if image.mode.startswith("I;16") else f"of mode {image.mode}")
