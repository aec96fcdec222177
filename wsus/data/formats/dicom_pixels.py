"""Decompress the frames of a DICOM file. What a compressed frame says of itself is held against the header first."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames, get_frame
from pydicom.pixels import get_decoder

from wsus.data.formats import dicom_lossless_jpeg
from wsus.data.formats.codestream import jpeg_2000_header, jpeg_header
from wsus.data.formats.dicom_file import PYDICOM_ERRORS, damaged
from wsus.errors import ImageError, ImageReason

_PILLOW_LOSSLESS = "pillow-lossless"
PLUGINS = {
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",
    uid.JPEGLossless: _PILLOW_LOSSLESS,
    uid.JPEGLosslessSV1: _PILLOW_LOSSLESS,
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pillow",
    uid.JPEG2000: "pillow",
    uid.RLELossless: "pylibjpeg",  # pydicom's own unpacks without a bound
}
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_EIGHT_BITS_ALONE = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
_J2K = (uid.JPEG2000Lossless, uid.JPEG2000)
_MAX_FRAGMENTS_PER_FRAME = 64
_ITEM, _SEQUENCE_END = 0xE000, 0xE0DD

for _syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
    if _PILLOW_LOSSLESS not in get_decoder(_syntax).available_plugins:
        get_decoder(_syntax).add_plugin(_PILLOW_LOSSLESS, (dicom_lossless_jpeg.__name__, "decode_frame"))


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelLayout:
    """How the pixels of a file lie, checked: what a decoder is told, and nothing of whom they show."""

    transfer_syntax: uid.UID
    rows: int
    columns: int
    frame_count: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int
    pixel_vr: str
    extended_offsets: tuple[bytes, bytes] | None = field(default=None, repr=False)

    def frame_bytes(self) -> int:
        """Length of one uncompressed frame."""
        samples = 2 if self.photometric == "YBR_FULL_422" and not self.transfer_syntax.is_encapsulated else self.samples
        return self.rows * self.columns * samples * (self.bits_allocated // 8)


def decode_frame(pixels: bytes, layout: PixelLayout, frame: int, name: str) -> NDArray[np.integer]:
    """The stored values of one frame: (H, W); of colours RGB (H, W, 3), or of YBR the luminance Y (H, W), which is grey already.

    Args:
        frame: its index, from 0.
    Raises:
        ImageError: the frame is damaged, not there, or of another size than the header says.
    """
    if not layout.transfer_syntax.is_encapsulated:
        return _decoded(pixels, layout, frame, name, index=frame, frame_count=layout.frame_count)
    _check_fragments(pixels, layout, name)
    try:
        compressed = get_frame(pixels, frame, number_of_frames=layout.frame_count, extended_offsets=layout.extended_offsets)
    except PYDICOM_ERRORS:
        compressed = b""
    return _decompressed(compressed, layout, frame, name)


def decode_frames(pixels: bytes, layout: PixelLayout, name: str) -> Iterator[NDArray[np.integer]]:
    """`decode_frame` for all frames in turn, without looking for each from the start."""
    if not layout.transfer_syntax.is_encapsulated:
        for frame in range(layout.frame_count):
            yield decode_frame(pixels, layout, frame, name)
        return
    _check_fragments(pixels, layout, name)
    compressed = generate_frames(pixels, number_of_frames=layout.frame_count, extended_offsets=layout.extended_offsets)
    for frame in range(layout.frame_count):
        try:
            one = next(compressed, b"")
        except PYDICOM_ERRORS:
            one = b""
        yield _decompressed(one, layout, frame, name)


def check_supported(syntax: uid.UID, name: str) -> None:
    """Raises ImageError where frames of this transfer syntax cannot be decoded."""
    if syntax not in PLUGINS and syntax not in NATIVE:
        raise ImageError(
            f"{name}: DICOM transfer syntax {syntax.name!r} is not supported; export it uncompressed, as JPEG or JPEG 2000",
            ImageReason.UNSUPPORTED_TRANSFER_SYNTAX,
        )


def _decompressed(compressed: bytes, layout: PixelLayout, frame: int, name: str) -> NDArray[np.integer]:
    if not compressed:
        raise damaged(name, f"frame {frame} cannot be found")
    _check_codestream(compressed, layout, frame, name)
    return _decoded(encapsulate([compressed]), layout, frame, name, index=0, frame_count=1)


def _decoded(buffer: bytes, layout: PixelLayout, frame: int, name: str, *, index: int, frame_count: int) -> NDArray[np.integer]:
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": frame_count,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": layout.pixel_vr,
        "allow_excess_frames": False,
        "as_rgb": False,
    }
    if layout.samples > 1:
        options["planar_configuration"] = layout.planar
    try:
        pixels, found = get_decoder(layout.transfer_syntax).as_array(
            buffer, index=index, decoding_plugin=PLUGINS.get(layout.transfer_syntax, ""), **options
        )
    except PYDICOM_ERRORS:
        pixels = None
    if pixels is None or pixels.shape[:2] != (layout.rows, layout.columns):
        raise damaged(name, f"frame {frame} cannot be decompressed")
    return pixels[..., 0] if str(found["photometric_interpretation"]).startswith("YBR") else pixels


def _check_fragments(pixels: bytes, layout: PixelLayout, name: str) -> None:
    """Walk the items once, no further than an honest file goes: pydicom would walk millions of empty ones."""
    left = 2 + _MAX_FRAGMENTS_PER_FRAME * layout.frame_count
    at = 0
    while at + 8 <= len(pixels):
        group, element, length = struct.unpack_from("<HHL", pixels, at)
        if group != 0xFFFE or element not in (_ITEM, _SEQUENCE_END):
            raise damaged(name, "its compressed frames are not in items")
        if element == _SEQUENCE_END:
            return
        left -= 1
        if left < 0:
            raise ImageError(f"{name}: more fragments than its frames need", ImageReason.TOO_COMPLEX)
        at += 8 + length
    raise damaged(name, "its compressed frames end early")


def _check_codestream(compressed: bytes, layout: PixelLayout, frame: int, name: str) -> None:
    """Hold a compressed frame's own header against the file's. Run lengths have none: their decoder fills the frame, no more."""
    if layout.transfer_syntax == uid.RLELossless:
        return
    found = (jpeg_2000_header if layout.transfer_syntax in _J2K else jpeg_header)(compressed)
    if found is None:
        raise damaged(name, f"frame {frame} has no JPEG header")
    expected = (layout.columns, layout.rows, layout.samples)
    if found[:3] != expected:
        sizes = [f"{width} x {height} px with {samples} samples" for width, height, samples in (found[:3], expected)]
        raise damaged(name, f"frame {frame} is {sizes[0]}, and the header says {sizes[1]}")
    if found.costly:
        raise ImageError(f"{name}: frame {frame} is coded in {found.costly}; export it again", ImageReason.TOO_COMPLEX)
    if found.bits > 8 and (layout.transfer_syntax in _EIGHT_BITS_ALONE or layout.samples > 1):
        raise ImageError(f"{name}: JPEG of {found.bits} bits; expected 8", ImageReason.UNSUPPORTED_PIXELS)
