"""The B-mode region is cut out and its scale read; what cannot be trusted is said, not used."""

import pytest
from dicom_files import dicom, region, speckle
from hostile_inputs import image_bytes
from pydicom import Dataset, uid

from wsus.data.images import decode_frames, decode_image
from wsus.errors import ImageError, ImageReason
from wsus.types import GreyImage

WHOLE = (0, 0, 80, 60)
BOX = (10, 5, 70, 50)


def decoded(*regions: Dataset, **attributes: object) -> GreyImage:
    if regions:
        attributes["SequenceOfUltrasoundRegions"] = list(regions)
    return decode_image(dicom(speckle(), **attributes), name="x")


def test_bmode_region_is_cropped_and_measured() -> None:
    """0.01 cm across and 0.02 cm down: 0.1 and 0.2 mm."""
    image = decoded(region(BOX, delta_cm=(0.01, 0.02)))
    assert image.crop_xyxy_px == BOX
    assert (image.grey_HW == speckle()[5:50, 10:70]).all()
    assert image.source_hw == (60, 80)
    assert image.spacing_mm_yx == pytest.approx((0.2, 0.1))
    assert image.warnings == ()


def test_the_largest_of_several_is_used() -> None:
    image = decoded(region((0, 0, 30, 30)), region((30, 10, 80, 60), delta_cm=(0.03, 0.03)), region((0, 30, 20, 60)))
    assert image.crop_xyxy_px == (30, 10, 80, 60)
    assert image.spacing_mm_yx == pytest.approx((0.3, 0.3))
    assert image.warnings == (
        "3 B-mode regions (0: 0,0 to 30,30 px; 1: 30,10 to 80,60 px; 2: 0,30 to 20,60 px); region 1 was used, the largest",
    )


def test_the_first_of_equal_ones_is_the_upper_left_and_the_answer_says_that_there_are_two() -> None:
    image = decoded(region((40, 0, 80, 60)), region((0, 0, 40, 60)))
    assert image.crop_xyxy_px == (0, 0, 40, 60)
    assert image.warnings == (
        "2 B-mode regions (0: 0,0 to 40,60 px; 1: 40,0 to 80,60 px); region 0 was used, the first of 2 of equal size",
    )


def test_a_region_is_chosen_by_its_number() -> None:
    content = dicom(
        speckle(), SequenceOfUltrasoundRegions=[region((40, 0, 80, 60), delta_cm=(0.03, 0.03)), region((0, 0, 40, 60))]
    )
    right = decode_image(content, name="x", region=1)
    assert (right.crop_xyxy_px, right.spacing_mm_yx) == ((40, 0, 80, 60), pytest.approx((0.3, 0.3)))
    assert right.warnings[0].endswith("region 1 was used, as asked")
    assert [frame.crop_xyxy_px for frame in decode_frames(content, name="x", region=1)] == [(40, 0, 80, 60)]
    with pytest.raises(ImageError, match="x: there is no region 2; its 2 regions are 0 to 1") as refused:
        decode_image(content, name="x", region=2)
    assert refused.value.reason is ImageReason.REGION_OUT_OF_RANGE
    for whole in (dicom(speckle()), image_bytes()):
        assert decode_image(whole, name="x", region=0).crop_xyxy_px == WHOLE
        with pytest.raises(ImageError, match="x: there is no region 1; it has one picture, region 0"):
            decode_image(whole, name="x", region=1)


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        ([1.0, 1.0], ("a pixel is 0.2 x 0.1 mm by its region and 1 x 1 mm by PixelSpacing; the region's was used",)),
        ([0.1, 0.2], ("a pixel is 0.2 x 0.1 mm by its region and 0.1 x 0.2 mm by PixelSpacing; the region's was used",)),
        ([0.2004, 0.0998], ()),
        ([0, 0], ()),
    ],
)
def test_a_scale_that_contradicts_the_regions_is_a_warning(spacing: list[float], said: tuple[str, ...]) -> None:
    image = decoded(region(BOX), PixelSpacing=spacing)
    assert image.spacing_mm_yx == pytest.approx((0.2, 0.1))
    assert image.warnings == said


def test_a_missing_scale_is_a_warning() -> None:
    assert "no pixel spacing is given, so sizes in mm are not known" in decoded().warnings


