"""DICOM files of every photometric interpretation and transfer syntax come out as the pixels that went in."""

import logging
import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from dicom_files import SECRET, coloured, compressed, dataset, dicom, encode, region, speckle, write
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate_extended

from wsus.data.images import DecodeLimits, decode_frames, decode_image
from wsus.errors import ImageError, ImageReason

NATIVE = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
COMPRESSED = {  # the largest difference that the codec may make to noise, and the name of its colours
    uid.JPEGBaseline8Bit: (8, "YBR_FULL_422"),
    uid.JPEGExtended12Bit: (8, "YBR_FULL_422"),
    uid.JPEG2000Lossless: (0, "YBR_RCT"),
    uid.JPEG2000: (16, "YBR_ICT"),
    uid.JPEGLSLossless: (0, "RGB"),
    uid.JPEGLSNearLossless: (2, "RGB"),
    uid.RLELossless: (0, "RGB"),
}


def luma(rgb_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb_HW3).convert("L"))


def far_apart(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> int:
    return int(np.abs(first.astype(int) - second).max())


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.keyword)
def test_uncompressed_pixels_are_kept(syntax: uid.UID) -> None:
    decoded = decode_image(dicom(speckle(), syntax), name="x")
    assert (decoded.format, decoded.source_hw, decoded.frame_count) == ("DICOM", (60, 80), 1)
    assert (decoded.grey_HW == speckle()).all()
    assert (decode_image(dicom(coloured(), syntax), name="x").grey_HW == luma(coloured())).all()


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.keyword)
def test_compressed_pixels_come_out_close_or_exact(syntax: uid.UID) -> None:
    tolerance, photometric = COMPRESSED[syntax]
    assert far_apart(decode_image(compressed(speckle(), syntax), name="x").grey_HW, speckle()) <= tolerance
    content = compressed(coloured(), syntax, PhotometricInterpretation=photometric)
    assert far_apart(decode_image(content, name="x").grey_HW, luma(coloured())) <= min(tolerance, 2)


def test_lossless_jpeg_is_decoded() -> None:
    """The packaged example is RGB in lossless JPEG; its twin, the same picture, lies in RLE."""
    lossless, twin = (
        decode_image(open(get_testdata_file(name), "rb").read(), name=name)  # noqa: SIM115
        for name in ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm")
    )
    assert (lossless.grey_HW == twin.grey_HW).all()


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless], ids=lambda s: s.keyword)
def test_frames_are_named_by_number(syntax: uid.UID) -> None:
    frames = np.stack([speckle(seed=seed) for seed in range(4)])
    content = compressed(frames, syntax) if syntax.is_encapsulated else dicom(frames, syntax)
    third = decode_image(content, name="x", frame=2)
    assert (third.frame, third.frame_count) == (2, 4)
    assert (third.grey_HW == frames[2]).all()
    assert all((image.grey_HW == frame).all() for image, frame in zip(decode_frames(content, name="x"), frames, strict=True))


def test_frames_of_one_colour_are_left_out_where_all_are_asked_for() -> None:
    content = dicom(np.stack([np.zeros((60, 80), np.uint8), speckle()]))
    assert [image.frame for image in decode_frames(content, name="x")] == [1]
    with pytest.raises(ImageError, match="x: all frames are of one colour"):
        decode_frames(dicom(np.zeros((2, 60, 80), np.uint8)), name="x")


def test_more_frames_than_the_limit_are_not_decoded_at_once() -> None:
    content = dicom(np.stack([speckle(seed=seed) for seed in range(3)]))
    for limits in (DecodeLimits(max_frames=2), DecodeLimits(max_total_pixels=3 * 4800 - 1)):
        with pytest.raises(ImageError, match=r"x: 3 frames of 80 x 60 px; at most .*; name the frame") as refused:
            decode_frames(content, name="x", limits=limits)
        assert refused.value.reason is ImageReason.TOO_MANY_FRAMES
        assert decode_image(content, name="x", frame=2, limits=limits).frame == 2


