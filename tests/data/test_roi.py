"""Crops, against hand-worked boxes and against properties that hold for every image and lesion."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from wsus.data import roi
from wsus.data.roi import CropConfig, CropGeometry, around_box, around_mask, extract, mask_box, whole_image
from wsus.errors import ConfigError, MaskError
from wsus.types import BoxXyxyPx

sides = st.integers(16, 400)


@st.composite
def images_with_boxes(draw: st.DrawFn) -> tuple[tuple[int, int], BoxXyxyPx]:
    height, width = draw(sides), draw(sides)
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (height, width), (x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))


def test_hand_worked_square_around_a_lesion() -> None:
    # 40 x 20 px at (100, 100): the side is 40 + 2 * 30 = 100; x from 100 - 30, y centred on 110
    geometry = around_box((300, 400), (100, 100, 140, 120), CropConfig())
    assert geometry.box_xyxy_px == (70, 60, 170, 160)


def test_at_the_border_the_square_is_shifted() -> None:
    assert around_box((300, 400), (5, 280, 45, 300), CropConfig()).box_xyxy_px == (0, 200, 100, 300)


def test_where_shifting_does_not_do_it_is_padded_evenly() -> None:
    # side 90 + 60 = 150 in an image of 100 x 200: 25 px are added above and below, none beside
    assert around_box((100, 200), (100, 5, 190, 95), CropConfig()).box_xyxy_px == (50, -25, 200, 125)


def test_whole_image_is_padded_or_stretched() -> None:
    assert whole_image((100, 201), CropConfig(fit="pad")).box_xyxy_px == (0, -50, 201, 151)
    assert whole_image((100, 201), CropConfig(fit="stretch")).box_xyxy_px == (0, 0, 201, 100)


@given(images_with_boxes(), st.integers(0, 60))
def test_square_holds_lesion_and_margin_and_is_no_larger(image_and_box: tuple[tuple[int, int], BoxXyxyPx], margin: int) -> None:
    (height, width), (bx0, by0, bx1, by1) = image_and_box
    x0, y0, x1, y1 = around_box((height, width), (bx0, by0, bx1, by1), CropConfig(margin_px=margin)).box_xyxy_px

    assert x1 - x0 == y1 - y0 == max(bx1 - bx0, by1 - by0) + 2 * margin
    assert x0 <= max(bx0 - margin, 0) or x1 == width  # the margin is kept, or the image's edge is reached
    assert y0 <= max(by0 - margin, 0) or y1 == height
    assert x0 <= bx0 < bx1 <= x1
    assert y0 <= by0 < by1 <= y1
    for low, high, length in ((x0, x1, width), (y0, y1, height)):
        assert (low >= 0 and high <= length) or (low <= 0 and high >= length)  # padded only where nothing else fits


@given(images_with_boxes(), st.floats(0, 224), st.floats(0, 224))
def test_coordinates_map_back_exactly(image_and_box: tuple[tuple[int, int], BoxXyxyPx], x: float, y: float) -> None:
    geometry = around_box(*image_and_box, CropConfig())
    there = geometry.to_source_xy(x, y)
    assert geometry.to_input_xy(*there) == pytest.approx((x, y), abs=1e-9)


@given(images_with_boxes())
def test_corners_of_the_input_are_the_corners_of_the_box(image_and_box: tuple[tuple[int, int], BoxXyxyPx]) -> None:
    geometry = around_box(*image_and_box, CropConfig())
    corners = (*geometry.to_source_xy(0, 0), *geometry.to_source_xy(224, 224))
    assert corners == geometry.box_xyxy_px


@given(st.integers(32, 300), st.integers(32, 300), st.integers(0, 2**32 - 1))
def test_crop_without_resizing_maps_back_to_the_same_pixels(height: int, width: int, seed: int) -> None:
    image_HW = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    geometry = whole_image((height, width), CropConfig(size_px=max(height, width)))
    back_HW = geometry.map_to_source(extract(image_HW, geometry).astype(np.float32))
    assert (back_HW == image_HW).all()


def test_map_comes_back_to_its_place() -> None:
    geometry = CropGeometry(source_hw=(100, 100), box_xyxy_px=(20, 40, 52, 72), size_px=224)
    map_hw = np.zeros((4, 4))
    map_hw[1, 2] = 1.0  # 8 px per entry: its centre lies at x = 20 + 2.5 * 8, y = 40 + 1.5 * 8

    back_HW = geometry.map_to_source(map_hw, outside=-1.0)

    rows, columns = np.nonzero(back_HW == back_HW.max())
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((40, 52))
    assert (back_HW[:40] == -1).all()
    assert (back_HW[40:72, 20:52] >= 0).all()
    assert (back_HW[72:] == -1).all()


def test_extract_pads_with_black() -> None:
    image_HW = np.full((32, 64), 200, dtype=np.uint8)
    input_HW = extract(image_HW, whole_image((32, 64), CropConfig(size_px=64)))
    assert (input_HW[:16] == 0).all()
    assert (input_HW[16:48] == 200).all()
    assert (input_HW[48:] == 0).all()


def test_extract_of_another_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"for an image of \(40, 40\); got \(40, 41\)"):
        extract(np.zeros((40, 41), dtype=np.uint8), whole_image((40, 40), CropConfig()))


def test_box_of_a_mask_is_half_open() -> None:
    mask_HW = np.zeros((20, 30), dtype=bool)
    mask_HW[4:7, 10:15] = mask_HW[18, 29] = True
    assert mask_box(mask_HW) == (10, 4, 30, 19)
    assert mask_box(mask_HW, largest_only=True) == (10, 4, 15, 7)
    assert mask_box(np.zeros((20, 30), dtype=bool)) is None
    assert mask_box(np.zeros((20, 30), dtype=bool), largest_only=True) is None


def test_empty_mask_has_no_region() -> None:
    with pytest.raises(MaskError, match="case 7: the mask is empty"):
        around_mask(np.zeros((50, 50), dtype=bool), CropConfig(), name="case 7")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size_px": 31}, "at least 32.*got 31"),
        ({"margin_px": -1}, "must not be negative; got -1"),
        ({"fit": "crop"}, "'pad' or 'stretch'; got 'crop'"),
    ],
)
def test_impossible_crops_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CropConfig(**settings)  # type: ignore[arg-type]


def _map_as_a_whole(geometry: CropGeometry, map_hw: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map scaled to the whole box, padding included, of which the image is cut out: what is to be had for less."""
    x0, y0, x1, y1 = geometry.box_xyxy_px
    height, width = geometry.source_hw
    whole = np.asarray(Image.fromarray(map_hw).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR))
    result = np.full((height, width), np.nan, np.float32)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    result[top:bottom, left:right] = whole[top - y0 : bottom - y0, left - x0 : right - x0]
    return result


