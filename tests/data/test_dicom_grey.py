"""Stored values become grey levels as the DICOM standard says: held against pydicom's own functions and worked by hand."""

import struct
import warnings

import numpy as np
import pytest
from dicom_files import coloured, dataset, dicom, native, speckle, write
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, uid
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from wsus.data.formats.dicom_grey import window
from wsus.data.images import decode_image
from wsus.types import GreyImage

RAMP = np.arange(4800, dtype=np.uint16).reshape(60, 80)


def decoded(pixels: NDArray[np.generic], **attributes: object) -> GreyImage:
    return decode_image(dicom(pixels, **attributes), name="x")


def by_pydicom(pixels: NDArray[np.generic], top: float, **attributes: object) -> NDArray[np.float64]:
    """The same pipeline by pydicom: modality LUT, VOI LUT, scaled by the largest value that the last step can give."""
    made = dataset(pixels, **attributes)
    made.set_original_encoding(False, True, "iso8859")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        low = apply_voi_lut(apply_modality_lut(pixels, made), made).astype(np.float64)
    return np.clip(low * 255 / top, 0, 255)


def lut(entries: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.add_new(0x00283006, "US", entries)
    return item


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(100, 60), (90.5, 33.25), (128, 256), (60, 2), (300, 40)])
def test_windows_are_those_of_pydicom(function: str, center: float, width: float) -> None:
    attributes = {"WindowCenter": center, "WindowWidth": width, "VOILUTFunction": function}
    expected = by_pydicom(speckle(), 255, **attributes)
    if expected.round().min() == expected.round().max():
        image = decoded(speckle(), **attributes)
        assert (image.grey_HW == speckle()).all()
        assert "the window shows nothing of the picture; it was left aside, as if none were given" in image.warnings
        return
    assert np.abs(decoded(speckle(), **attributes).grey_HW - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"WindowCenter": 100, "WindowWidth": 0}, "WindowWidth or WindowCenter is not a number that makes a window"),
        ({"WindowCenter": 100, "WindowWidth": -5}, "WindowWidth or WindowCenter is not a number that makes a window"),
        ({"WindowCenter": 100, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"}, "WindowWidth or WindowCenter is not"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "RescaleSlope is 0"),
        ({"RescaleSlope": "1e308", "RescaleIntercept": "1e308"}, "RescaleSlope is 0, or it or RescaleIntercept no finite number"),
        ({"RescaleIntercept": -1024, "RescaleSlope": 1, "WindowCenter": 500, "WindowWidth": 2000}, "the window shows nothing"),
        ({"WindowCenter": -500, "WindowWidth": 200}, "the window shows nothing"),
        ({"VOILUTSequence": [[9, 9, 9]]}, "the window shows nothing"),
    ],
    ids=str,
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_makes_no_picture_is_left_aside_with_a_warning(attributes: dict[str, object], said: str, photometric: str) -> None:
    if "VOILUTSequence" in attributes:
        attributes = {"VOILUTSequence": [lut([9, 9, 9], 0, 8)]}
    image = decoded(speckle(), PhotometricInterpretation=photometric, **attributes)
    (warning,) = (one for one in image.warnings if getattr(one, "kind", None) == "window")
    assert warning.startswith(said)
    differences = np.diff(image.grey_HW.astype(int)[0]) * (-1 if photometric == "MONOCHROME1" else 1)
    assert (np.sign(differences) == np.sign(np.diff(speckle().astype(int)[0]))).mean() > 0.9


def test_a_dark_picture_keeps_its_window() -> None:
    """A window that shows a tenth of the pixels is the scanner's choice."""
    pixels = np.zeros((60, 80), np.uint8)
    pixels[:6] = np.arange(80) + 100
    image = decoded(pixels, WindowCenter=140, WindowWidth=80)
    assert not any(getattr(one, "kind", None) == "window" for one in image.warnings)
    assert image.grey_HW[10:].max() == 0


def test_linear_window_by_hand() -> None:
    """PS3.3 C.11.2.1.2.1, c = 2048, w = 4096: 0 below -0.5 of the centre's half width, then ((x - 2047.5) / 4095 + 0.5) * 255."""
    values = np.array([0.0, 1, 2047.5, 4095, 5000])
    assert window(values, 2048, 4096, "LINEAR") == pytest.approx([0, 255 / 4095, 127.5, 255, 255])
    assert window(np.array([9.0, 10, 11]), 10, 1, "LINEAR").tolist() == [0, 255, 255]  # a width of 1 is a threshold
    assert window(np.array([0.0, 10, 20]), 10, 20, "LINEAR_EXACT").tolist() == [0, 127.5, 255]
    assert window(np.array([10.0, 15]), 10, 20, "SIGMOID") == pytest.approx([127.5, 255 / (1 + np.exp(-1))])


def test_rescale_then_window() -> None:
    attributes = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 3000, "WindowWidth": 5000}
    signed = (RAMP.astype(np.int16) - 1000).astype(np.int16)
    grey_HW = decoded(signed, **attributes).grey_HW
    expected = np.clip((2.0 * signed - 1000 - 2999.5) / 4999 + 0.5, 0, 1) * 255
    assert np.abs(grey_HW - expected).max() <= 0.5 + 1e-9


