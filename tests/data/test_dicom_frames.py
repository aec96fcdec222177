"""Frames are found by what the file holds; where that is not what its header says, the answer says so."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
from dicom_files import coloured, compressed, dataset, dicom, encode, speckle, write
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from wsus.data.images import decode_frames, decode_image
from wsus.errors import ImageError, ImageReason

FRAMES = np.stack([speckle(seed=seed) for seed in range(3)])
EXACT = [uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless]


def with_table(encoded: list[bytes], offsets: list[int], **attributes: object) -> bytes:
    """Frames in items, and a basic offset table of any content before them."""
    syntax = uid.JPEGBaseline8Bit if encoded[0].startswith(b"\xff\xd8") else uid.RLELossless
    items = encapsulate(encoded, has_bot=False)[8:]
    table = struct.pack(f"<{len(offsets)}L", *offsets)
    value = b"\xfe\xff\0\xe0" + struct.pack("<L", len(table)) + table + items
    return write(dataset(FRAMES, **attributes), syntax, value)


def jpegs() -> list[bytes]:
    return [encode(frame, uid.JPEGBaseline8Bit) for frame in FRAMES]


def closest(grey_HW: NDArray[np.uint8]) -> int:
    """Which of the three frames was read."""
    return int(np.argmin([np.abs(grey_HW.astype(int) - frame).mean() for frame in FRAMES]))


@pytest.mark.parametrize("offsets", [[], [0, 0, 0], [0], [0, 7, 9], [0, 2**31, 2**32 - 1], [4, 2, 0]], ids=str)
def test_where_there_are_as_many_items_as_frames_the_table_is_not_needed(offsets: list[int]) -> None:
    for encoded in (jpegs(), [encode(frame, uid.RLELossless) for frame in FRAMES]):
        content = with_table(encoded, offsets)
        assert [closest(decode_image(content, name="x", frame=k).grey_HW) for k in range(3)] == [0, 1, 2]
        assert [closest(image.grey_HW) for image in decode_frames(content, name="x")] == [0, 1, 2]


@pytest.mark.parametrize("offsets", [[], [0, 0, 0], [9, 9, 9]], ids=str)
def test_frames_of_several_items_are_found_by_their_first_bytes(offsets: list[int]) -> None:
    halves = [part for jpeg in jpegs() for part in (jpeg[:1000], jpeg[1000:])]
    content = with_table(halves, offsets)
    assert [closest(image.grey_HW) for image in decode_frames(content, name="x")] == [0, 1, 2]


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit, *EXACT], ids=lambda s: s.keyword)
@pytest.mark.parametrize("said", [None, 0, 1, 2])
def test_more_frames_than_the_header_says_are_a_warning(syntax: uid.UID, said: int | None) -> None:
    if syntax.is_encapsulated:
        content = compressed(FRAMES, syntax, table=said != 1, NumberOfFrames=said)
    else:
        content = dicom(FRAMES, NumberOfFrames=said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing of pydicom's own comes out
        image = decode_image(content, name="x", frame=0)
    used = max(1, said or 1)
    which = "only the first is used" if used == 1 else f"only the first {used} are used"
    assert f"the header says {used} frame(s) and the file holds 3: {which}" in image.warnings
    assert (image.frame_count, closest(image.grey_HW)) == (used, 0)
    assert len(decode_frames(content, name="x")) == used
    with pytest.raises(ImageError, match=f"x: there is no frame {used}"):
        decode_image(content, name="x", frame=used)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit, *EXACT], ids=lambda s: s.keyword)
def test_fewer_frames_than_the_header_says_are_refused_with_both_numbers(syntax: uid.UID) -> None:
    content = compressed(FRAMES, syntax, NumberOfFrames=5) if syntax.is_encapsulated else dicom(FRAMES, NumberOfFrames=5)
    with pytest.raises(ImageError, match=r"x: the header says 5 frame\(s\) of 80 x 60 px, and the file holds 3") as refused:
        decode_image(content, name="x", frame=0)
    assert refused.value.reason is ImageReason.DAMAGED


def test_a_clip_whose_number_is_missing_is_not_too_complex() -> None:
    many = write(dataset(FRAMES[0]), uid.RLELossless, encapsulate([encode(FRAMES[0], uid.RLELossless)] * 200))
    image = decode_image(many, name="x")
    assert "the header says 1 frame(s) and the file holds 200: only the first is used" in image.warnings


def test_pairs_of_an_odd_row_are_filled_up() -> None:
    """YBR_FULL_422 stores two neighbours at a time, so that 79 columns take the place of 80."""
    ybr_HW3 = np.asarray(Image.fromarray(coloured()).convert("YCbCr"))
    pairs = ybr_HW3.reshape(-1, 2, 3)
    halved = np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=-1).tobytes()
    content = dicom(ybr_HW3[:, :79], pixels=halved, PhotometricInterpretation="YBR_FULL_422")
    assert (decode_image(content, name="x").grey_HW == ybr_HW3[:, :79, 0]).all()


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_a_data_set_without_header_is_read(syntax: uid.UID) -> None:
    content = dicom(speckle(), syntax)
    first = struct.pack(">HH" if syntax == uid.ExplicitVRBigEndian else "<HH", 8, 0x16)
    bare = content[content.index(first, 132) :]
    image = decode_image(bare, name="x")
    assert (image.format, (image.grey_HW == speckle()).all()) == ("DICOM", True)
    assert image.warnings[0] == f"a data set without the header of a file; it was read as {syntax.name}"


@pytest.mark.parametrize("start", [128, 132])
def test_a_file_without_its_preamble_is_read(start: int) -> None:
    for content in (dicom(speckle()), compressed(speckle(), uid.RLELossless), dicom(speckle(), uid.ImplicitVRLittleEndian)):
        assert (decode_image(content[start:], name="x").grey_HW == speckle()).all()


def test_compressed_pixels_without_a_transfer_syntax_are_refused_by_its_name() -> None:
    content = compressed(speckle(), uid.RLELossless)
    with pytest.raises(
        ImageError, match="x: the DICOM attribute TransferSyntaxUID is missing, and the pixels are compr"
    ) as refused:
        decode_image(content[content.index(b"\x08\0\x16\0UI") :], name="x")
    assert refused.value.reason is ImageReason.INVALID_ATTRIBUTES


@pytest.mark.parametrize("content", [b"\x08\0" * 40, b"\x08\0\x05\0" + bytes(60), b"\x10\0" + b"\xff" * 99, b"(\0 an email"])
def test_text_and_noise_are_no_data_sets(content: bytes) -> None:
    with pytest.raises(ImageError, match="x: not an image that can be read") as refused:
        decode_image(content, name="x")
    assert refused.value.reason is ImageReason.UNSUPPORTED_FORMAT