@pytest.mark.parametrize("image_hw", [(60, 80), (33, 200), (200, 33), (16, 256), (301, 299), (5, 5)])
@pytest.mark.parametrize("map_side", [1, 7, 14, 64])
def test_a_map_is_scaled_inside_the_image_alone_and_is_the_same(image_hw: tuple[int, int], map_side: int) -> None:
    map_hw = np.random.default_rng(0).normal(size=(map_side, map_side)).astype(np.float32)
    inner = around_box(image_hw, (1, 1, 4, 4), CropConfig(margin_px=20))
    stretched = whole_image(image_hw, CropConfig(fit="stretch"))
    for geometry in (whole_image(image_hw, CropConfig()), inner, stretched):
        found = geometry.map_to_source(map_hw, outside=np.nan)
        np.testing.assert_allclose(found, _map_as_a_whole(geometry, map_hw), atol=2e-5)


@pytest.mark.parametrize("image_hw", [(60, 80), (33, 200), (200, 33), (16, 256), (300, 20)])
def test_a_crop_made_in_strips_is_the_same_to_the_bit(image_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image_HW = np.random.default_rng(0).integers(0, 256, image_hw, np.uint8)
    for geometry in (whole_image(image_hw, CropConfig(size_px=64)), around_box(image_hw, (2, 2, 9, 9), CropConfig(size_px=64))):
        at_once = extract(image_HW, geometry)
        for pixels in (1, 999):
            monkeypatch.setattr(roi, "_STRIP_PIXELS", pixels)
            assert (extract(image_HW, geometry) == at_once).all()
        monkeypatch.undo()


def test_the_map_of_a_strip_costs_what_the_strip_costs() -> None:
    geometry = whole_image((16, 13_300), CropConfig())
    tracemalloc.start()
    cam_HW = geometry.map_to_source(np.random.default_rng(0).random((7, 7), np.float32))
    extract(np.zeros((16, 13_300), np.uint8), geometry)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cam_HW.shape == (16, 13_300)
    assert most < 20 * 2**20  # the padded square would take 700 MiB


@pytest.mark.parametrize(("change", "message"), [({"size_px": 100_000}, "at most 2048"), ({"margin_px": 10**6}, "at most 2048")])
def test_crops_that_would_take_the_memory_of_a_machine_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CropConfig(**change)
