"""What the HTTP interface answers. These models are the OpenAPI document; nothing else describes the answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from wsus.disclaimer import DISCLAIMER

Box = Annotated[tuple[int, int, int, int], Field(description="Half-open (x0, y0, x1, y1) in pixels of the decoded image.")]
Point = tuple[float, float]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class OperatingPoint(_Answer):
    """What the threshold means: sensitivity and specificity where they were measured, on the model's card."""

    threshold: float = Field(description="An image is called malignant where POM >= threshold.")
    split: str | None = Field(
        description="The set of the two figures: of the card, or of the site's profile; null where there is none."
    )
    sensitivity: float | None = None
    sensitivity_ci: tuple[float, float] | None = Field(None, description="95 % interval (Clopper-Pearson).")
    specificity: float | None = None
    specificity_ci: tuple[float, float] | None = Field(None, description="95 % interval (Clopper-Pearson).")


class SizeMm(_Answer):
    """Extent of a box, from the pixel spacing that the DICOM file states."""

    width: float
    height: float


class LocalisationAnswer(_Answer):
    """Where the class activation map, scaled to [0, 1], reaches the threshold. Largest component first."""

    threshold: float
    explained_class: Literal["benign", "malignant"]
    boxes_xyxy_px: list[Box]
    polygons_px: list[list[Point]] = Field(description="Outer outline of each component, (x, y) in pixels, beside its box.")
    sizes_mm: list[SizeMm] | None = Field(description="Beside each box; null where the spacing of pixels is not known.")
    area_fraction: float = Field(ge=0, le=1, description="Share of the image inside the focus.")
    constant_map: bool = Field(description="True where the map points nowhere; then there is no focus.")


class CamArray(_Answer):
    """The map scaled to [0, 1], in pixels of the decoded image: little-endian, row-major, base64."""

    dtype: Literal["<f4"] = "<f4"
    shape: tuple[int, int] = Field(description="(height, width).")
    base64: str


class CamAnswer(_Answer):
    """The class activation map, in the form that was asked for."""

    png: str | None = Field(
        None,
        description="data: address of an 8-bit grey PNG: value v where the scaled map lies in [v / 200, (v + 1) / 200), so that "
        "a cut at any multiple of 0.005 is exact; 200 is the map's maximum.",
    )
    array: CamArray | None = None


class ImageFacts(_Answer):
    """What was decoded."""

    format: str = Field(description="PNG, JPEG, BMP, TIFF or DICOM, detected from the content.")
    width_px: int
    height_px: int
    frame: int = Field(description="Index of the frame, from 0.")
    frames: int
    spacing_mm: tuple[float, float] | None = Field(description="Distance of rows and of columns in mm; null where not known.")
    region_xyxy_px: Box | None = Field(description="The B-mode region within the stored image; null where it is the whole.")
    png: str | None = Field(None, description="data: address of the decoded image as 8-bit grey PNG, where it was asked for.")


class ModelRef(_Answer):
    """Which model answered."""

    name: str
    version: int
    digest: str = Field(description="SHA-256 of the bundle's SHA256SUMS.")
    role: Literal["primary", "canary"]
    engine: str = Field(description="torch or onnx.")
    card_url: str


class TimingMs(_Answer):
    """Milliseconds. infer is the time of the whole batch in which the image stood."""

    decode: float
    queue: float
    infer: float
    total: float


class PredictionResponse(_Answer):
    """One image seen by one model."""

    image_id: str = Field(description="First 16 hexadecimal digits of the SHA-256 of the upload; never its file name.")
    pom: float = Field(ge=0, le=1, description="Probability of malignancy.")
    label: Literal["benign", "malignant"]
    pom_means: str = Field(description="Whether the POM is a probability, and where; or that it is a score.")
    site: str | None = Field(None, description="Whose profile the POM was scaled and cut by; null for the model's own.")
    model_pom: float | None = Field(None, description="The model's own POM, where a site's profile scaled it.")
    not_sure: bool | None = Field(None, description="The profile's 'not sure'; null where it has none.")
    threshold: float
    operating_point: OperatingPoint
    localisation: LocalisationAnswer
    cam: CamAnswer | None = None
    image: ImageFacts
    ood_score: float | None = Field(None, description="Distance from the training images; null where the bundle has no guard.")
    ood_threshold: float | None = Field(None, description="Above it the image counts as unlike the training images.")
    model: ModelRef
    timing_ms: TimingMs
    warnings: list[str]
    disclaimer: str = DISCLAIMER


class Problem(BaseModel):
    """RFC 9457 problem document."""

    type: str = Field("about:blank", description="Address of the kind of problem.")
    title: str
    status: int
    detail: str
    reason: str = Field(description="A slug for machines, such as `unsupported_format`.")
    retry_after_s: int | None = None


class BatchItem(_Answer):
    """One item of a batch: an answer or a problem."""

    index: int = Field(description="Which upload or address; frames of one file share it.")
    source: str = Field(description="`upload`, or the s3:// address that was asked for.")
    prediction: PredictionResponse | None = None
    problem: Problem | None = None


class BatchResponse(_Answer):
    """All items, in the order in which they were sent: uploads first, then addresses."""

    items: list[BatchItem]
    succeeded: int
    failed: int


class Figure(_Answer):
    """An estimate with its 95 % interval."""

    value: float | None
    ci: tuple[float, float] | None


class CalibrationFigures(_Answer):
    """How well POM and operating point held on a site's images."""

    auc: Figure
    slope: float | None
    intercept: float | None
    in_the_large: float | None
    brier: float
    sensitivity: Figure
    specificity: Figure


class SiteSummary(_Answer):
    """One site's profile of a model (`wsus calibrate`)."""

    site: str
    pom_means: str
    scaling: str
    operating_point: float
    rule: str = Field(description="What chose the operating point.")
    images: int
    malignant: int
    before: CalibrationFigures = Field(description="By the model itself.")
    after: CalibrationFigures = Field(description="By the profile, cross-fitted over patients.")


class BatchEnd(_Answer):
    """The last line of a stream: without it, the stream was cut."""

    succeeded: int
    failed: int


class ModelSummary(_Answer):
    """One served model."""

    name: str
    version: int
    role: Literal["primary", "canary", "shadow"]
    digest: str
    mode: str
    backbone: str
    engine: str
    card_url: str
    sites: list[SiteSummary] = Field(description="What `site` may name.")


class ModelList(_Answer):
    models: list[ModelSummary]


class Health(_Answer):
    status: Literal["alive"] = "alive"


class Readiness(_Answer):
    """Whether a model is loaded and has passed its self-test; what was refused is named, while the old one goes on."""

    ready: bool
    model: str | None
    version: int | None
    refused: list[str]
