"""From a Prediction to what is sent: outlines of the focus, and the map as PNG or array."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from serve_app.exchange import Answer, BySite, MeasuredPoint, Question, ServedModel
from serve_app.outlines import outlines
from wsus.inference.localise import localise
from wsus.models.sites import SiteProfile
from wsus.types import Prediction

CAM_LEVELS = 200


def answer_of(
    prediction: Prediction, question: Question, model: ServedModel, infer_ms: float, profile: SiteProfile | None = None
) -> Answer:
    """What is sent for one prediction, explained as the question asks. profile: the site's that it went by."""
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
        by_site=None if profile is None else _by_site(prediction, profile),
    )


def _by_site(prediction: Prediction, profile: SiteProfile) -> BySite:
    assert prediction.model_pom is not None
    sensitivity, specificity = profile.after["sensitivity"], profile.after["specificity"]
    return BySite(
        site=profile.site,
        pom_means=profile.sentence,
        model_pom=prediction.model_pom,
        not_sure=prediction.not_sure,
        measured=MeasuredPoint(
            split=f"{profile.site}, cross-fitted",
            sensitivity=sensitivity["value"],
            sensitivity_ci=interval(sensitivity["ci"]),
            specificity=specificity["value"],
            specificity_ci=interval(specificity["ci"]),
        ),
    )


def interval(ends: Sequence[float] | None) -> tuple[float, float] | None:
    """A confidence interval as it stands in JSON."""
    return None if ends is None else (float(ends[0]), float(ends[1]))


def cam_png(prediction: Prediction) -> bytes:
    """The map as an 8-bit grey PNG in the image's pixels: value v where the map lies in [v / 200, (v + 1) / 200).

    So whoever cuts it at a multiple of 0.005 gets the pixels that `localise` gets, to the last one.
    """
    edges = (np.arange(CAM_LEVELS + 1) / CAM_LEVELS).astype(np.float32)  # float32, as the map is when it meets a threshold
    levels_HW = (np.searchsorted(edges, prediction.cam_HW, side="right") - 1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels_HW).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
