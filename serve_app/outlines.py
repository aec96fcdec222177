"""The outlines of a focus: the lines between the pixels of its components and those around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from shapely import LinearRing, get_coordinates

from wsus.types import BoxXyxyPx, Localisation, MaskHW

Polygon = tuple[tuple[float, float], ...]
_TOLERANCE_PX = 0.49  # an outline may leave the edges by less than half a pixel, which makes it ten times shorter
_ABOVE, _RIGHT, _BELOW, _LEFT = range(4)  # of a pixel's edges, clockwise
_MIDDLE_X, _MIDDLE_Y = np.array([0.5, 1.0, 0.5, 0.0]), np.array([0.0, 0.5, 1.0, 0.5])
_TURNED_RIGHT, _TURNED_LEFT = np.array([_RIGHT, _BELOW, _LEFT, _ABOVE]), np.array([_LEFT, _ABOVE, _RIGHT, _BELOW])


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
    padded_hw = np.zeros((height + 2, width + 2), dtype=np.bool_)
    padded_hw[1:-1, 1:-1] = focus_hw
    edges, following = _edges(padded_hw)
    left = set(range(int(np.searchsorted(edges, 4 * 2 * (width + 2)))))  # those of the first row: outer borders begin there
    while left:
        path = _followed(following, min(left))
        left.difference_update(path)
        pixels, sides = np.divmod(edges[np.array(path)], 4)
        rows, columns = np.divmod(pixels, width + 2)
        if (columns.min(), columns.max(), rows.min(), rows.max()) == (1, width, 1, height):
            return np.column_stack((columns - 1 + _MIDDLE_X[sides], rows - 1 + _MIDDLE_Y[sides]))
    raise ValueError(f"no component reaches from side to side of its box of {height} x {width} pixels")


def _edges(padded_hw: MaskHW) -> tuple[NDArray[np.int64], list[int]]:
    """All edges between inside and outside, each as 4 x its inner pixel + its side, ascending; where each one is followed.

    One walks with the inside at the right hand, and turns left where one can: corners that touch are joined.
    """
    inside, width = padded_hw.ravel(), padded_hw.shape[1]
    upper = np.flatnonzero(inside[:-width] != inside[width:])  # the upper pixel of each horizontal edge
    former = np.flatnonzero(inside[:-1] != inside[1:])  # the left pixel of each vertical edge
    lower_is_inside, right_is_inside = inside[upper + width], inside[former + 1]
    pixels = np.concatenate((upper + width * lower_is_inside, former + right_is_inside))
    sides = np.concatenate((np.where(lower_is_inside, _ABOVE, _BELOW), np.where(right_is_inside, _LEFT, _RIGHT)))
    edges = 4 * pixels + sides
    ascending = np.argsort(edges)
    edges, pixels, sides = edges[ascending], pixels[ascending], sides[ascending]
    step = np.array((-width, 1, width, -1))  # from a pixel to those above, right, below, left
    right = _TURNED_RIGHT[sides]
    ahead = pixels + step[right]
    beyond = ahead + step[sides]
    straight_or_right = np.where(inside[ahead], 4 * ahead + sides, 4 * pixels + right)
    followers = np.where(inside[beyond], 4 * beyond + _TURNED_LEFT[sides], straight_or_right)
    return edges, np.searchsorted(edges, followers).tolist()


def _followed(following: list[int], start: int) -> list[int]:
    path, place = [start], following[start]
    while place != start:
        path.append(place)
        place = following[place]
    return path
