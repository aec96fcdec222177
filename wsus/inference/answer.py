"""What is said of one image: the one place for its JSON, its words and its warnings.

`wsus predict` prints it, whoever computed it; the HTTP interface answers the same facts, in a document of its own form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from wsus.models.sites import NOT_CALIBRATED, SiteProfile
from wsus.types import CLASS_NAMES, UNLIKE_TRAINING, BoxXyxyPx, GreyImage, Prediction

NO_LESION = "the model was trained on images that show a mass: where there is none, the probability means nothing"
CONSTANT = "the map is constant: the model does not say where it looked"
SizeMm = tuple[float, float]  # (width, height)


def answer_json(
    *,
    image: str,
    pom: float,
    label: str,
    operating_point: float,
    explained_class: str,
    boxes_xyxy_px: Sequence[Sequence[int]],
    sizes_mm: Sequence[Sequence[float]] | None,
    area_fraction: float,
    constant_map: bool,
    model: str,
    pom_means: str = NOT_CALIBRATED,
    by_site: Mapping[str, Any] | None = None,
    ood_score: float | None,
    ood_threshold: float | None,
    warnings: Sequence[str],
    frame: int,
    frames: int,
    region_xyxy_px: Sequence[int] | None,
) -> dict[str, Any]:
    """The answer about one image or frame, for `json.dumps`.

    Args:
        image: how the image is named in the answer.  model: `name@digest`.
        by_site: of a prediction by a site's profile its name, the model's own POM and whether it is not sure.
        sizes_mm: (width, height) beside each box; None where the spacing of pixels is not known.
        frame, frames: the frame's index, and how many the file holds; they stand in the answer where there are several.
        region_xyxy_px: the B-mode region within the stored image, in which the boxes are counted; None where it is the whole.
    """
    answer: dict[str, Any] = {
        "image": image,
        "pom": pom,
        "label": label,
        "operating_point": operating_point,
        "explained_class": explained_class,
        "boxes_xyxy_px": [list(box) for box in boxes_xyxy_px],
        "sizes_mm": None if sizes_mm is None else [list(size) for size in sizes_mm],
        "area_fraction": area_fraction,
        "constant_map": constant_map,
        "model": model,
        "pom_means": pom_means,
        "ood_score": ood_score,
        "ood_threshold": ood_threshold,
        "warnings": list(warnings),
    }
    if by_site is not None:
        answer |= by_site
    if frames > 1:
        answer |= {"frame": frame, "frames": frames}
    if region_xyxy_px is not None:
        answer["region_xyxy_px"] = list(region_xyxy_px)
    return answer


def answer_of(image: str, decoded: GreyImage, prediction: Prediction, site: SiteProfile | None = None) -> dict[str, Any]:
    """The answer from a decoded image and what a model here predicts of it. site: the profile that the prediction went by."""
    found = prediction.localisation
    by_site = {"site": prediction.site, "model_pom": prediction.model_pom, "not_sure": prediction.not_sure}
    return answer_json(
        image=image,
        pom=prediction.pom,
        label=class_name(prediction.label),
        operating_point=prediction.operating_point,
        explained_class=class_name(prediction.explained_class),
        boxes_xyxy_px=found.boxes_xyxy_px,
        sizes_mm=sizes_mm(found.boxes_xyxy_px, decoded.spacing_mm_yx),
        area_fraction=found.area_fraction,
        constant_map=found.constant_map,
        model=prediction.model_id,
        pom_means=NOT_CALIBRATED if site is None else site.sentence,
        by_site=None if site is None else by_site,
        ood_score=prediction.ood_score,
        ood_threshold=prediction.ood_threshold,
        warnings=answer_warnings(decoded.warnings, unlike_training=prediction.unlike_training, constant_map=found.constant_map),
        frame=decoded.frame,
        frames=decoded.frame_count,
        region_xyxy_px=region_of(decoded),
    )


def class_name(label: int) -> Literal["benign", "malignant"]:
    """The word for a label."""
    return "malignant" if CLASS_NAMES[label] == "malignant" else "benign"


def sizes_mm(boxes_xyxy_px: Sequence[BoxXyxyPx], spacing_mm_yx: tuple[float, float] | None) -> list[SizeMm] | None:
    """(width, height) of each box, to a hundredth of a millimetre; None where the spacing (down, across) is not known."""
    if spacing_mm_yx is None:
        return None
    down, across = spacing_mm_yx
    return [(round((x1 - x0) * across, 2), round((y1 - y0) * down, 2)) for x0, y0, x1, y1 in boxes_xyxy_px]


def answer_warnings(of_image: Sequence[str], *, unlike_training: bool | None, constant_map: bool) -> list[str]:
    """What a reader must know: of the image, then of the answer. unlike_training: None where the model has no guard."""
    return [*of_image, *([UNLIKE_TRAINING] if unlike_training else []), NO_LESION, *([CONSTANT] if constant_map else [])]


def one_of_several(image: GreyImage) -> tuple[str, ...]:
    """A warning where one frame of several was read."""
    if image.frame_count == 1:
        return ()
    return (f"frame {image.frame} (of 0 to {image.frame_count - 1}): the others were not looked at",)


def region_of(image: GreyImage) -> BoxXyxyPx | None:
    """Where the image lies within the stored frame; None where it is the whole frame."""
    return image.crop_xyxy_px if image.grey_HW.shape != image.source_hw else None
