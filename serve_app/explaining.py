"""From a Prediction to what is sent: outlines of the focus, and the map as PNG or array."""

from __future__ import annotations

import io

import contourpy
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from shapely import LinearRing

from serve_app.exchange import Answer, Question, ServedModel
from wsus.inference.localise import localise
from wsus.types import BoxXyxyPx, Localisation, MaskHW, Prediction

Polygon = tuple[tuple[float, float], ...]
CAM_LEVELS = 200
_TOLERANCE_PX = 0.5  # an outline may leave the pixels' edges by half a pixel, which makes it ten times shorter


def answer_of(prediction: Prediction, question: Question, model: ServedModel, infer_ms: float) -> Answer:
    """What is sent for one prediction, explained as the question asks."""
    found = prediction.localisation
    if question.cam_threshold is not None and question.cam_threshold != found.threshold:
        found = localise(prediction.cam_HW, question.cam_threshold)
    return Answer(
        pom=prediction.pom,
        label=prediction.label,
        operating_point=prediction.operating_point,
        explained_class=prediction.explained_class,
        cam_threshold=found.threshold,
        boxes_xyxy_px=found.boxes_xyxy_px,
        polygons_px=outlines(found),
        area_fraction=found.area_fraction,
        constant_map=found.constant_map,
        cam_png=cam_png(prediction) if question.cam == "png" else None,
        cam_HW=prediction.cam_HW if question.cam == "array" else None,
        ood_score=prediction.ood_score,
        ood_threshold=prediction.ood_threshold,
        model=model,
        infer_ms=infer_ms,
    )


def cam_png(prediction: Prediction) -> bytes:
    """The map as an 8-bit grey PNG in the image's pixels: value v where the map lies in [v / 200, (v + 1) / 200).

    So whoever cuts it at a multiple of 0.005 gets the pixels that `localise` gets, to the last one.
    """
    edges = (np.arange(CAM_LEVELS + 1) / CAM_LEVELS).astype(np.float32)  # float32, as the map is when it meets a threshold
    levels_HW = (np.searchsorted(edges, prediction.cam_HW, side="right") - 1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels_HW).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def outlines(found: Localisation) -> tuple[Polygon, ...]:
    """The outline of each component of the focus, beside its box."""
    if len(found.boxes_xyxy_px) == 1:  # nothing else can reach into the box
        return (_outline(found.focus_HW, found.boxes_xyxy_px[0]),)
    return tuple(outline(found.focus_HW, box) for box in found.boxes_xyxy_px)


def outline(focus_HW: MaskHW, box_xyxy_px: BoxXyxyPx) -> Polygon:
    """The outer outline of the component that a box holds, as (x, y) at the pixels' outer edges, not closed.

    Args:
        focus_HW: bool, all components.  box_xyxy_px: the bounding box of one of them, half-open.
    """
    x0, y0, x1, y1 = box_xyxy_px
    component_HW = np.zeros_like(focus_HW)
    component_HW[y0:y1, x0:x1] = _component(focus_HW[y0:y1, x0:x1])
    return _outline(component_HW, box_xyxy_px)


def _outline(component_HW: MaskHW, box_xyxy_px: BoxXyxyPx) -> Polygon:
    x0, y0, x1, y1 = box_xyxy_px
    padded_hw = np.zeros((y1 - y0 + 2, x1 - x0 + 2))
    padded_hw[1:-1, 1:-1] = component_HW[y0:y1, x0:x1]
    lines = contourpy.contour_generator(z=padded_hw, name="serial").lines(0.499)  # below 0.5: corners that touch are joined
    outer = max((np.asarray(line) for line in lines), key=_extent_px)
    simple = LinearRing(outer).simplify(_TOLERANCE_PX, preserve_topology=False)  # 20 times faster
    left, top = x0 - 0.5, y0 - 0.5  # from the centres of padded pixels to the edges of the image's
    return tuple((round(x + left, 1), round(y + top, 1)) for x, y in simple.coords[:-1])


def _extent_px(points: NDArray[np.float64]) -> float:
    """Width times height: the outer outline has the largest, whatever holes the component has."""
    return float(np.prod(np.ptp(points, axis=0)))


def _component(focus_hw: MaskHW) -> MaskHW:
    """The component that fills its box from side to side; others may reach into the box."""
    labels_hw, count = ndimage.label(focus_hw, structure=np.ones((3, 3)))
    if count == 1:
        return focus_hw
    whole = tuple(slice(0, side) for side in focus_hw.shape)
    filling = next(i for i, found in enumerate(ndimage.find_objects(labels_hw), start=1) if found == whole)
    component_hw: MaskHW = labels_hw == filling
    return component_hw
