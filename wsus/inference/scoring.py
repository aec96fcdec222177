"""A study's records through the inference path: the rows of `predictions.parquet` and the pictures of the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsus.data.images import read_grey, read_union_mask
from wsus.evaluation.localisation import centred_box_scores, random_map_scores, score_localisation
from wsus.evaluation.prediction_table import SUBGROUP_COLUMNS
from wsus.inference.predict import DecodedImage, Predictor
from wsus.types import BoxXyxyPx, GreyHW, ImageRecord, MaskHW, Prediction

KINDS = {(1, 1): "true_positive", (1, 0): "false_negative", (0, 1): "false_positive", (0, 0): "true_negative"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One scored image as a picture. cam_HW: uint8, 255 at the map's maximum."""

    kind: str
    split: str
    image_id: str
    label: int
    pom: float
    box_xyxy_px: BoxXyxyPx | None
    image_HW: GreyHW
    cam_HW: NDArray[np.uint8]
    mask_HW: MaskHW | None


def score_records(predictor: Predictor, records: Sequence[ImageRecord]) -> Iterator[tuple[dict[str, Any], Example]]:
    """Predict labelled records and score their maps against the masks, one row and one picture each.

    Decodes a batch at a time, so that memory does not grow with the number of records.
    """
    for start in range(0, len(records), predictor.batch_size):
        batch = records[start : start + predictor.batch_size]
        decoded = [_decode(record) for record in batch]
        for record, image, prediction in zip(batch, decoded, predictor.predict(decoded), strict=True):
            yield _row(record, image, prediction), _example(record, image, prediction)


def choose_examples(scored: Sequence[tuple[dict[str, Any], Example]]) -> list[Example]:
    """The most confident example of each kind (true positive, false negative, ...), as in the paper's Figure 3."""
    best: dict[str, Example] = {}
    for _, example in scored:
        kept = best.get(example.kind)
        sign = 1 if example.kind in ("true_positive", "false_positive") else -1
        if kept is None or (sign * example.pom, kept.image_id) > (sign * kept.pom, example.image_id):
            best[example.kind] = example
    return [best[kind] for kind in KINDS.values() if kind in best]


def as_table(rows: Sequence[dict[str, Any]], **constant: Any) -> pd.DataFrame:
    """Rows of `score_records` as a table of predictions, with the cell's constant columns in front."""
    table = pd.DataFrame(list(rows))
    for position, (name, value) in enumerate(constant.items()):
        table.insert(position, name, value)
    return table.astype({"localised": "boolean", "pointing_hit": "boolean"})


def _decode(record: ImageRecord) -> DecodedImage:
    image_HW = read_grey(record.path)
    mask_HW = None
    if record.mask_paths:
        mask_HW = read_union_mask(record.mask_paths, image_hw=(image_HW.shape[0], image_HW.shape[1]))
    return DecodedImage(image_id=record.image_id, image_HW=image_HW, mask_HW=mask_HW)


def _row(record: ImageRecord, image: DecodedImage, prediction: Prediction) -> dict[str, Any]:
    return {
        "split": str(record.split),
        "image_id": record.image_id,
        "patient_id": record.patient_id,
        "label": record.label,
        "pom": prediction.pom,
        "operating_point": prediction.operating_point,
        "called_malignant": bool(prediction.label),
        "fallback_crop": prediction.fallback_crop,
        **_localisation_columns(image, prediction),
        **{name: getattr(record, name) for name in SUBGROUP_COLUMNS},
    }


def _localisation_columns(image: DecodedImage, prediction: Prediction) -> dict[str, Any]:
    found = prediction.localisation
    columns = ("localised", "iou", "pointing_hit")
    if image.mask_HW is None or not image.mask_HW.any():
        names = [*columns, "dice", "energy_in_mask", *(f"{b}_{c}" for b in ("centre_box", "random_map") for c in columns)]
        return dict.fromkeys(names)
    largest = found.boxes_xyxy_px[0] if found.boxes_xyxy_px else None
    own = score_localisation(prediction.cam_HW, found.focus_HW, largest, found.peak_xy_px, image.mask_HW)
    seed = int.from_bytes(image.image_id.encode(), "little") % 2**32  # the same random map for every cell of a study
    baselines = {
        "centre_box": centred_box_scores(image.mask_HW),
        "random_map": random_map_scores(image.mask_HW, seed=seed, threshold=found.threshold),
    }
    return {
        **{name: getattr(own, name) for name in (*columns, "dice", "energy_in_mask")},
        **{f"{baseline}_{name}": getattr(scores, name) for baseline, scores in baselines.items() for name in columns},
    }


def _example(record: ImageRecord, image: DecodedImage, prediction: Prediction) -> Example:
    assert record.label is not None
    boxes = prediction.localisation.boxes_xyxy_px
    return Example(
        kind=KINDS[record.label, prediction.label],
        split=str(record.split),
        image_id=record.image_id,
        label=record.label,
        pom=prediction.pom,
        box_xyxy_px=boxes[0] if boxes else None,
        image_HW=image.image_HW,
        cam_HW=np.round(prediction.cam_HW * 255).astype(np.uint8),
        mask_HW=image.mask_HW,
    )
