"""What the three components of a JPEG frame are, in lossy and lossless files: held against the picture that went in."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from dicom_files import coloured, dataset, speckle, write
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from wsus.data.images import decode_image
from wsus.errors import ImageError, ImageReason

JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
NUMBERED, FROM_ZERO, LETTERS, SMALL_LETTERS = b"\1\2\3", b"\0\1\2", b"RGB", b"rgb"


def adobe(transform: int) -> bytes:
    return b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])


def luma(rgb_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb_HW3).convert("L"))


def lossless(samples_HWC: NDArray[np.uint8], ids: bytes, marks: bytes = b"") -> bytes:
    """Lossless JPEG (ISO/IEC 10918-1 Annex H) of any components: the value to the left predicts, each category has 4 bits."""
    height, width, count = samples_HWC.shape
    sof = struct.pack(">BHHB", 8, height, width, count) + b"".join(bytes([one, 0x11, 0]) for one in ids)
    huffman = bytes([0, 0, 0, 0, 9] + [0] * 12) + bytes(range(9))
    scan = bytes([count]) + b"".join(bytes([one, 0]) for one in ids) + bytes([1, 0, 0])
    head = b"\xff\xd8" + marks
    for marker, body in ((0xC3, sof), (0xC4, huffman), (0xDA, scan)):
        head += bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    wide = samples_HWC.astype(int)
    predicted = np.empty_like(wide)
    predicted[:, 1:] = wide[:, :-1]
    predicted[1:, 0] = wide[:-1, 0]
    predicted[0, 0] = 128
    bits = []
    for difference in (wide - predicted).reshape(-1):
        size = int(abs(difference)).bit_length()
        bits.append(f"{size:04b}")
        if size:
            bits.append(f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}")
    coded = "".join(bits)
    coded += "1" * (-len(coded) % 8)
    packed = int(coded, 2).to_bytes(len(coded) // 8, "big")
    return head + packed.replace(b"\xff", b"\xff\0") + b"\xff\xd9"


def lossy(rgb_HW3: NDArray[np.uint8], ids: bytes, marks: bytes = b"", *, as_rgb: bool = False) -> bytes:
    """Baseline JPEG, without the marks that Pillow sets, its components named anew."""
    buffer = io.BytesIO()
    Image.fromarray(rgb_HW3).save(buffer, "JPEG", quality=98, subsampling=0, keep_rgb=as_rgb)
    whole = buffer.getvalue()
    plain, at = b"\xff\xd8" + marks, 2
    while whole[at + 1] != 0xDA:
        length = struct.unpack_from(">H", whole, at + 2)[0] + 2
        if whole[at + 1] not in (0xE0, 0xEE):
            plain += renamed(whole[at : at + length], ids)
        at += length
    length = struct.unpack_from(">H", whole, at + 2)[0] + 2
    return plain + renamed(whole[at : at + length], ids) + whole[at + length :]


def renamed(segment: bytes, ids: bytes) -> bytes:
    start, step = {0xC0: (10, 3), 0xDA: (5, 2)}.get(segment[1], (0, 0))
    changed = bytearray(segment)
    for place, one in enumerate(ids if step else b""):
        changed[start + step * place] = one
    return bytes(changed)


def frame(jpeg: bytes, syntax: uid.UID, photometric: str) -> bytes:
    return write(dataset(coloured(), PhotometricInterpretation=photometric), syntax, encapsulate([jpeg]))


@pytest.mark.parametrize("ids", [NUMBERED, FROM_ZERO, LETTERS, SMALL_LETTERS], ids=repr)
@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1], ids=lambda syntax: syntax.keyword)
def test_lossless_rgb_without_marks_is_exact_however_its_components_are_called(ids: bytes, syntax: uid.UID) -> None:
    decoded = decode_image(frame(lossless(coloured(), ids), syntax, "RGB"), name="x")
    assert (decoded.grey_HW == luma(coloured())).all()
    assert not (coloured()[..., 0] == coloured()[..., 2]).all()


@pytest.mark.parametrize(
    ("marks", "photometric"),
    [(JFIF, "RGB"), (adobe(1), "RGB"), (JFIF, "YBR_FULL"), (adobe(1), "YBR_FULL"), (b"", "YBR_FULL"), (b"", "YBR_FULL_422")],
)
def test_lossless_ycbcr_gives_its_luminance(marks: bytes, photometric: str) -> None:
    ybr_HW3 = np.asarray(Image.fromarray(coloured()).convert("YCbCr"))
    decoded = decode_image(frame(lossless(ybr_HW3, NUMBERED, marks), uid.JPEGLosslessSV1, photometric), name="x")
    assert (decoded.grey_HW == ybr_HW3[..., 0]).all()


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_adobes_mark_of_no_transform_is_rgb(photometric: str) -> None:
    decoded = decode_image(frame(lossless(coloured(), NUMBERED, adobe(0)), uid.JPEGLosslessSV1, photometric), name="x")
    assert (decoded.grey_HW == luma(coloured())).all()


@pytest.mark.parametrize(
    ("ids", "marks", "photometric", "as_rgb"),
    [
        (LETTERS, b"", "RGB", True),
        (SMALL_LETTERS, b"", "RGB", True),
        (LETTERS, b"", "YBR_FULL_422", True),
        (NUMBERED, adobe(0), "RGB", True),
        (NUMBERED, adobe(0), "YBR_FULL_422", True),
        (NUMBERED, b"", "RGB", True),  # without a mark the header counts
        (FROM_ZERO, b"", "RGB", True),
        (NUMBERED, b"", "YBR_FULL_422", False),
        (FROM_ZERO, b"", "YBR_FULL", False),
        (NUMBERED, JFIF, "YBR_FULL_422", False),
        (NUMBERED, JFIF, "RGB", False),
        (NUMBERED, adobe(1), "YBR_FULL_422", False),
        (NUMBERED, adobe(1), "RGB", False),
    ],
)
def test_lossy_colours_come_out_close(ids: bytes, marks: bytes, photometric: str, as_rgb: bool) -> None:
    jpeg = lossy(coloured(), ids, marks, as_rgb=as_rgb)
    for syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        decoded = decode_image(frame(jpeg, syntax, photometric), name="x")
        assert np.abs(decoded.grey_HW.astype(int) - luma(coloured())).max() <= 3


def test_lossless_grey_is_exact() -> None:
    for pixels in (speckle(), np.zeros((60, 80), np.uint8) + np.arange(80, dtype=np.uint8)):
        content = write(dataset(pixels), uid.JPEGLosslessSV1, encapsulate([lossless(pixels[..., None], b"\1")]))
        assert (decode_image(content, name="x").grey_HW == pixels).all()


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLosslessSV1], ids=lambda s: s.keyword)
def test_eight_bits_in_sixteen_allocated_are_read(syntax: uid.UID) -> None:
    buffer = io.BytesIO()
    Image.fromarray(speckle()).save(buffer, "JPEG", quality=95)
    jpeg = lossless(speckle()[..., None], b"\1") if syntax == uid.JPEGLosslessSV1 else buffer.getvalue()
    content = write(dataset(speckle(), BitsAllocated=16), syntax, encapsulate([jpeg]))
    assert np.abs(decode_image(content, name="x").grey_HW.astype(int) - speckle()).max() <= 8

    deeper = write(dataset(speckle(), BitsAllocated=16, BitsStored=12, HighBit=11), syntax, encapsulate([jpeg]))
    with pytest.raises(ImageError, match="x: frame 0 is JPEG of 8 bits, and the header says that 12 bits are stored") as refused:
        decode_image(deeper, name="x")
    assert refused.value.reason is ImageReason.INVALID_ATTRIBUTES
