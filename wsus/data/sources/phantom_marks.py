"""What a scanner burns into a picture: rulers, labels, calipers, a grey bar. None of it depends on the class.

Calipers lie where a lesion lies, as they do in practice, but they span a circle of the lesion's equivalent diameter at a random
angle: the diameter has the same distribution in both classes, the outline has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsus.types import GreyHW

_SIDES = ("LEFT BREAST", "RIGHT BREAST")
_PLACES = ("UOQ", "UIQ", "LOQ", "LIQ", "RETROAREOLAR", "3H", "9H", "12H")


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkStyle:
    """How often an institution burns what in, and where: probabilities in [0, 1].

    font_px: range of the letters' height.  text_at_top: the label's place; otherwise it stands near the lower border.
    ruler_at_right: the depth ruler's side.
    """

    text: float
    calipers: float
    ruler: float
    grey_bar: float
    font_px: tuple[int, int]
    text_at_top: bool
    ruler_at_right: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkedImage:
    """A picture with its marks, uint8, shape (H, W). calipers: whether the lesion was measured in it."""

    pixels_HW: GreyHW
    calipers: bool


def burn_marks(
    pixels_HW: GreyHW,
    style: MarkStyle,
    rng: np.random.Generator,
    *,
    center_xy_px: tuple[float, float],
    diameter_px: float,
    mm_per_px: float,
) -> MarkedImage:
    """A copy of the image with marks drawn at random as the style says; uint8, shape (H, W)."""
    image = Image.fromarray(pixels_HW)
    draw = ImageDraw.Draw(image)
    with_text, with_calipers, with_ruler, with_bar = rng.random(4) < (style.text, style.calipers, style.ruler, style.grey_bar)
    grey = int(rng.integers(170, 256))
    if with_ruler:
        _ruler(draw, image.size, grey, at_right=style.ruler_at_right, step_px=5 / mm_per_px)
    if with_text:
        _label(draw, image.size, grey, style, rng)
    if with_calipers:
        _calipers(draw, rng, grey, center_xy_px, diameter_px)
    if with_bar:
        bar_H = np.linspace(255, 0, image.height // 4).astype(np.uint8)
        image.paste(Image.fromarray(np.tile(bar_H[:, None], (1, 5))), (2, image.height // 12))
    return MarkedImage(pixels_HW=np.asarray(image), calipers=bool(with_calipers))


def _ruler(draw: ImageDraw.ImageDraw, size: tuple[int, int], grey: int, *, at_right: bool, step_px: float) -> None:
    width, height = size
    for tick, y in enumerate(np.arange(step_px, height - 2, step_px)):
        length = 6 if tick % 2 else 3  # every second tick is a full centimetre
        x = width - 2 - length if at_right else 2
        draw.line((x, int(y), x + length, int(y)), fill=grey)


def _label(draw: ImageDraw.ImageDraw, size: tuple[int, int], grey: int, style: MarkStyle, rng: np.random.Generator) -> None:
    width, height = size
    text = f"{_SIDES[rng.integers(len(_SIDES))]} {_PLACES[rng.integers(len(_PLACES))]}"
    x = int(rng.integers(10, max(11, width // 3)))
    y = int(rng.integers(2, 10)) if style.text_at_top else int(rng.integers(int(0.84 * height), int(0.93 * height)))
    draw.text(
        (x, y), text, fill=grey, font=ImageFont.load_default(size=int(rng.integers(style.font_px[0], style.font_px[1] + 1)))
    )


def _calipers(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, grey: int, center_xy_px: tuple[float, float], diameter_px: float
) -> None:
    angle = rng.uniform(0, pi)
    reach = diameter_px / 2 * rng.uniform(1.0, 1.2)
    for turn in (angle, angle + pi, angle + pi / 2, angle - pi / 2)[: 2 if rng.random() < 0.5 else 4]:
        x, y = round(center_xy_px[0] + reach * cos(turn)), round(center_xy_px[1] + reach * sin(turn))
        draw.line((x - 3, y, x + 3, y), fill=grey)
        draw.line((x, y - 3, x, y + 3), fill=grey)
