"""PNG, JPEG, BMP and TIFF into grey pixels, by Pillow.

What becomes grey, and how, is named in `docs/images.md`; what would need a choice that changes the picture (a blend, a
print profile, a window for floating point) is refused. Colour profiles are not applied. EXIF orientation is, since
viewers and browsers show the image so, and boxes are read on what they show.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from wsus.data.formats.codestream import few_scans
from wsus.data.formats.colour import colour_warning
from wsus.data.formats.image_warning import ImageWarning
from wsus.data.formats.limits import DecodeLimits, check_size
from wsus.data.formats.unsupported import refuse_unsupported
from wsus.errors import ImageError, ImageReason
from wsus.types import GreyHW, GreyImage

_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, OverflowError, struct.error, zlib.error)
_CONVERT_HINT = "convert it to 8-bit greyscale or RGB first, for instance with `convert IN -colorspace Gray -depth 8 OUT.png`"
_PHOTOMETRIC, _TILE_WIDTH, _TILE_LENGTH, _ORIENTATION = 262, 322, 323, ExifTags.Base.Orientation


def decode_raster(content: bytes, kind: str, name: str, limits: DecodeLimits, frame: int | None = None) -> GreyImage:
    """One image, or the page of this index. Raises as `open_raster`, and where it cannot become grey."""
    image, page_count = open_raster(content, kind, name, limits, frame)
    return _grey_image(image, kind, name, frame or 0, page_count)


def decode_all_pages(content: bytes, kind: str, name: str, limits: DecodeLimits) -> Iterator[GreyImage]:
    """Every page of a TIFF file in turn, or the one image of another format. Raises as `decode_raster`."""
    image, page_count = open_raster(content, kind, name, limits, 0)
    total = 0
    for page in range(page_count):
        with _as_image_errors(name, limits):
            if page > 0:
                image.seek(page)
            total += image.width * image.height
            if total > limits.max_total_pixels:
                raise ImageError(f"{name}: {page_count} pages; name the page that is wanted", ImageReason.TOO_MANY_FRAMES)
            _check_header(image, name, limits)
            upright = _loaded(image)
        yield _grey_image(upright, kind, name, page, page_count)


def open_raster(content: bytes, kind: str, name: str, limits: DecodeLimits, frame: int | None = None) -> tuple[Image.Image, int]:
    """Open, check by the header and load one image or page.

    Args:
        kind: PNG, JPEG, BMP or TIFF, as `sniff` tells.
        frame: the page's index, from 0; None where there is one.
    Returns:
        the image as it lies in the file but upright, and how many pages there are.
    Raises:
        ImageError: it cannot be read, has a refused size, or several pages and none was named.
    """
    if kind == "JPEG" and not few_scans(content):
        raise ImageError(f"{name}: more scans than encoders write; save it as a baseline JPEG", ImageReason.TOO_COMPLEX)
    refuse_unsupported(content, kind, name)
    with _as_image_errors(name, limits):
        image = Image.open(io.BytesIO(content), formats=(kind,))
        _check_header(image, name, limits)
        page_count = _go_to_page(image, name, limits, frame)
        return _loaded(image), page_count


@contextmanager
def _as_image_errors(name: str, limits: DecodeLimits) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs, since our own limit is stricter, and of broken metadata
            yield
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name}: more than {limits.max_pixels:,} pixels; reduce the image", ImageReason.TOO_MANY_PIXELS
        ) from None
    except UnidentifiedImageError:  # its message is an address in memory
        raise ImageError(
            f"{name}: the header is damaged, or of a kind that is not read; copy it again from its source, or convert it to PNG",
            ImageReason.DAMAGED,
        ) from None
    except _DAMAGE as error:  # what Pillow's decoders raise for broken files
        raise ImageError(
            f"{name}: the file is damaged or truncated ({error}); copy it again from its source", ImageReason.DAMAGED
        ) from error


def _grey_image(image: Image.Image, kind: str, name: str, page: int, page_count: int) -> GreyImage:
    grey_HW, done = _to_grey(image, name)
    height, width = grey_HW.shape
    return GreyImage(
        grey_HW=grey_HW,
        format=kind,
        source_hw=(height, width),
        crop_xyxy_px=(0, 0, width, height),
        frame=page,
        frame_count=page_count,
        warnings=done,
    )


def _to_grey(image: Image.Image, name: str) -> tuple[GreyHW, tuple[ImageWarning, ...]]:
    """Grey pixels (H, W) of a loaded image, and in words what was done to get them."""
    if image.mode.startswith("I;16"):
        if "transparency" in image.info:
            raise _refused(f"{name}: pixels are 16-bit grey with a transparent level")
        return _from_16_bit(image, name)
    done: tuple[ImageWarning, ...] = ()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image, done = _on_black(image, name)
    if image.mode in ("P", "YCbCr"):
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB"):
        raise _refused(f"{name}: pixels are {_mode_in_words(image)}")
    if image.mode == "RGB":
        done += colour_warning(np.asarray(image))
    return np.asarray(image.convert("L")), done


def _from_16_bit(image: Image.Image, name: str) -> tuple[GreyHW, tuple[ImageWarning, ...]]:
    """Scale linearly so that the image's maximum is white. The network divides by the maximum, so it sees no other picture."""
    values_HW: NDArray[np.uint16] = np.asarray(image).astype(np.uint16)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow minds for 8 bits alone
        values_HW = 65535 - values_HW
    high = int(values_HW.max())
    if high == 0:
        raise ImageError(f"{name}: the image is all black, so there is nothing to diagnose", ImageReason.BLANK)
    table = np.round(np.minimum(np.arange(65536), high) * (255 / high)).astype(np.uint8)
    sentence = f"16-bit grey levels were scaled linearly to 8 bits, {high} becoming 255"
    return table[values_HW], (ImageWarning("depth", sentence),)


