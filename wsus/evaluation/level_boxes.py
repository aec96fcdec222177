"""The boxes of a map's connected components at many thresholds at once.

A map that is cut at 99 thresholds would be labelled 99 times. Instead every threshold's components are made
of runs (stretches of a row at or above the threshold), found in one pass over the map and joined row by row, 8-connected,
for all thresholds together: about ten times as fast on a map of 350 x 400, and the same boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelBoxes:
    """Every component at every threshold.

    level_N: which threshold, counted from 0, ascending.  area_px_N: pixels.  boxes_N4: half-open (x0, y0, x1, y1).
    Of one level, components stand in the order in which a reader of the image meets them.
    """

    level_N: Ints
    area_px_N: Ints
    boxes_N4: Ints


@dataclass(frozen=True, slots=True)
class _Runs:
    """Stretches of rows: level, row, first column, column behind the last; sorted in that order."""

    level: Ints
    row: Ints
    start: Ints
    stop: Ints


def level_boxes(cam_HW: NDArray[np.float32], thresholds: Sequence[float]) -> LevelBoxes:
    """Cut a map at each threshold (value >= threshold) and box the connected components.

    Args:
        cam_HW: finite, shape (H, W).  thresholds: ascending.
    Raises:
        ValueError: the thresholds do not ascend, there is none, or more than 127.
    """
    cuts = np.asarray(thresholds, dtype=cam_HW.dtype)  # as `cam_HW >= threshold` compares
    if not (np.diff(cuts) > 0).all() or not 0 < cuts.size < 128:
        raise ValueError(f"thresholds must ascend, and be at most 127; got {list(thresholds)}")
    reached_HW = np.zeros(cam_HW.shape, dtype=np.int8)  # how many thresholds each pixel reaches
    for cut in cuts:
        reached_HW += (cam_HW >= cut).view(np.int8)
    runs = _runs(reached_HW)
    label = _joined(runs, width=cam_HW.shape[1])
    count = int(label.max()) + 1 if label.size else 0
    first = np.full((4, count), np.iinfo(np.int64).max)
    for place, edge in enumerate((runs.start, runs.row, -runs.stop, -runs.row - 1)):
        np.minimum.at(first[place], label, edge)
    level = np.zeros(count, dtype=np.int64)
    level[label] = runs.level
    area = np.bincount(label, weights=runs.stop - runs.start, minlength=count).astype(np.int64)
    return LevelBoxes(level_N=level, area_px_N=area, boxes_N4=np.stack([first[0], first[1], -first[2], -first[3]], axis=1))


def _runs(reached_HW: NDArray[np.int8]) -> _Runs:
    """The runs of every level, from how many thresholds each pixel reaches."""
    height, width = reached_HW.shape
    before = np.zeros((height, width + 1), dtype=np.int8)
    before[:, 1:] = reached_HW
    after = np.zeros_like(before)
    after[:, :-1] = reached_HW
    before, step = before.ravel(), (after - before).ravel()
    places = height * (width + 1)

    def edges(at: Ints, low: Ints, crossed: Ints) -> Ints:
        """One number per level that is crossed at a place: level * places + place, sorted."""
        first = np.cumsum(crossed) - crossed
        level = np.repeat(low - first, crossed) + np.arange(int(crossed.sum()))
        return np.sort(level * places + np.repeat(at, crossed))

    up, down = np.flatnonzero(step > 0), np.flatnonzero(step < 0)
    starts = edges(up, before[up].astype(np.int64), step[up].astype(np.int64))
    stops = edges(down, (before[down] + step[down]).astype(np.int64), -step[down].astype(np.int64))
    level, place = np.divmod(starts, places)
    row, start = np.divmod(place, width + 1)
    return _Runs(level, row, start, stops % (width + 1))


def _joined(runs: _Runs, *, width: int) -> Ints:
    """A component's number for every run; runs of neighbouring rows belong together where they touch, be it at a corner."""
    height = int(runs.row.max()) + 2 if runs.row.size else 1
    line = (runs.level * height + runs.row) * (width + 2)
    low = np.searchsorted(line + runs.stop, line + (width + 2) + runs.start, side="left")
    high = np.searchsorted(line + runs.start, line + (width + 2) + runs.stop, side="right")
    touching = np.maximum(high - low, 0)
    above = np.repeat(np.arange(line.size), touching)
    below = np.repeat(low - (np.cumsum(touching) - touching), touching) + np.arange(above.size)
    links = coo_array((np.ones(above.size, dtype=bool), (above, below)), shape=(line.size, line.size))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)
