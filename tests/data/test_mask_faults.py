"""Masks that cannot be right are refused where they would be used, each by what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import speckle
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from wsus.data.audit.audit import audit
from wsus.data.images import read_image, read_mask
from wsus.data.manifest import Manifest
from wsus.errors import MaskError
from wsus.types import ImageRecord

INSIDE = np.zeros((60, 80), bool)
INSIDE[20:41, 30:61] = True


def grey(inside: NDArray[np.bool_] = INSIDE, *, high: int = 255) -> Image.Image:
    return Image.fromarray(inside.astype(np.uint8) * high)


def colour(red: int, green: int, blue: int) -> Image.Image:
    return Image.fromarray((INSIDE[..., None] * np.array([red, green, blue])).astype(np.uint8))


def palette(ground: tuple[int, int, int], mark: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(INSIDE.astype(np.uint8)).convert("P")
    image.putpalette([*ground, *mark])
    return image


def with_alpha(image: Image.Image, alpha: NDArray[np.uint8]) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    return image


RIGHT = {
    "255": grey(),
    "1": grey(high=1),
    "one bit": grey().convert("1"),
    "sixteen bits": Image.fromarray(INSIDE.astype(np.uint16) * 65535),
    "white": colour(255, 255, 255),
    "red": colour(255, 0, 0),
    "opaque alpha": with_alpha(grey(), np.full((60, 80), 255, np.uint8)),
    "palette": palette((0, 0, 0), (255, 255, 255)),
    "labels": Image.fromarray(np.where(INSIDE, np.arange(80) % 3 + 1, 0).astype(np.uint8)),
}
WRONG = {
    "inverted": (grey(~INSIDE), "mask_inverted", "it marks 86 % of the image and its border"),
    "whole": (grey(np.ones_like(INSIDE)), "mask_whole", "it marks the whole image; draw the lesion"),
    "image itself": (Image.fromarray(speckle()), "mask_is_picture", "it is the image itself"),
    "another picture": (Image.fromarray(speckle(seed=4)), "mask_is_picture", "grey levels, as a picture has"),
    "alpha is the shape": (
        with_alpha(Image.new("L", (80, 60), 255), INSIDE.astype(np.uint8) * 255), "mask_alpha", "may lie in the alpha channel",
    ),
    "black on transparent": (
        with_alpha(Image.new("L", (80, 60), 0), INSIDE.astype(np.uint8) * 255), "mask_alpha", "may lie in the alpha channel",
    ),
    "white ground in a palette": (palette((255, 255, 255), (0, 0, 0)), "mask_palette", "its palette shows"),
    "a mark that is black in a palette": (palette((0, 0, 0), (0, 0, 0)), "mask_palette", "its palette shows"),
    "a dark red": (colour(1, 0, 0), "mask_colour", "marks by a colour that is black as grey"),
    "a dark blue": (colour(0, 0, 3), "mask_colour", "marks by a colour that is black as grey"),
    "a soft edge": (grey().filter(ImageFilter.BoxBlur(1)), "mask_smeared", "resampling or compression has smeared its edge"),
}  # fmt: skip


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(speckle()).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.mark.parametrize("name", RIGHT)
def test_sound_masks_of_every_kind_are_read(name: str, image: Path, tmp_path: Path) -> None:
    RIGHT[name].save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png", image=read_image(image)) == INSIDE).all()


@pytest.mark.parametrize("name", WRONG)
def test_wrong_masks_are_refused_and_found_by_the_audit(name: str, image: Path, tmp_path: Path) -> None:
    made, kind, words = WRONG[name]
    made.save(tmp_path / "mask.png")
    with pytest.raises(MaskError, match=rf"mask .*mask.png: .*{words}"):
        read_mask(tmp_path / "mask.png", image=read_image(image))
    record = ImageRecord(image_id="i", patient_id="p", path=image, label=0, mask_paths=(tmp_path / "mask.png",))
    report = audit(Manifest(records=(record,), name="M"))
    (finding,) = (one for one in report.findings if one.kind == kind)
    assert (finding.severity, report.ok) == ("error", False)
    assert finding.items[0].startswith("i: mask.png: ")


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_a_jpeg_mask_is_refused_with_how_far_off_its_area_is(quality: int, image: Path, tmp_path: Path) -> None:
    down, across = np.mgrid[0:60, 0:80]
    disc = (down - 30) ** 2 + (across - 40) ** 2 < 200
    grey(disc).save(tmp_path / "mask.jpg", quality=quality)
    with pytest.raises(MaskError, match=r"JPEG has smeared its edge, so that its area is \d+ % off; save it as PNG"):
        read_mask(tmp_path / "mask.jpg", image=read_image(image))


def test_a_mask_that_touches_the_border_is_not_inverted(image: Path, tmp_path: Path) -> None:
    large = np.zeros((60, 80), bool)
    large[5:, 10:] = True
    grey(large).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", image=read_image(image)).sum() == large.sum()
