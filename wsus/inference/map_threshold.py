"""Where a weak network's maps are cut: at the threshold whose boxes meet the most lesions, on images that chose nothing else.

The paper cuts at 0.3 of the map's range. A threshold chosen by masks belongs to the development patients, never to a scored
split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsus.evaluation.box_accuracy import CAM_THRESHOLDS, best_threshold, box_accuracy
from wsus.inference.predict import Predictor
from wsus.inference.scoring import score_records
from wsus.types import ImageRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class MapThreshold:
    """share: of the images whose largest box then has an IoU of at least 0.5 with the lesion's."""

    threshold: float
    share: float
    images: int


def best_map_threshold(predictor: Predictor, records: Sequence[ImageRecord]) -> MapThreshold | None:
    """The threshold of BoxAcc's maximum (Choe et al. 2020) over the records that have a mask; None where none has.

    Args:
        records: labelled images of the development split, never of a scored one.
    """
    curves = [row["iou_by_threshold"] for row, _ in score_records(predictor, records)]
    ious_NT = [curve for curve in curves if curve is not None]
    if not ious_NT:
        return None
    stacked_NT = np.stack(ious_NT)
    best = best_threshold(stacked_NT)
    return MapThreshold(threshold=CAM_THRESHOLDS[best], share=float(box_accuracy(stacked_NT)[best]), images=len(stacked_NT))
