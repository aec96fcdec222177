"""JPEG frames of 8 bits, lossy and lossless, by Pillow's libjpeg-turbo (3.0 and later for lossless), without a colour transform.

pydicom knows lossless JPEG, common in ultrasound archives, by GPL and C++ libraries alone; and libjpeg converts
no colours of a lossless file. So the samples are taken as they lie, and what they mean is decided here.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_APP0, _APP14, _SOF = 0xE0, 0xEE, (0xC0, 0xC1, 0xC2, 0xC3)
_RGB_IDS = (b"RGB", b"rgb")


def decode_jpeg(stream: bytes, photometric: str) -> NDArray[np.uint8]:
    """The samples of one frame: grey (H, W), RGB (H, W, 3), or of YCbCr its luminance (H, W), which is grey already.

    Raises:
        OSError, ValueError, SyntaxError: whatever Pillow raises for damaged streams.
    """
    with Image.open(io.BytesIO(stream), formats=("JPEG",)) as image:
        if image.mode == "L":
            return np.asarray(image)
        if image.mode != "RGB":
            raise ValueError("neither one component nor three")
        [tile] = image.tile
        image.tile = [tile._replace(args=("RGB", "RGB"))]  # one colour space in and out, so nothing is converted
        samples_HW3 = np.asarray(image)
    return samples_HW3 if _is_rgb(stream, photometric) else samples_HW3[..., 0]


def _is_rgb(stream: bytes, photometric: str) -> bool:
    """Whether three components are RGB and not YCbCr.

    Adobe's mark, JFIF's and components that are called R, G and B bind the stream; without any of them the DICOM header counts,
    whatever the components are numbered.
    """
    jfif, adobe, names = _marks(stream)
    if adobe is not None:
        return adobe == 0
    if jfif:
        return False
    return names in _RGB_IDS or photometric == "RGB"


def _marks(stream: bytes) -> tuple[bool, int | None, bytes]:
    """Whether there is a JFIF mark; Adobe's colour transform, None without that mark; the names of the components."""
    jfif, adobe, names = False, None, b""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        length = struct.unpack_from(">H", stream, at + 2)[0]
        segment = stream[at + 4 : at + 2 + length]
        if marker == _APP0 and segment.startswith(b"JFIF\0"):
            jfif = True
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        elif marker in _SOF:
            return jfif, adobe, segment[6::3]
        at += 2 + length
    return jfif, adobe, names
