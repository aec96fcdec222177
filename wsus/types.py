"""The records that travel between the rooms. Frozen, and with nothing in them but data.

Conventions: malignant = 1, benign = 0. Arrays are (H, W). Boxes are half-open (x0, y0, x1, y1) in pixels, so that
`array[y0:y1, x0:x1]` is what the box holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

BoxXyxyPx = tuple[int, int, int, int]
GreyHW = NDArray[np.uint8]
MaskHW = NDArray[np.bool_]
Explain = Literal["predicted", "malignant"]  # whose map: the predicted class's (the paper), or always malignant's
YesNo = Literal["yes", "no"]

BENIGN, MALIGNANT = 0, 1
CLASS_NAMES = ("benign", "malignant")
UNLIKE_TRAINING = "unlike the training images: the probability may mean nothing"  # a warning; `Prediction.unlike_training`


class Split(StrEnum):
    """Where an image stands in a study. `development` is cut from the training patients and chooses models."""

    TRAIN = "train"
    DEVELOPMENT = "development"
    INTERNAL = "internal"
    EXTERNAL = "external"
    UNUSED = "unused"


ENSEMBLE = -1  # in the column `seed`: the mean of all seeds of a cell, read as one network
SCORED_SPLITS = (Split.DEVELOPMENT, Split.INTERNAL, Split.EXTERNAL)


class Mode(StrEnum):
    """How much a network is told about where the lesion lies (the paper's supervision modes)."""

    WEAK = "weak"
    MANUAL_ROI = "manual_roi"
    AUTO_ROI = "auto_roi"


@dataclass(frozen=True, kw_only=True, slots=True)
class GreyImage:
    """One decoded image, or one frame of several. It can be pickled.

    grey_HW: what is diagnosed, uint8 (H, W); of a DICOM file that names its B-mode region, that region alone.
    format: PNG, JPEG, BMP, TIFF or DICOM, told by content.
    frame, frame_count: the frame's index, from 0, and how many the file holds.
    source_hw: the (H, W) of the whole frame, upright as a viewer shows it.
    crop_xyxy_px: where `grey_HW` lies in that frame.
    spacing_mm_yx: distance of neighbouring pixels (down, across), None where the file does not say.
    warnings: what a person who reads the result should know; never a value that could name a patient.
    """

    grey_HW: GreyHW
    format: str
    source_hw: tuple[int, int]
    crop_xyxy_px: BoxXyxyPx
    frame: int = 0
    frame_count: int = 1
    spacing_mm_yx: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """One row of a manifest: an image, its patient, and what is known of it.

    label: 1 malignant, 0 benign, None where unknown (then it can only be predicted).
    mask_paths: lesion masks of the image's size, non-zero inside; their union is the lesion. Usually none or one.
    calipers: whether measuring marks are burnt into the picture; they lie around the lesion and may give it away.
    acquired: ISO date, for a split by time.
    frame: the index, from 0, of the frame to be read of a file with several.
    """

    image_id: str
    patient_id: str
    path: Path
    label: int | None = None
    split: Split | None = None
    mask_paths: tuple[Path, ...] = ()
    institution: str | None = None
    device: str | None = None
    birads: str | None = None
    histology: str | None = None
    age_years: float | None = None
    lesion_size_mm: float | None = None
    calipers: YesNo | None = None
    acquired: str | None = None
    frame: int | None = None


class CamOutput(NamedTuple):
    """What a network returns.

    logits_BC: class scores S_c, shape (B, C).  cam_BChw: class activation maps M_c, shape (B, C, h, w).
    features_BK: the backbone's maps f_k, averaged over the image, shape (B, K).
    auxiliary_BC: class scores of the branch that says where, in training alone; None where there is none.
    """

    logits_BC: torch.Tensor
    cam_BChw: torch.Tensor
    features_BK: torch.Tensor
    auxiliary_BC: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Localisation:
    """Where a class activation map points, in the pixels of the original image.

    focus_HW: bool, True where the scaled map reaches the threshold.
    boxes_xyxy_px: one box per connected component of the focus, the largest component first.
    peak_xy_px: the map's maximum, None where the map is constant.
    area_fraction: share of the image inside the focus, in [0, 1].
    constant_map: True where the map points nowhere; then the focus is empty.
    """

    threshold: float
    focus_HW: MaskHW
    boxes_xyxy_px: tuple[BoxXyxyPx, ...]
    peak_xy_px: tuple[int, int] | None
    area_fraction: float
    constant_map: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One image seen by one model.

    pom: probability of malignancy, in [0, 1].  label: 1 where pom >= operating_point.
    cam_HW: float32 map of the explained class scaled to [0, 1] over the image, in original pixels; 0 outside the
        region that the network saw.
    crop_xyxy_px: the region that the network saw; it may reach beyond the image (then it was padded).
    fallback_crop: True where an automatic ROI found nothing and the whole image was used.
    ood_score, ood_threshold: distance from the training images, and where it becomes unusual; None where the bundle has no guard.
    site: whose profile made `pom` of the model's own, `model_pom`, and set the operating point; None where none did.
    not_sure: whether the site's profile says that both classes fit, or neither; None where it does not say.
    """

    image_id: str
    pom: float
    label: int
    operating_point: float
    explained_class: int
    cam_HW: NDArray[np.float32]
    localisation: Localisation
    crop_xyxy_px: BoxXyxyPx
    fallback_crop: bool
    model_id: str
    ood_score: float | None = None
    ood_threshold: float | None = None
    site: str | None = None
    model_pom: float | None = None
    not_sure: bool | None = None

    @property
    def unlike_training(self) -> bool | None:
        """Whether the image lies further from the training images than 99 % of the development images; None without a guard."""
        return is_unlike_training(self.ood_score, self.ood_threshold)


def model_id(name: str, digest: str) -> str:
    """A model's short name for logs, tables and answers. digest: of its bundle."""
    return f"{name}@{digest[:12]}"


def is_unlike_training(ood_score: float | None, ood_threshold: float | None) -> bool | None:
    """Whether a distance from the training images is unusual; what is no number is. None without a guard."""
    return None if ood_score is None or ood_threshold is None else not ood_score <= ood_threshold
