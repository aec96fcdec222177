"""What the weakly-supervised networks looked at: images beside their class activation maps (the paper's Figure 3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsus.report.figures.canvas import INK, MUTED, Drawing, panels, render, style
from wsus.report.inputs import GALLERY_KINDS, CellArtefacts, GalleryItem
from wsus.report.wording import backbone_name, number
from wsus.types import CLASS_NAMES, GreyHW, MaskHW

_LONGEST_PX = 230  # a panel is 2.05 in wide: more pixels would only make the report heavy
_OUTLINE_RGB = (255, 214, 64)
_BOX = "#ffffff"
_MAX_ALPHA = 0.55


def gallery_drawing(cell: CellArtefacts) -> Drawing | None:
    """True positive, false negative, false positive, true negative of one network: image above, map below."""
    items = {item.kind: item for item in reversed(cell.gallery)}
    if not items:
        return None
    slug = f"cam_{cell.backbone}"
    with style(slug):
        figure, rows = panels(
            2, len(GALLERY_KINDS), panel_in=(2.05, 1.75), gap_in=(0.08, 0.06), margins_in=(0.04, 0.04, 0.3, 0.26)
        )
        for column, kind in enumerate(GALLERY_KINDS):
            top, bottom = rows[0][column], rows[1][column]
            top.set_title(kind.replace("_", " ").capitalize())
            _show(top, bottom, items.get(kind))
        return render(
            figure,
            slug=slug,
            title=f"Class activation maps, {backbone_name(cell.backbone)}, weak supervision",
            caption=_caption(items.values()),
            alt="; ".join(f"{kind.replace('_', ' ')}: {_words(item)}" for kind, item in items.items()),
            photographs=True,
        )


def _caption(items: Iterable[GalleryItem]) -> str:
    """Speaks of an outline where there is one."""
    masked = [item.mask_HW is not None for item in items]
    outline = " with the outline of the manual mask (yellow), which the network never saw" if any(masked) else ""
    where = ", where it is known" if any(masked) and not all(masked) else ""
    return (
        f"Above: the image{outline}{where}. Below: the map of the predicted class (red: the most) and the box of its largest"
        " focus (white). POM: probability of malignancy."
    )


def show_picture(axes: Axes, rgb_HW3: NDArray[np.uint8], *, side: Literal["left", "centre"] = "centre") -> None:
    """A picture as large as its panel allows; the panel keeps its size, so that titles of a row stand at one height."""
    height, width = rgb_HW3.shape[:2]
    box = axes.get_position()
    assert isinstance(axes.figure, Figure)
    wide, high = axes.figure.get_size_inches() * (box.width, box.height)
    scale = max(width / wide, height / high)  # pixels per inch
    x0 = 0.0 if side == "left" else (width - scale * wide) / 2
    y0 = (height - scale * high) / 2
    axes.imshow(rgb_HW3, extent=(0, width, height, 0), aspect="auto")
    axes.set_xlim(x0, x0 + scale * wide)
    axes.set_ylim(y0 + scale * high, y0)


def bare(axes: Axes) -> None:
    """Without ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _show(top: Axes, bottom: Axes, item: GalleryItem | None) -> None:
    for axes in (top, bottom):
        bare(axes)
    if item is None:
        top.text(0.5, 0.5, "none in this set", transform=top.transAxes, ha="center", va="center", color=MUTED)
        return
    small_HW, scale = _shrunk(item.image_HW, Image.Resampling.LANCZOS)
    show_picture(top, outlined(coloured(small_HW), item.mask_HW))
    show_picture(bottom, overlaid(small_HW, _shrunk(item.cam_HW, Image.Resampling.BILINEAR)[0]))
    if item.box_xyxy_px is not None:
        x0, y0, x1, y1 = (scale * value for value in item.box_xyxy_px)
        box = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=_BOX, linewidth=1.1)
        box.set_path_effects([withStroke(linewidth=2.6, foreground=INK)])  # seen on white, too: a box may end at the border
        bottom.add_patch(box)
    bottom.set_xlabel(_words(item), fontsize=7.5, labelpad=3)


def _words(item: GalleryItem) -> str:
    return f"{CLASS_NAMES[item.label]}, POM {number(item.pom, 3)}"


def _shrunk(picture_HW: NDArray[np.uint8], resample: Image.Resampling) -> tuple[NDArray[np.uint8], float]:
    height, width = picture_HW.shape
    scale = min(1.0, _LONGEST_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture_HW).resize(size, resample)), scale


def coloured(image_HW: GreyHW) -> NDArray[np.uint8]:
    """Grey in RGB, (H, W, 3)."""
    return np.repeat(image_HW[..., None], 3, axis=2)


def outlined(rgb_HW3: NDArray[np.uint8], mask_HW: MaskHW | None) -> NDArray[np.uint8]:
    """The picture with the outline of the mask, which may be of another size and is brought to the picture's."""
    if mask_HW is None or not mask_HW.any():
        return rgb_HW3
    size = (rgb_HW3.shape[1], rgb_HW3.shape[0])
    inside_HW = np.asarray(Image.fromarray(mask_HW).resize(size, Image.Resampling.NEAREST), dtype=bool)
    outline_HW = ndimage.binary_dilation(inside_HW) & ~inside_HW
    return np.where(outline_HW[..., None], np.array(_OUTLINE_RGB, dtype=np.uint8), rgb_HW3)


def overlaid(image_HW: GreyHW, cam_HW: GreyHW) -> NDArray[np.uint8]:
    """The image in RGB, (H, W, 3), under the colours of the map, red where it is highest; both of one size."""
    heat_HW = cam_HW.astype(np.float32) / 255.0
    colour_HW3 = 255.0 * colormaps["turbo"](heat_HW)[..., :3]
    alpha_HW1 = (_MAX_ALPHA * np.sqrt(heat_HW))[..., None]
    return ((1 - alpha_HW1) * coloured(image_HW) + alpha_HW1 * colour_HW3).round().astype(np.uint8)
