"""Whatever a stranger sends is decoded or refused with its reason, soon, and within the stated memory."""

import io
import logging
import random
import struct
import subprocess
import sys
import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from dicom_files import coloured, compressed, dicom, region, speckle
from hostile_inputs import HostileInput, hostile_inputs, image_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

from wsus.data.images import DecodeLimits, decode_frames, decode_image
from wsus.errors import ImageError, ImageReason

SOON_S = 5.0  # an honest machine needs a tenth of it


def test_there_are_enough_and_each_has_its_name() -> None:
    inputs = hostile_inputs()
    assert len({sent.name for sent in inputs}) == len(inputs) >= 60
    assert {sent.reason for sent in inputs} >= set(ImageReason) - {
        ImageReason.NOT_FOUND, ImageReason.UNREADABLE,  # what is asked for, not what is sent, as are the next two
        ImageReason.FRAME_OUT_OF_RANGE, ImageReason.REGION_OUT_OF_RANGE,
        ImageReason.NO_NUMBER,  # the network's fault
    }  # fmt: skip


@pytest.mark.parametrize("sent", [one for one in hostile_inputs() if one.reason], ids=lambda sent: sent.name)
def test_refused_with_its_reason(sent: HostileInput, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    begun = time.perf_counter()
    with warnings.catch_warnings(record=True) as heard, pytest.raises(ImageError, match="x: ") as refused:
        decode_image(sent.content, name="x")
    assert time.perf_counter() - begun < SOON_S
    assert refused.value.reason is sent.reason
    assert "SECRET" not in "".join([str(refused.value), repr(refused.value.__context__), caplog.text, *map(str, heard)])


@pytest.mark.parametrize("sent", [one for one in hostile_inputs() if not one.reason], ids=lambda sent: sent.name)
def test_decoded_however_strange(sent: HostileInput) -> None:
    begun = time.perf_counter()
    decoded = decode_image(sent.content, name="x")
    assert time.perf_counter() - begun < SOON_S
    assert decoded.grey_HW.min() < decoded.grey_HW.max()
    assert "SECRET" not in repr(decoded)


LIMITS = DecodeLimits(max_bytes=8 * 2**20, max_pixels=4_000_000)
MEASURE = f"""
import re, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from wsus.data.formats import dicom, raster
from wsus.data.images import DecodeLimits, decode_image
from wsus.errors import ImageError

def memory(kind):
    return 1024 * int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

for path in sorted(Path(sys.argv[1]).iterdir()):
    content = path.read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    try:
        decode_image(content, name="x", limits=DecodeLimits(max_bytes={LIMITS.max_bytes}, max_pixels={LIMITS.max_pixels}))
    except ImageError:
        pass
    print(memory("VmHWM") - before, path.name)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
def test_memory_stays_within_the_stated_bound(tmp_path: Path) -> None:
    """Each hostile file, and the dearest honest ones at the limit of pixels, in a process that reads its own peak."""
    for number, sent in enumerate(hostile_inputs()):
        (tmp_path / f"{number}").write_bytes(sent.content)
    large = np.zeros((2000, 2000, 3), np.uint8)
    large[::7, ::5] = 90
    (tmp_path / "large-jpeg-2000").write_bytes(compressed(large, uid.JPEG2000Lossless, PhotometricInterpretation="YBR_RCT"))
    (tmp_path / "large-jpeg").write_bytes(compressed(large, uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"))
    (tmp_path / "large-deflated").write_bytes(dicom(large[..., 0].astype("<u2") * 300, uid.DeflatedExplicitVRLittleEndian))
    with Image.fromarray(large).convert("RGBA") as rgba:
        rgba.save(tmp_path / "large-rgba", "PNG")

    told = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300)

    peaks = {name: int(peak) for peak, name in (line.split() for line in told.stdout.splitlines())}
    assert len(peaks) == len(hostile_inputs()) + 4
    assert max(peaks.values()) > 12 * LIMITS.max_pixels  # the measure sees what the dearest ones cost
    assert max(peaks.values()) < LIMITS.max_memory_bytes


@cache
def sound_files() -> dict[str, bytes]:
    """One file of each kind, small, for damage."""
    cine = np.stack([speckle(seed=seed) for seed in range(2)])
    made = {
        "png": image_bytes("PNG"),
        "png palette": palette_png(),
        "jpeg": image_bytes("JPEG", colour=True, progressive=True),
        "bmp": image_bytes("BMP", colour=True),
        "tiff": image_bytes("TIFF", colour=True),
        "tiff lzw": image_bytes("TIFF", compression="tiff_lzw"),
        "implicit": dicom(speckle(), uid.ImplicitVRLittleEndian, SequenceOfUltrasoundRegions=[region((10, 5, 70, 50))]),
        "explicit": dicom(speckle(), SequenceOfUltrasoundRegions=[region((10, 5, 70, 50))], WindowCenter=99, WindowWidth=99),
        "big endian": dicom(cine, uid.ExplicitVRBigEndian),
        "deflated": dicom(coloured(), uid.DeflatedExplicitVRLittleEndian),
    }
    for syntax in (uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.RLELossless):
        made[syntax.keyword] = compressed(cine, syntax)
    return made


def palette_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(speckle()).convert("P").save(buffer, "PNG")
    return buffer.getvalue()


def damaged(content: bytes, seed: int) -> bytes:
    """Bytes changed, cut, repeated or put in, mostly in the header."""
    rng, bytes_ = random.Random(seed), bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(min(len(bytes_), 1500) if rng.random() < 0.6 else len(bytes_))
        match rng.randrange(6):
            case 0:
                bytes_[at] = rng.randrange(256)
            case 1:
                bytes_[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)))
            case 2:
                del bytes_[max(at, 1) :]
            case 3:
                del bytes_[at : at + rng.randrange(1, 64)]
            case 4:
                bytes_[at:at] = rng.randbytes(rng.randrange(1, 32))
            case 5:
                source = rng.randrange(len(bytes_))
                bytes_[at : at + 64] = bytes_[source : source + 64]
        if not bytes_:
            break
    return bytes(bytes_)


@pytest.mark.parametrize("kind", sound_files())
@settings(max_examples=60, deadline=5000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_damage_ends_in_an_image_or_a_reason(kind: str, seed: int) -> None:
    content = damaged(sound_files()[kind], seed)
    try:
        frames = (decode_image(content, name="x", frame=0), *decode_frames(content, name="x"))
    except ImageError as error:
        assert isinstance(error.reason, ImageReason)  # noqa: PT017  both ends are right
        assert "SECRET" not in str(error)  # noqa: PT017
        return
    assert all(frame.grey_HW.dtype == np.uint8 and min(frame.grey_HW.shape) >= 16 for frame in frames)
