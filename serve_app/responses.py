"""From an answer to the document that is sent."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np

from serve_app.exchange import Answer, MeasuredPoint, ServedModel
from serve_app.schemas import (
    CalibrationFigures,
    CamAnswer,
    CamArray,
    Figure,
    ImageFacts,
    LocalisationAnswer,
    ModelRef,
    ModelSummary,
    OperatingPoint,
    PredictionResponse,
    SiteSummary,
    SizeMm,
    TimingMs,
)
from wsus.inference.answer import answer_warnings, class_name, sizes_mm
from wsus.models.sites import NOT_CALIBRATED, SiteProfile
from wsus.types import is_unlike_training


def prediction_response(
    answer: Answer, image: ImageFacts, *, image_id: str, warnings: list[str], timing: TimingMs
) -> PredictionResponse:
    """The document for one answered image. warnings: those of the decoder."""
    sizes = sizes_mm(answer.boxes_xyxy_px, image.spacing_mm)
    unlike = is_unlike_training(answer.ood_score, answer.ood_threshold)
    by_site = answer.by_site
    return PredictionResponse(
        image_id=image_id,
        pom=answer.pom,
        pom_means=NOT_CALIBRATED if by_site is None else by_site.pom_means,
        site=by_site and by_site.site,
        model_pom=by_site and by_site.model_pom,
        not_sure=by_site and by_site.not_sure,
        label=class_name(answer.label),
        threshold=answer.operating_point,
        operating_point=_operating_point(answer.operating_point, by_site.measured if by_site else answer.model.measured),
        localisation=LocalisationAnswer(
            threshold=answer.cam_threshold,
            explained_class=class_name(answer.explained_class),
            boxes_xyxy_px=list(answer.boxes_xyxy_px),
            polygons_px=[list(polygon) for polygon in answer.polygons_px],
            sizes_mm=sizes and [SizeMm(width=width, height=height) for width, height in sizes],
            area_fraction=answer.area_fraction,
            constant_map=answer.constant_map,
        ),
        cam=_cam(answer),
        image=image,
        ood_score=answer.ood_score,
        ood_threshold=answer.ood_threshold,
        model=_model_ref(answer.model),
        timing_ms=timing,
        warnings=answer_warnings(warnings, unlike_training=unlike, constant_map=answer.constant_map),
    )


def model_summary(model: ServedModel, sites: Sequence[SiteProfile] = ()) -> ModelSummary:
    """One row of the list of models."""
    return ModelSummary(
        name=model.name,
        version=model.version,
        role=model.role,
        digest=model.digest,
        mode=model.mode,
        backbone=model.backbone,
        engine=model.engine,
        card_url=card_url(model),
        sites=[_site_summary(profile) for profile in sites],
    )


def _site_summary(profile: SiteProfile) -> SiteSummary:
    return SiteSummary(
        site=profile.site,
        pom_means=profile.sentence,
        scaling=profile.scaling.method,
        operating_point=profile.operating_point,
        rule=profile.rule,
        images=profile.images["n"],
        malignant=profile.images["n_malignant"],
        before=_calibration(profile.before),
        after=_calibration(profile.after),
    )


def _calibration(figures: Mapping[str, Any]) -> CalibrationFigures:
    numbers = {name: figures[name] for name in ("slope", "intercept", "in_the_large", "brier")}
    shares = {
        name: Figure(value=figures[name]["value"], ci=figures[name]["ci"]) for name in ("auc", "sensitivity", "specificity")
    }
    return CalibrationFigures(**numbers, **shares)


def card_url(model: ServedModel) -> str:
    """Where the card of this version is answered."""
    return f"/v1/models/{model.name}/card?version={model.version}"


def data_address(png: bytes) -> str:
    """A PNG as a data: address."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


@lru_cache(maxsize=64)
def _model_ref(model: ServedModel) -> ModelRef:
    return ModelRef(
        name=model.name,
        version=model.version,
        digest=model.digest,
        role="canary" if model.role == "canary" else "primary",
        engine=model.engine,
        card_url=card_url(model),
    )


@lru_cache(maxsize=64)
def _operating_point(threshold: float, measured: MeasuredPoint | None) -> OperatingPoint:
    if measured is None:
        return OperatingPoint(threshold=threshold, split=None)
    return OperatingPoint(threshold=threshold, **asdict(measured))


def _cam(answer: Answer) -> CamAnswer | None:
    if answer.cam_png is not None:
        return CamAnswer(png=data_address(answer.cam_png))
    if answer.cam_HW is not None:
        height, width = answer.cam_HW.shape
        content = np.ascontiguousarray(answer.cam_HW, dtype="<f4").tobytes()
        return CamAnswer(array=CamArray(shape=(height, width), base64=base64.b64encode(content).decode()))
    return None
