"""A plugin for pydicom: 8-bit lossless JPEG by Pillow, whose libjpeg-turbo (3.0 and later) decodes it.

pydicom knows this transfer syntax, common in ultrasound archives, by GPL and C++ libraries alone.
"""

from __future__ import annotations

import io

from PIL import Image, features
from pydicom import uid
from pydicom.pixels.decoders.base import DecodeRunner

DECODER_DEPENDENCIES = {uid.JPEGLossless: ("pillow>=11",), uid.JPEGLosslessSV1: ("pillow>=11",)}


def is_available(syntax: str) -> bool:
    """Whether this Pillow was built with a libjpeg-turbo that can."""
    version = features.version_feature("libjpeg_turbo") or "0"
    return syntax in DECODER_DEPENDENCIES and int(version.split(".")[0]) >= 3


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """The samples of one frame, 8 bits each and untouched by a colour transform."""
    image = Image.open(io.BytesIO(source), formats=("JPEG",))
    if runner.samples_per_pixel == 3 and "adobe_transform" not in image.info:
        image.draft("YCbCr", image.size)  # without Adobe's mark Pillow takes YCbCr for granted; so it converts nothing
    runner.set_option("bits_allocated", 8)
    return image.tobytes()
