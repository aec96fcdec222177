"""A study's records through the inference path: the rows of `predictions.parquet` and the pictures of the report."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsus.comparison.predictions import BASELINES, GUARD_COLUMNS, LIST_COLUMNS, LOCALISATION_COLUMNS, SUBGROUP_COLUMNS
from wsus.data.images import read_image, read_union_mask
from wsus.errors import DataError
from wsus.evaluation.box_accuracy import box_ious, centred_box_ious, lesion_boxes
from wsus.evaluation.localisation import (
    centred_box_map,
    centred_box_scores,
    cut_and_score,
    random_map,
    score_localisation,
)
from wsus.evaluation.pixel_precision import level_shares
from wsus.inference.predict import DecodedImage, Predictor
from wsus.types import BoxXyxyPx, GreyHW, ImageRecord, MaskHW, Mode, Prediction

_PREFIXES = ("", *(f"{baseline}_" for baseline in BASELINES))
_YES_OR_NO = ("localised", "pointing_hit", "pointing_hit_15px", "unlike_training")
KINDS = {(1, 1): "true_positive", (1, 0): "false_negative", (0, 1): "false_positive", (0, 0): "true_negative"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredImage:
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


def score_records(
    predictor: Predictor, records: Sequence[ImageRecord], *, left_out: Callable[[ImageRecord, DataError], None] | None = None
) -> Iterator[tuple[dict[str, Any], ScoredImage]]:
    """Predict labelled records and score their maps against the masks, one row and one picture each.

    Decodes a batch at a time, so that memory does not grow with the number of records.

    Args:
        left_out: is told of each record whose image or mask cannot be used, which then has no row; None raises what is wrong.
    Raises:
        DataError: an image or a mask cannot be used, and `left_out` is None.
    """
    for start in range(0, len(records), predictor.batch_size):
        for record, image, prediction in _predicted(predictor, records[start : start + predictor.batch_size], left_out):
            yield _row(record, image, prediction, predictor.card.mode), _example(record, image, prediction)


def choose_examples(scored: Sequence[tuple[dict[str, Any], ScoredImage]]) -> list[ScoredImage]:
    """The most confident example of each kind (true positive, false negative, ...), as in the paper's Figure 3."""
    best: dict[str, ScoredImage] = {}
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
    return table.astype(dict.fromkeys(_YES_OR_NO, "boolean") | {"ood_score": "Float64"})


def _predicted(
    predictor: Predictor, records: Sequence[ImageRecord], left_out: Callable[[ImageRecord, DataError], None] | None
) -> Iterator[tuple[ImageRecord, DecodedImage, Prediction]]:
    """A batch in one pass; where one of its records cannot be used, record by record."""
    try:
        decoded = [_decode(record) for record in records]
        predictions = predictor.predict(decoded)
    except DataError as error:
        if left_out is None:
            raise
        if len(records) == 1:
            left_out(records[0], error)
            return
        for record in records:
            yield from _predicted(predictor, [record], left_out)
        return
    yield from zip(records, decoded, predictions, strict=True)


def _decode(record: ImageRecord) -> DecodedImage:
    image = read_image(record.path, frame=record.frame)
    mask_HW = read_union_mask(record.mask_paths, image=image) if record.mask_paths else None
    return DecodedImage(image_id=record.image_id, image_HW=image.grey_HW, mask_HW=mask_HW)


def _row(record: ImageRecord, image: DecodedImage, prediction: Prediction, mode: Mode) -> dict[str, Any]:
    return {
        "split": str(record.split),
        "image_id": record.image_id,
        "patient_id": record.patient_id,
        "label": record.label,
        "pom": prediction.pom,
        "operating_point": prediction.operating_point,
        "called_malignant": bool(prediction.label),
        "fallback_crop": prediction.fallback_crop,
        **{name: getattr(prediction, name) for name in GUARD_COLUMNS},
        **_localisation_columns(image, prediction, mode),
        **{name: getattr(record, name) for name in SUBGROUP_COLUMNS},
    }


def _localisation_columns(image: DecodedImage, prediction: Prediction, mode: Mode) -> dict[str, Any]:
    """The map's figures and those of the baselines. Lists of weak cells only: others were shown the lesion."""
    columns = dict.fromkeys(_column_names())
    mask_HW, found = image.mask_HW, prediction.localisation
    if mask_HW is None or not mask_HW.any():
        return columns
    noise_HW = random_map((mask_HW.shape[0], mask_HW.shape[1]), _noise_seed(image))
    largest = found.boxes_xyxy_px[0] if found.boxes_xyxy_px else None
    scores = (
        score_localisation(prediction.cam_HW, found.focus_HW, largest, found.peak_xy_px, mask_HW),
        centred_box_scores(mask_HW),
        cut_and_score(noise_HW, mask_HW, found.threshold),
    )
    for prefix, one in zip(_PREFIXES, scores, strict=True):
        columns |= {f"{prefix}{name}": getattr(one, name) for name in LOCALISATION_COLUMNS}
    if mode is Mode.WEAK:
        lesion = lesion_boxes(mask_HW)
        curves = (box_ious(prediction.cam_HW, lesion), centred_box_ious(lesion), box_ious(noise_HW, lesion))
        maps = (prediction.cam_HW, centred_box_map(lesion.image_hw), noise_HW)
        for prefix, curve, cam_HW in zip(_PREFIXES, curves, maps, strict=True):
            levels = level_shares(cam_HW, mask_HW)
            lists = (curve.largest_T, curve.best_T, levels.lesion_L, levels.image_L)
            columns |= {f"{prefix}{name}": values for name, values in zip(LIST_COLUMNS, lists, strict=True)}
    return {**columns, "mask_fraction": float(mask_HW.mean())}


def _column_names() -> list[str]:
    return [*(f"{prefix}{name}" for prefix in _PREFIXES for name in (*LOCALISATION_COLUMNS, *LIST_COLUMNS)), "mask_fraction"]


def _noise_seed(image: DecodedImage) -> int:
    """The same random map for every cell of a study, another one for every image, however alike their names."""
    return zlib.crc32(image.image_id.encode())


def _example(record: ImageRecord, image: DecodedImage, prediction: Prediction) -> ScoredImage:
    assert record.label is not None
    boxes = prediction.localisation.boxes_xyxy_px
    return ScoredImage(
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
