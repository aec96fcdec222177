"""DICOM files of every photometric interpretation and transfer syntax come out as the pixels that went in."""

import logging
import warnings

import numpy as np
import pytest
from dicom_files import SECRET, coloured, compressed, dicom, region, speckle
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file

from wsus.data.images import decode_frames, decode_image
from wsus.errors import ImageError

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


def test_bmode_region_is_cropped_and_measured() -> None:
    content = dicom(speckle(), SequenceOfUltrasoundRegions=[region((10, 5, 70, 50), delta_cm=(0.01, 0.02))])
    decoded = decode_image(content, name="x")
    assert decoded.crop_xyxy_px == (10, 5, 70, 50)
    assert (decoded.grey_HW == speckle()[5:50, 10:70]).all()
    assert decoded.spacing_mm_yx == pytest.approx((0.2, 0.1))
    assert decoded.warnings == ()


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "CT", "SOPClassUID": uid.CTImageStorage}, "wrong_modality"),
        ({"Modality": "SR", "SOPClassUID": uid.BasicTextSRStorage}, "not_an_image"),
        ({"Modality": SECRET}, "wrong_modality"),
        ({"SOPClassUID": "1.2.3.4"}, "not_an_image"),
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
