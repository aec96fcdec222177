"""The contract between training and statistics: one row per backbone, mode, seed, split and image.

A cell writes it once (`predictions.parquet`); the comparison reads nothing else of a cell. Beside REQUIRED_COLUMNS there may
be the others below and `mask_fraction`, the mask's share of the image; what is not there is not computed, and the comparison
says so.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from wsus.errors import DataError

KEY_COLUMNS = ("backbone", "mode", "seed", "split", "image_id")
REQUIRED_COLUMNS = (
    *KEY_COLUMNS,
    "patient_id",
    "label",  # 1 malignant, 0 benign
    "pom",  # probability of malignancy in [0, 1]
    "operating_point",  # the threshold on pom, 0.5 unless the study chose another on its development split
    "called_malignant",  # pom >= operating_point
    "localised",  # paper's criterion: the focus overlaps the mask at all; null where there is no mask
    "iou",  # of the focus' largest component's box with the mask's box; null where there is no mask
    "pointing_hit",  # the map's peak lies inside the mask; null where there is no mask
    "fallback_crop",  # an automatic ROI found nothing and the whole image was used
)
LOCALISATION_COLUMNS = ("localised", "iou", "pointing_hit", "dice", "energy_in_mask")
CURVE_COLUMNS = (  # weak cells only: a list of IoUs, one per threshold of wsus.evaluation.box_accuracy.CAM_THRESHOLDS
    "iou_by_threshold",  # the box of the map's largest component with the mask's box
    "best_iou_by_threshold",  # the component and the part of the mask whose boxes fit best
)
BASELINES = ("centre_box", "random_map")  # f"{baseline}_{column}": the same of a box and a map that never saw the image
SUBGROUP_COLUMNS = ("institution", "device", "birads", "histology", "age_years", "lesion_size_mm", "calipers")


def check_predictions(table: pd.DataFrame, *, name: str) -> pd.DataFrame:
    """Return the table as it is, once it is known to keep the contract.

    Raises:
        DataError: a column is missing, a key occurs twice, a label or a POM is not what it may be.
    """
    missing = [column for column in REQUIRED_COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{name}: column(s) {', '.join(missing)} missing; this is not a table of predictions of this version")
    if not table["label"].isin([0, 1]).all():
        raise DataError(f"{name}: labels must be 0 (benign) or 1 (malignant); found {sorted(set(table['label']) - {0, 1})[:3]}")
    pom = table["pom"].to_numpy(dtype=float)
    outside = ~(np.isfinite(pom) & (pom >= 0) & (pom <= 1))
    if outside.any():
        raise DataError(f"{name}: a POM must lie in [0, 1]; {int(outside.sum())} rows do not")
    duplicated = table.duplicated(list(KEY_COLUMNS))
    if duplicated.any():
        first = table.loc[duplicated, list(KEY_COLUMNS)].iloc[0].to_dict()
        raise DataError(f"{name}: {int(duplicated.sum())} rows stand twice; the first is {first}")
    return table
