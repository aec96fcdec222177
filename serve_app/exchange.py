"""What the ingress asks and a predictor answers: small frozen records that travel between their processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsus.data.roi import CropConfig, CropGeometry
from wsus.models.sites import SiteProfile
from wsus.types import BoxXyxyPx, Explain, GreyHW

CamForm = Literal["none", "png", "array"]
Role = Literal["primary", "canary", "shadow"]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What a weak network with this crop sees of one image: all that is sent of it, however large it is.

    pixels_HW: uint8, the network's input.
    """

    crop: CropConfig
    geometry: CropGeometry
    pixels_HW: GreyHW


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One image and how it is to be explained.

    views: one for each crop that the loaded versions are known to have.
    share: a number in [0, 1) that depends on the image alone; below the canary's share, the canary answers.
    cam_threshold: None for the one of the model's card.
    site: whose profile the POM is scaled and cut by; None for the model's own.
    """

    image_id: str
    views: tuple[View, ...]
    share: float
    explain: Explain = "predicted"
    cam_threshold: float | None = None
    cam: CamForm = "none"
    site: str | None = None

    @property
    def pixels(self) -> int:
        """Of the image, as large as its map becomes."""
        height, width = self.views[0].geometry.source_hw if self.views else (0, 0)
        return height * width

    def view(self, crop: CropConfig) -> View | None:
        """None where the version that is to answer was loaded after the crops were asked for."""
        return next((view for view in self.views if view.crop == crop), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredPoint:
    """Sensitivity and specificity at the card's operating point, with 95 % intervals, and the set they were measured on."""

    split: str
    sensitivity: float | None
    sensitivity_ci: tuple[float, float] | None
    specificity: float | None
    specificity_ci: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BySite:
    """What a site's profile makes of an answer. measured: cross-fitted, on the images that the profile was fitted to."""

    site: str
    pom_means: str
    model_pom: float
    not_sure: bool | None
    measured: MeasuredPoint


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """One loaded version. measured: None where the card has no figures at this operating point."""

    name: str
    version: int
    digest: str
    role: Role
    engine: str
    mode: str
    backbone: str
    measured: MeasuredPoint | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model says of one image. polygons_px: the outline of each component, beside its box.

    ood_score, ood_threshold: distance from the training images and where it becomes unusual; None without a guard.
    infer_ms: the whole batch in which the image stood, maps and outlines included.
    """

    pom: float
    label: int
    operating_point: float
    explained_class: int
    cam_threshold: float
    boxes_xyxy_px: tuple[BoxXyxyPx, ...]
    polygons_px: tuple[tuple[tuple[float, float], ...], ...]
    area_fraction: float
    constant_map: bool
    cam_png: bytes | None
    cam_HW: NDArray[np.float32] | None
    ood_score: float | None
    ood_threshold: float | None
    model: ServedModel
    infer_ms: float
    by_site: BySite | None = None

    @property
    def model_pom(self) -> float:
        """The model's own POM, whatever a site makes of it."""
        return self.pom if self.by_site is None else self.by_site.model_pom


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why one image of a batch has no answer: a slug and a sentence."""

    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unseen:
    """A question lacks the view that its version needs. crops: those of all loaded versions; ask again with these."""

    crops: tuple[CropConfig, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShelfStatus:
    """What a predictor has loaded. crops: of these versions, each once.

    refused: versions that were not taken, and why; while the older ones go on.
    sites: the site profiles of each version.
    """

    models: tuple[ServedModel, ...]
    crops: tuple[CropConfig, ...]
    refused: tuple[str, ...]
    sites: Mapping[int, tuple[SiteProfile, ...]] = field(default_factory=dict)

    @property
    def primary(self) -> ServedModel | None:
        """The version that answers; None before one is loaded."""
        return next((model for model in self.models if model.role == "primary"), None)
