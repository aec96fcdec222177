"""The outlines of a focus: the lines between the pixels of its components and those around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from shapely import LinearRing, get_coordinates

from wsus.types import BoxXyxyPx, Localisation, MaskHW

Polygon = tuple[tuple[float, float], ...]
_TOLERANCE_PX = 0.49  # an outline may leave the edges by less than half a pixel, which makes it ten times shorter
_MIDDLE_X, _MIDDLE_Y = np.array([0.5, 1.0, 0.5, 0.0]), np.array([0.0, 0.5, 1.0, 0.5])  # of a pixel's edges, clockwise


def outlines(found: Localisation) -> tuple[Polygon, ...]:
    """The outline of each component of the focus, beside its box."""
    return tuple(outline(found.focus_HW, box) for box in found.boxes_xyxy_px)


def outline(focus_HW: MaskHW, box_xyxy_px: BoxXyxyPx) -> Polygon:
    """The outer outline of the component that a box holds, as (x, y) at the pixels' outer edges, not closed.

    Args:
        focus_HW: bool, all components.  box_xyxy_px: the bounding box of one of them, half-open.
    """
    x0, y0, x1, y1 = box_xyxy_px
    edges_xy = outer_edges(focus_HW[y0:y1, x0:x1])
    simple = LinearRing(edges_xy).simplify(_TOLERANCE_PX, preserve_topology=False)  # 20 times faster
    points_xy = np.round(get_coordinates(simple)[:-1] + np.array([x0, y0]), 1)
    return tuple((x, y) for x, y in points_xy.tolist())


def outer_edges(focus_hw: MaskHW) -> NDArray[np.float64]:
    """The middles of the pixels' edges along the outer border of one 8-connected component, clockwise.

    They are the points of marching squares at one half. Of a general contour's time it takes a seventh, since beyond the
    first comparison only pixels at borders are looked at.

    Args:
        focus_hw: bool, the bounding box of the component, which touches its four sides; others may reach into it.
    Returns:
        float64, shape (edges, 2): (x, y), where the pixel (row, column) reaches from (column, row) to (column + 1, row + 1).
    Raises:
        ValueError: no component touches the four sides.
    """
    height, width = focus_hw.shape
    edges, following = _edges(np.pad(focus_hw, 1))
    left = set(range(int(np.searchsorted(edges, 4 * 2 * (width + 2)))))  # those of the first row: outer borders begin there
    while left:
        path = _followed(following, min(left))
        left.difference_update(path)
        pixels, sides = np.divmod(edges[path], 4)
        rows, columns = np.divmod(pixels, width + 2)
        middles_xy = np.column_stack((columns - 1 + _MIDDLE_X[sides], rows - 1 + _MIDDLE_Y[sides]))
        if np.array_equal(np.ptp(middles_xy, axis=0), (width, height)):
            return middles_xy
    raise ValueError(f"no component reaches from side to side of its box of {height} x {width} pixels")


def _edges(padded_hw: MaskHW) -> tuple[NDArray[np.int64], list[int]]:
    """All edges between inside and outside, each as 4 x its inner pixel + its side, ascending; where each one is followed.

    One walks with the inside at the right hand, and turns left where one can: corners that touch are joined.
    """
    inside, width = padded_hw.ravel(), padded_hw.shape[1]
    around = (-width, 1, width, -1)  # from a pixel to those above, right, below, left
    edges, followers = [], []
    for side, out in enumerate(around):
        pixels = width + np.flatnonzero(inside[width:-width] > inside[width + out : inside.size - width + out])
        ahead = pixels + around[(side + 1) % 4]
        straight_or_right = np.where(inside[ahead], 4 * ahead + side, 4 * pixels + (side + 1) % 4)
        followers.append(np.where(inside[ahead + out], 4 * (ahead + out) + (side - 1) % 4, straight_or_right))
        edges.append(4 * pixels + side)
    found = np.concatenate(edges)
    ascending = np.argsort(found)
    found = found[ascending]
    return found, np.searchsorted(found, np.concatenate(followers)[ascending]).tolist()


def _followed(following: list[int], start: int) -> list[int]:
    path, place = [start], following[start]
    while place != start:
        path.append(place)
        place = following[place]
    return path
