"""The look of every figure, panels at fixed sizes in inches, and how a figure becomes SVG and PNG bytes.

Nothing here depends on the clock or on the machine's fonts (matplotlib brings its own), so that the same study gives
the same files.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

INK, MUTED, RULE, PAPER = "#1c2530", "#5d6875", "#d5dae0", "#ffffff"
MODE_COLOURS = {"weak": "#0b5fa5", "manual_roi": "#c8550f", "auto_roi": "#0d8a68"}
MODE_LINES = {"weak": "-", "manual_roi": (0, (5, 2)), "auto_roi": (0, (1.5, 1.5))}
PNG_DPI = 110
PANEL_COLUMNS = 3

_STYLE: dict[Any, Any] = {  # Any: matplotlib's stubs want one of 300 literals
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.facecolor": PAPER,
    "legend.edgecolor": "none",
    "legend.fontsize": 7.5,
    "svg.fonttype": "path",
    "figure.facecolor": PAPER,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A finished figure.

    slug: file name without its ending.  caption: for the report, in sentences.  alt: what a reader who cannot see it
    must know.  photographs: True where it holds images; the report then embeds JPEG, else SVG.
    """

    slug: str
    title: str
    caption: str
    alt: str
    svg: bytes
    png: bytes
    photographs: bool = False

    @property
    def data_uri(self) -> str:
        """The figure as it is embedded in a page: no network, no second file."""
        kind, content = ("image/jpeg", _as_jpeg(self.png)) if self.photographs else ("image/svg+xml", self.svg)
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _as_jpeg(png: bytes) -> bytes:
    """A quarter of the size: speckle does not compress without loss."""
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(jpeg, format="JPEG", quality=88, subsampling=0)
    return jpeg.getvalue()


@contextmanager
def style(slug: str) -> Iterator[None]:
    """Draw and render inside this: fonts, colours, and identifiers in the SVG that depend on the figure's name alone."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": slug}):
        yield


def render(figure: Figure, *, slug: str, title: str, caption: str, alt: str, photographs: bool = False) -> Drawing:
    """Render a figure to both formats; call it inside `style(slug)`."""
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    figure.canvas = FigureCanvasSVG(figure)
    figure.canvas.print_svg(svg, metadata={"Date": None, "Creator": None, "Title": title})
    return Drawing(
        slug=slug, title=title, caption=caption, alt=alt, svg=svg.getvalue(), png=png.getvalue(), photographs=photographs
    )


def panels(
    rows: int,
    columns: int,
    *,
    panel_in: tuple[float, float],
    heights_in: Sequence[float] | None = None,
    gap_in: tuple[float, float] = (0.45, 0.6),
    margins_in: tuple[float, float, float, float] = (0.55, 0.12, 0.5, 0.32),
) -> tuple[Figure, list[list[Axes]]]:
    """A grid of axes of a fixed size.

    Args:
        panel_in: width and height of one panel, inches.  heights_in: instead, one height per row.
        gap_in: between columns, between rows.  margins_in: left, right, bottom, top.
    """
    heights = [panel_in[1]] * rows if heights_in is None else list(heights_in)
    width_in = panel_in[0]
    left, right, bottom, top = margins_in
    total_w = left + right + columns * width_in + (columns - 1) * gap_in[0]
    total_h = bottom + top + sum(heights) + (rows - 1) * gap_in[1]
    figure = Figure(figsize=(total_w, total_h), dpi=PNG_DPI)
    below = [bottom + sum(heights[row + 1 :]) + (rows - 1 - row) * gap_in[1] for row in range(rows)]
    axes = [
        [
            figure.add_axes(
                (
                    (left + column * (width_in + gap_in[0])) / total_w,
                    below[row] / total_h,
                    width_in / total_w,
                    heights[row] / total_h,
                )
            )
            for column in range(columns)
        ]
        for row in range(rows)
    ]
    return figure, axes


def panel_grid(count: int, panel_in: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """`count` panels of a fixed size, PANEL_COLUMNS to a line; places that stay empty are blank."""
    columns = min(count, PANEL_COLUMNS)
    figure, rows = panels(-(-count // columns), columns, panel_in=panel_in)
    flat = [axes for row in rows for axes in row]
    for axes in flat[count:]:
        axes.set_axis_off()
    return figure, flat


def unit_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """Both axes from 0 to 1, with a light grid and the diagonal."""
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.7, linestyle=(0, (2, 3)))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