def _on_black(image: Image.Image, name: str) -> tuple[Image.Image, tuple[ImageWarning, ...]]:
    """RGB without alpha. Transparent parts become black: names are removed from pictures in that way."""
    full = image.convert("RGBA")
    alpha_HW = np.asarray(full.getchannel("A"))
    if alpha_HW.min() == 255:
        return full.convert("RGB"), (ImageWarning("alpha", "an opaque alpha channel was dropped"),)
    if alpha_HW.max() == 0:
        raise ImageError(f"{name}: all of it is transparent; save it without transparency", ImageReason.TRANSPARENT)
    ground = Image.new("RGBA", full.size, (0, 0, 0, 255))
    share = 100 * float((alpha_HW < 255).mean())
    sentence = f"{share:.{0 if share >= 1 else 2}f} % of the image is transparent and was laid on black"
    return Image.alpha_composite(ground, full).convert("RGB"), (ImageWarning("transparent", sentence),)


def _check_header(image: Image.Image, name: str, limits: DecodeLimits) -> None:
    width, height = image.size
    tags = getattr(image, "tag_v2", {})
    tile_pixels = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
    if tile_pixels > limits.max_pixels:
        raise ImageError(
            f"{name}: tiles of more than {limits.max_pixels:,} pixels; reduce the image", ImageReason.TOO_MANY_PIXELS
        )
    check_size(width, height, name, limits)
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", ())]
    if image.mode in ("RGB", "RGBA", "LA") and any(";16" in mode for mode in raw_modes):  # Pillow would halve each value
        raise _refused(f"{name}: pixels are 16-bit colours")


def _go_to_page(image: Image.Image, name: str, limits: DecodeLimits, frame: int | None) -> int:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        count = _page_count(image, name, limits)
        image.seek(chosen_frame(frame, count, name))
        _check_header(image, name, limits)
        return count
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format == "PNG":
        raise ImageError(f"{name}: an animation of {count} frames; expected a still image; export one", ImageReason.ANIMATED)
    chosen_frame(frame, 1, name)  # of a JPEG with further pictures (MPO), the first is the one that viewers show
    return 1


def chosen_frame(frame: int | None, count: int, name: str) -> int:
    """The index, from 0, of the frame to be read. Raises ImageError where none was named, or one that is not there."""
    if frame is None and count == 1:
        return 0
    if frame is None:
        raise ImageError(
            f"{name}: {count} frames; say which one is to be read, 0 to {count - 1} (--frame, or a manifest's column frame), "
            "or export it",
            ImageReason.FRAME_NEEDED,
        )
    if not 0 <= frame < count:
        there = f"its {count} frames are 0 to {count - 1}" if count > 1 else "it has one, frame 0"
        raise ImageError(f"{name}: there is no frame {frame}; {there}", ImageReason.FRAME_OUT_OF_RANGE)
    return frame


def _page_count(image: Image.Image, name: str, limits: DecodeLimits) -> int:
    """Pages of a TIFF file, counted no further than the limit: `n_frames` would walk millions."""
    for page in range(1, limits.max_frames + 1):
        try:
            image.seek(page)
        except EOFError:
            return page
    raise ImageError(f"{name}: more than {limits.max_frames} pages; split the file", ImageReason.TOO_MANY_FRAMES)


def _loaded(image: Image.Image) -> Image.Image:
    """The image with its pixels, upright."""
    image.load()
    try:
        turned = image.getexif().get(_ORIENTATION, 1) not in (1, None)
    except _DAMAGE:  # broken metadata in a sound picture: there is no orientation to follow
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _refused(what: str) -> ImageError:
    return ImageError(f"{what}; expected 8-bit greyscale or RGB; {_CONVERT_HINT}", ImageReason.UNSUPPORTED_PIXELS)


def _mode_in_words(image: Image.Image) -> str:
    words = {
        "CMYK": "CMYK (print colours)",
        "1": "1-bit (black and white, as a mask)",
        "F": "32-bit floating point",
        "I": "32-bit integers",
    }
    return words.get(image.mode, f"of mode {image.mode}")