def test_the_representative_frame_stands_for_the_others() -> None:
    frames = np.stack([speckle(seed=seed) for seed in range(3)])
    decoded = decode_image(dicom(frames, RepresentativeFrameNumber=2), name="x")
    assert (decoded.frame, (decoded.grey_HW == frames[1]).all()) == (1, True)
    with pytest.raises(ImageError, match="x: 3 frames; say which one is to be read, 0 to 2") as refused:
        decode_image(dicom(frames, RepresentativeFrameNumber=4), name="x")
    assert refused.value.reason is ImageReason.FRAME_NEEDED


@pytest.mark.parametrize("layout", [{"table": False}, {"fragments": 3}, {"fragments": 3, "table": False}], ids=str)
def test_frames_are_found_with_and_without_an_offset_table(layout: dict[str, object]) -> None:
    frames = np.stack([speckle(seed=seed) for seed in range(3)])
    content = compressed(frames, uid.JPEG2000Lossless, **layout)
    assert (decode_image(content, name="x", frame=1).grey_HW == frames[1]).all()
    assert all((image.grey_HW == frame).all() for image, frame in zip(decode_frames(content, name="x"), frames, strict=True))


def test_frames_are_found_by_an_extended_offset_table() -> None:
    frames = np.stack([speckle(seed=seed) for seed in range(3)])
    encoded = [encode(frame, uid.RLELossless) for frame in frames]
    value, offsets, lengths = encapsulate_extended(encoded)
    made = dataset(frames, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths)
    content = write(made, uid.RLELossless, value)
    assert (decode_image(content, name="x", frame=2).grey_HW == frames[2]).all()
    assert len(decode_frames(content, name="x")) == 3


def test_a_worker_process_gives_the_same() -> None:
    content = dicom(speckle(), SequenceOfUltrasoundRegions=[region((10, 5, 70, 50))])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        decoded = pool.submit(decode_image, content, name="x").result()
        refused = pool.submit(decode_image, content[:400], name="x").exception()
    assert (decoded.grey_HW == decode_image(content, name="x").grey_HW).all()
    assert isinstance(refused, ImageError)
    assert refused.reason is ImageReason.DAMAGED


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "CT", "SOPClassUID": uid.CTImageStorage}, "wrong_modality"),
        ({"Modality": "SR", "SOPClassUID": uid.BasicTextSRStorage}, "not_an_image"),
        ({"Modality": SECRET}, "wrong_modality"),
        ({"SOPClassUID": "1.2.3.4"}, "not_an_image"),
        ({"SOPClassUID": "SECRET^PATIENT"}, "not_an_image"),
        ({"PhotometricInterpretation": SECRET}, "unsupported_pixels"),
        ({"VOILUTFunction": SECRET, "WindowCenter": 5, "WindowWidth": 5}, "invalid_attributes"),
        ({"Rows": None}, "invalid_attributes"),
        ({"NumberOfFrames": 2**30}, "damaged"),
    ],
)
@pytest.mark.filterwarnings("always")
def test_no_identifier_reaches_an_error_a_log_or_a_warning(
    attributes: dict[str, object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = dicom(speckle(), **attributes)
    assert SECRET.encode() in content
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as heard, pytest.raises(ImageError, match="x: ") as refused:
        decode_image(content, name="x")
    assert refused.value.reason == reason
    said = [str(refused.value), repr(refused.value.__cause__), repr(refused.value.__context__), caplog.text, *map(str, heard)]
    assert "SECRET" not in "".join(said)


def test_no_identifier_reaches_a_warning_where_the_image_is_sound(caplog: pytest.LogCaptureFixture) -> None:
    """pydicom quotes a character set that it does not know."""
    content = dicom(speckle(), SpecificCharacterSet="ISO_IR 100").replace(b"ISO_IR 100", b"SECRET^PAT", 1)
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        decoded = decode_image(content, name="x")
    assert "SECRET" not in "".join([repr(decoded), caplog.text, *map(str, heard)])
