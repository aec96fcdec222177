"""What the decoders accept, so that no file, however made, costs more memory or time than is stated here."""

from __future__ import annotations

from dataclasses import dataclass

from wsus.errors import ConfigError, ImageError, ImageReason

_BYTES_PER_PIXEL = 32  # the dearest path, RGB in JPEG 2000: three planes of int32, two copies of the pixels, the grey image
_FIXED_BYTES = 256 * 2**20  # tables, palettes, the elements of a hostile header


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeLimits:
    """Pixel and frame limits are read off a header, before anything is unpacked.

    max_bytes: of the file, and of what a deflated DICOM file inflates to.
    max_pixels: width x height of one frame.  max_total_pixels: of all frames that are decoded at once.
    max_side_px, max_aspect: of the longer side, and how many times as long as the other it may be: networks see squares, and the
        padding of a strip costs as much as a square picture.  min_side_px: shorter sides hold no lesion that a network could see.
    max_frames: pages of a TIFF file, or frames of a DICOM file where all of them are wanted; one frame can be had of any number.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 40_000_000
    max_total_pixels: int = 200_000_000
    min_side_px: int = 16
    max_frames: int = 1000
    max_side_px: int = 10_000
    max_aspect: int = 16

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; got {getattr(self, name)}")

    @property
    def max_memory_bytes(self) -> int:
        """No decoding of one frame holds more than this beside the bytes that were handed in.

        Of several frames at once, their grey pixels are held too: one byte each.
        """
        return 3 * self.max_bytes + _BYTES_PER_PIXEL * self.max_pixels + _FIXED_BYTES


def check_size(width: int, height: int, name: str, limits: DecodeLimits) -> None:
    """Raises ImageError where an image of this size is not decoded."""
    size = f"{width} x {height} px"
    if width * height > limits.max_pixels:
        what = f"{size}; at most {limits.max_pixels:,} pixels are accepted; reduce the image"
        raise ImageError(f"{name}: {what}", ImageReason.TOO_MANY_PIXELS)
    if min(width, height) < limits.min_side_px:
        raise ImageError(f"{name}: {size}; both sides must have at least {limits.min_side_px} px", ImageReason.TOO_SMALL)
    if max(width, height) > limits.max_side_px:
        what = f"{size}; a side has at most {limits.max_side_px:,} px; reduce the image"
        raise ImageError(f"{name}: {what}", ImageReason.TOO_MANY_PIXELS)
    if max(width, height) > limits.max_aspect * min(width, height):
        what = (
            f"{size}; one side is more than {limits.max_aspect} times the other, as in no ultrasound image; cut the picture out"
        )
        raise ImageError(f"{name}: {what}", ImageReason.TOO_NARROW)


DEFAULT_LIMITS = DecodeLimits()