@pytest.mark.parametrize(
    ("kind", "words"), [(2, "colour flow"), (3, "pulsed-wave Doppler"), (4, "continuous-wave Doppler"), (6, "Doppler")]
)
def test_doppler_is_a_warning(kind: int, words: str) -> None:
    image = decoded(region(BOX), region((20, 10, 40, 30), kind=kind, space=1 if kind == 2 else 3))
    assert image.crop_xyxy_px == BOX
    assert image.warnings == (f"a region of {words} lies in the frame; the model knows B-mode alone",)


def test_colours_that_no_region_explains_are_a_warning() -> None:
    assert decoded(region(BOX), UltrasoundColorDataPresent=1).warnings == (
        "a region of colours lies in the frame; the model knows B-mode alone",
    )
    assert decoded(region(BOX), UltrasoundColorDataPresent=0).warnings == ()


@pytest.mark.parametrize(
    ("regions", "why"),
    [
        ([], "it does not say where the B-mode region lies"),
        ([region(BOX, kind=3, space=3)], "it names no B-mode region"),
        ([region(BOX, space=2)], "it names no B-mode region"),  # M-mode
        ([region((0, 0, 160, 120))], "its B-mode region does not fit the frame"),  # an archive halved the frame
        ([region((10, 10, 20, 50))], "its B-mode region does not fit the frame"),
    ],
)
def test_without_a_region_to_trust_the_whole_frame_is_used(regions: list[Dataset], why: str) -> None:
    image = decoded(*regions)
    assert image.crop_xyxy_px == WHOLE
    assert image.spacing_mm_yx is None
    assert f"the whole frame was used: {why}" in image.warnings


def test_a_corner_one_pixel_outside_is_pulled_in() -> None:
    assert decoded(region((10, 5, 81, 61))).crop_xyxy_px == (10, 5, 80, 60)


def test_the_sign_of_an_increment_does_not_matter() -> None:
    assert decoded(region(BOX, delta_cm=(0.01, -0.02))).spacing_mm_yx == pytest.approx((0.2, 0.1))


@pytest.mark.parametrize(
    ("item", "warning"),
    [
        (region(BOX, units=0), "the region's scale is not given in centimetres"),
        (region(BOX, delta_cm=(0.0, 0.01)), "the pixel spacing is missing or not between 0.001 and 5.0 mm"),
        (region(BOX, delta_cm=(float("nan"), 0.01)), "the pixel spacing is missing or not between 0.001 and 5.0 mm"),
        (region(BOX, delta_cm=(80.0, 80.0)), "the pixel spacing is missing or not between 0.001 and 5.0 mm"),
    ],
)
def test_an_implausible_scale_is_left_unknown(item: Dataset, warning: str) -> None:
    image = decoded(item)
    assert image.crop_xyxy_px == BOX
    assert image.spacing_mm_yx is None
    (said,) = image.warnings
    assert said.startswith(warning)


def test_pixel_spacing_is_rows_then_columns() -> None:
    assert decoded(PixelSpacing=[0.2, 0.1]).spacing_mm_yx == (0.2, 0.1)
    assert decoded(ImagerPixelSpacing=[0.3, 0.4]).spacing_mm_yx == (0.3, 0.4)
    assert decoded(PixelSpacing=[0.2, 0.1], ImagerPixelSpacing=[0.3, 0.4]).spacing_mm_yx == (0.2, 0.1)
    assert decoded(region(BOX), PixelSpacing=[9, 9]).spacing_mm_yx == pytest.approx((0.2, 0.1))


@pytest.mark.parametrize("modality", ["US", "OT", None])
def test_a_secondary_capture_is_read_with_a_warning(modality: str | None) -> None:
    image = decoded(SOPClassUID=uid.SecondaryCaptureImageStorage, Modality=modality)
    assert any(warning.startswith("a secondary capture") for warning in image.warnings)
    assert any("may be burned into the pixels" in warning for warning in image.warnings)


def test_burned_in_text_is_a_warning() -> None:
    assert decoded(region(BOX), BurnedInAnnotation="YES").warnings == (
        "text may be burned into the pixels, the patient's name among it",
    )
    assert decoded(region(BOX), BurnedInAnnotation="NO").warnings == ()
