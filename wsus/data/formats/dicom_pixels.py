"""Decompress the frames of a DICOM file. What a compressed frame says of itself is held against the header first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from wsus.data.formats.codestream import jpeg_2000_header, jpeg_header
from wsus.data.formats.dicom_file import PYDICOM_ERRORS, damaged
from wsus.data.formats.dicom_frames import StoredFrames
from wsus.data.formats.dicom_jpeg import decode_jpeg
from wsus.data.formats.dicom_layout import PixelLayout
from wsus.errors import ImageError, ImageReason

PLUGINS = {
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pillow",
    uid.JPEG2000: "pillow",
    uid.RLELossless: "pylibjpeg",  # pydicom's own unpacks without a bound
}
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)  # of 8 bits alone
_J2K = (uid.JPEG2000Lossless, uid.JPEG2000)


def decode_frame(pixels: bytes, layout: PixelLayout, frames: StoredFrames, frame: int, name: str) -> NDArray[np.integer]:
    """The stored values of one frame: (H, W); of colours RGB (H, W, 3), or of YBR the luminance Y (H, W), which is grey already.

    Args:
        frame: its index, from 0.
    Raises:
        ImageError: the frame is damaged, or of another size than the header says.
    """
    value = frames.value(pixels, frame)
    if not layout.transfer_syntax.is_encapsulated:
        if layout.photometric == "YBR_FULL_422" and layout.columns % 2 and len(value) > layout.rows * layout.columns * 2:
            return _luminance_of_padded_rows(value, layout)
        return _decoded(value, layout, frame, name)
    if not value:
        raise damaged(name, f"frame {frame} cannot be found")
    bits = _check_codestream(value, layout, frame, name)
    if layout.transfer_syntax in JPEG:
        return _decoded_jpeg(value, layout, frame, name)
    allocated = 8 if bits is not None and bits <= 8 and layout.transfer_syntax not in _J2K else layout.bits_allocated
    return _decoded(encapsulate([value]), layout, frame, name, bits_allocated=allocated)


def decode_frames(pixels: bytes, layout: PixelLayout, frames: StoredFrames, name: str) -> Iterator[NDArray[np.integer]]:
    """`decode_frame` for all frames in turn."""
    for frame in range(layout.frame_count):
        yield decode_frame(pixels, layout, frames, frame, name)


def check_supported(syntax: uid.UID, name: str) -> None:
    """Raises ImageError where frames of this transfer syntax cannot be decoded."""
    if syntax not in (*PLUGINS, *NATIVE, *JPEG):
        raise ImageError(
            f"{name}: DICOM transfer syntax {syntax.name!r} is not supported; export it uncompressed, as JPEG or JPEG 2000",
            ImageReason.UNSUPPORTED_TRANSFER_SYNTAX,
        )


def _luminance_of_padded_rows(value: bytes, layout: PixelLayout) -> NDArray[np.uint8]:
    """Y of rows that were filled up to an even length, since two neighbours share their colours: Y1 Y2 Cb Cr."""
    quads = np.frombuffer(value, np.uint8).reshape(layout.rows, -1, 4)
    return quads[..., :2].reshape(layout.rows, -1)[:, : layout.columns]


def _decoded_jpeg(stream: bytes, layout: PixelLayout, frame: int, name: str) -> NDArray[np.integer]:
    try:
        samples = decode_jpeg(stream, layout.photometric)
    except (*PYDICOM_ERRORS, SyntaxError):
        samples = None
    if samples is None or samples.shape[:2] != (layout.rows, layout.columns):
        raise damaged(name, f"frame {frame} cannot be decompressed")
    return samples


def _decoded(
    buffer: bytes, layout: PixelLayout, frame: int, name: str, *, bits_allocated: int | None = None
) -> NDArray[np.integer]:
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": bits_allocated or layout.bits_allocated,
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
            buffer, index=0, decoding_plugin=PLUGINS.get(layout.transfer_syntax, ""), **options
        )
    except PYDICOM_ERRORS:
        pixels = None
    if pixels is None or pixels.shape[:2] != (layout.rows, layout.columns):
        raise damaged(name, f"frame {frame} cannot be decompressed")
    return pixels[..., 0] if str(found["photometric_interpretation"]).startswith("YBR") else pixels


def _check_codestream(compressed: bytes, layout: PixelLayout, frame: int, name: str) -> int | None:
    """Hold a compressed frame's own header against the file's; its bits per sample.

    Run lengths have no header, so None: their decoder fills the frame, no more.
    """
    if layout.transfer_syntax == uid.RLELossless:
        return None
    found = (jpeg_2000_header if layout.transfer_syntax in _J2K else jpeg_header)(compressed)
    if found is None:
        raise damaged(name, f"frame {frame} has no JPEG header")
    expected = (layout.columns, layout.rows, layout.samples)
    if found[:3] != expected:
        sizes = [f"{width} x {height} px with {samples} samples" for width, height, samples in (found[:3], expected)]
        raise damaged(name, f"frame {frame} is {sizes[0]}, and the header says {sizes[1]}")
    if found.costly:
        raise ImageError(f"{name}: frame {frame} is coded in {found.costly}; export it again", ImageReason.TOO_COMPLEX)
    if found.bits > 8 and (layout.transfer_syntax in JPEG or layout.samples > 1):
        raise ImageError(f"{name}: JPEG of {found.bits} bits; expected 8", ImageReason.UNSUPPORTED_PIXELS)
    if layout.transfer_syntax not in _J2K and found.bits <= 8 < layout.bits_stored:
        raise ImageError(
            f"{name}: frame {frame} is JPEG of {found.bits} bits, and the header says that {layout.bits_stored} bits are stored; "
            "its grey levels cannot be known, export it again",
            ImageReason.INVALID_ATTRIBUTES,
        )
    return found.bits