def test_modality_table_then_voi_table() -> None:
    modality = lut([min(3 * i, 65535) for i in range(200)], 20, 16)
    voi = lut([int(65535 * (i / 499) ** 0.5) for i in range(500)], 50, 16)
    attributes = {"ModalityLUTSequence": [modality], "VOILUTSequence": [voi]}
    expected = by_pydicom(speckle(), 65535, **attributes)
    assert np.abs(decoded(speckle(), **attributes).grey_HW - expected).max() <= 0.5 + 1e-9


def test_monochrome1_is_inverted_after_the_window() -> None:
    plain = decoded(speckle(), WindowCenter=100, WindowWidth=90).grey_HW
    inverted = decoded(speckle(), WindowCenter=100, WindowWidth=90, PhotometricInterpretation="MONOCHROME1").grey_HW
    assert (inverted == 255 - plain).all()
    assert (decoded(speckle(), PhotometricInterpretation="MONOCHROME1").grey_HW == 255 - speckle()).all()
    assert (decoded(speckle(), PresentationLUTShape="INVERSE").grey_HW == 255 - speckle()).all()


def test_more_than_eight_bits_without_a_window_are_scaled_and_say_so() -> None:
    """12 bits of which the brightest is 4000: 2000 becomes 2000 * 255 / 4000 = 127.5."""
    pixels = np.full((20, 20), 2000, np.uint16)
    pixels[0, :3] = (0, 1000, 4000)
    image = decoded(pixels, BitsStored=12, HighBit=11)
    assert np.unique(image.grey_HW).tolist() == [0, 64, 128, 255]
    assert any("no window is given" in warning for warning in image.warnings)


def test_bits_that_are_not_stored_do_not_count() -> None:
    """Old scanners keep overlays in the upper bits."""
    dirty = RAMP | 0x8000
    assert (decoded(dirty, BitsStored=13, HighBit=12).grey_HW == decoded(RAMP, BitsStored=13, HighBit=12).grey_HW).all()
    signed = decoded((RAMP.astype(np.int16) - 2000).astype(np.int16) & 0x1FFF, BitsStored=13, HighBit=12, PixelRepresentation=1)
    assert signed.grey_HW[0, 0] == 0
    assert signed.grey_HW[-1, -1] == 255


def palette(bits: int) -> dict[str, object]:
    rng = np.random.default_rng(bits)
    attributes: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [200, 30, bits]
        attributes[f"{colour}PaletteColorLookupTableData"] = rng.integers(0, 2**bits, 200).astype(f"<u{bits // 8}").tobytes()
    return attributes


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_colours_become_luma(bits: int) -> None:
    attributes = palette(bits)
    colours = apply_color_lut(speckle(), dataset(speckle(), **attributes)) / (257 if bits == 16 else 1)
    expected = colours @ [0.299, 0.587, 0.114]
    assert np.abs(decoded(speckle(), **attributes).grey_HW - expected).max() <= 0.5 + 1e-9


def test_eight_bit_colours_in_sixteen_bit_entries_are_not_darkened() -> None:
    attributes = palette(8) | {
        f"{c}PaletteColorLookupTableData": np.arange(200, dtype="<u2").tobytes() for c in ("Red", "Green", "Blue")
    }
    attributes |= {f"{c}PaletteColorLookupTableDescriptor": [200, 30, 16] for c in ("Red", "Green", "Blue")}
    expected = np.clip(speckle().astype(int) - 30, 0, 199)
    assert np.abs(decoded(speckle(), **attributes).grey_HW - expected).max() <= 1


def test_segmented_palette() -> None:
    """A discrete segment of one entry (0), then a linear one of 255 to 65,535: a grey ramp (PS3.3 C.7.9.2)."""
    segments = struct.pack("<7H", 0, 1, 0, 1, 255, 65535, 0)[:12]
    attributes: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        attributes[f"Segmented{colour}PaletteColorLookupTableData"] = segments
    assert (decoded(speckle(), **attributes).grey_HW == speckle()).all()


def test_ybr_gives_its_luminance() -> None:
    ybr_HW3 = np.asarray(Image.fromarray(coloured()).convert("YCbCr"))
    assert (decoded(ybr_HW3, PhotometricInterpretation="YBR_FULL").grey_HW == ybr_HW3[..., 0]).all()
    pairs = ybr_HW3.reshape(-1, 2, 3)  # YBR_FULL_422: Y1 Y2 Cb Cr of two neighbours
    halved = np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=-1).tobytes()
    content = dicom(ybr_HW3, pixels=halved, PhotometricInterpretation="YBR_FULL_422")
    assert (decode_image(content, name="x").grey_HW == ybr_HW3[..., 0]).all()


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian], ids=lambda syntax: syntax.keyword)
def test_colours_by_plane(syntax: uid.UID) -> None:
    planes = np.ascontiguousarray(coloured().transpose(2, 0, 1))
    content = write(dataset(coloured(), PlanarConfiguration=1), syntax, native(planes, syntax))
    assert (decode_image(content, name="x").grey_HW == np.asarray(Image.fromarray(coloured()).convert("L"))).all()
