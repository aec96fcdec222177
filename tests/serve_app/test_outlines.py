"""Outlines of the focus, held against the pixels that they enclose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from serve_app.outlines import outer_edges, outline
from wsus.inference.localise import localise


def test_a_rectangle_by_hand() -> None:
    focus_HW = np.zeros((6, 8), dtype=bool)
    focus_HW[2:5, 3:7] = True
    xs, ys = zip(*outline(focus_HW, (3, 2, 7, 5)), strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (3, 7, 2, 5)


def test_another_component_that_reaches_into_the_box_is_left_out() -> None:
    focus_HW = np.zeros((20, 20), dtype=bool)
    focus_HW[2:18, 2:4] = focus_HW[16:18, 2:18] = True  # an L whose box holds the block
    focus_HW[5:8, 10:13] = True
    points = outline(focus_HW, (2, 2, 18, 18))
    assert not Outline(points).contains_point((11.5, 6.5))
    assert Outline(points).contains_point((3, 10))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 100_000), share=st.floats(0.05, 0.95), smooth=st.sampled_from([0.0, 0.7, 2.0]))
def test_the_edges_are_those_of_marching_squares(seed: int, share: float, smooth: float) -> None:
    import contourpy
    from scipy.ndimage import find_objects, gaussian_filter, label

    noise_HW = gaussian_filter(np.random.default_rng(seed).random((13, 17)), smooth)
    labels_HW, _ = label(noise_HW <= np.quantile(noise_HW, share), np.ones((3, 3)))
    for number, slices in enumerate(find_objects(labels_HW), start=1):
        padded_hw = np.pad((labels_HW[slices] == number).astype(float), 1)
        lines = contourpy.contour_generator(z=padded_hw).lines(0.499)  # below 0.5: corners that touch are joined
        outer = max((np.asarray(line) for line in lines), key=lambda line: np.prod(np.ptp(line, axis=0)))
        points = {(round(x - 0.5, 1), round(y - 0.5, 1)) for x, y in outer}
        edges_xy = outer_edges(labels_HW[slices] > 0)
        assert {(x, y) for x, y in edges_xy} == points
        assert len(edges_xy) == len(points)
        steps = np.abs(np.diff(edges_xy, axis=0, append=edges_xy[:1])).sum(axis=1)
        assert steps.max() <= 1  # in their order: from edge to neighbouring edge


def test_a_box_that_no_component_fills_is_refused() -> None:
    focus_hw = np.zeros((5, 6), dtype=bool)
    focus_hw[0, 1:3] = focus_hw[3:, 4] = True
    with pytest.raises(ValueError, match="from side to side of its box of 5 x 6"):
        outer_edges(focus_hw)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0.2, 0.8))
def test_an_outline_encloses_its_component_up_to_its_tolerance(seed: int, threshold: float) -> None:
    from scipy.ndimage import binary_fill_holes, gaussian_filter, label

    rng = np.random.default_rng(seed)
    map_HW = gaussian_filter(rng.random((40, 50)), 4)
    map_HW = ((map_HW - map_HW.min()) / np.ptp(map_HW)).astype(np.float32)
    found = localise(map_HW, threshold)
    box = found.boxes_xyxy_px[0]
    points = outline(found.focus_HW, box)
    labels_HW, _ = label(found.focus_HW, np.ones((3, 3)))
    largest_HW = binary_fill_holes(labels_HW == np.bincount(labels_HW.ravel())[1:].argmax() + 1)
    ys, xs = np.mgrid[:40, :50]
    inside_HW = Outline(points).contains_points(np.stack([xs.ravel() + 0.5, ys.ravel() + 0.5], 1)).reshape(40, 50)
    wrong = int((inside_HW != largest_HW).sum())
    assert wrong <= 0.5 * len(points) + 0.1 * largest_HW.sum() + 2


def test_order_component_has_one() -> None:
    map_HW = np.zeros((30, 30), dtype=np.float32)
    map_HW[2:6, 2:6], map_HW[20:28, 10:29], map_HW[15, 1] = 0.9, 1.0, 0.8
    found = localise(map_HW, 0.5)
    assert len(found.boxes_xyxy_px) == 3
    for box in found.boxes_xyxy_px:
        xs, ys = zip(*outline(found.focus_HW, box), strict=True)
        assert (min(xs), min(ys), max(xs), max(ys)) == pytest.approx(box, abs=0.5)
