"""The contract between training and statistics: one row per backbone, mode, seed, split and image.

A cell writes it once (`predictions.parquet`); the comparison reads nothing else of a cell. Beside REQUIRED_COLUMNS there may
be the others below and `mask_fraction`, the mask's share of the image; what is not there is not computed, and the comparison
says so.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsus.data.described import DESCRIBED
from wsus.errors import DataError
from wsus.types import Mode, Split

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
LOCALISATION_COLUMNS = ("localised", "iou", "pointing_hit", "pointing_hit_15px", "dice", "energy_in_mask")
CURVE_COLUMNS = (  # weak cells only: a list of IoUs, one per threshold of wsus.evaluation.box_accuracy.CAM_THRESHOLDS
    "iou_by_threshold",  # the box of the map's largest component with the mask's box
    "best_iou_by_threshold",  # the component and the part of the mask whose boxes fit best
)
LEVEL_COLUMNS = (  # weak cells only: a list of shares of the image, one per level of wsus.evaluation.pixel_precision
    "lesion_by_level",  # pixels of the lesion
    "image_by_level",  # all pixels
)
LIST_COLUMNS = (*CURVE_COLUMNS, *LEVEL_COLUMNS)
BASELINES = ("centre_box", "random_map")  # f"{baseline}_{column}": the same of a box and a map that never saw the image
GUARD_COLUMNS = ("ood_score", "unlike_training")  # distance from the training images; null where there was no guard
SUBGROUP_COLUMNS = tuple(column.name for column in DESCRIBED if column.scored)


def check_predictions(table: pd.DataFrame, *, name: str) -> pd.DataFrame:
    """Return the table as it is, once it is known to keep the contract.

    Raises:
        DataError: a column or a value is missing, a key occurs twice, a label, POM, split or mode is not what it may be, a call
            contradicts its POM and operating point, a cell has several operating points. The first such row is named.
    """
    missing = [column for column in REQUIRED_COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{name}: column(s) {', '.join(missing)} missing; this is not a table of predictions of this version")
    for column in (*KEY_COLUMNS, "patient_id", "called_malignant"):
        _refuse(table, table[column].isna(), name, f"{column} must not be empty")
    for column, known in (("split", Split), ("mode", Mode)):
        words = [str(value) for value in known]
        _refuse(table, ~table[column].isin(words), name, f"{column} must be one of {', '.join(words)}")
    _refuse(table, ~table["label"].isin([0, 1]), name, "labels must be 0 (benign) or 1 (malignant)", shown="label")
    for column in ("pom", "operating_point"):
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        what = "a POM" if column == "pom" else "an operating point"
        outside = ~((values >= 0) & (values <= 1)) | pd.api.types.is_string_dtype(table[column])
        _refuse(table, outside, name, f"{what} must lie in [0, 1]", shown=column)
    _refuse(table, table.duplicated(list(KEY_COLUMNS)), name, "a row stands twice")
    called = table["called_malignant"].to_numpy(dtype=bool)
    contradicted = called != (table["pom"].to_numpy(dtype=float) >= table["operating_point"].to_numpy(dtype=float))
    _refuse(table, contradicted, name, "called_malignant must be pom >= operating_point", shown="pom")
    points = table.groupby(["backbone", "mode", "seed"])["operating_point"].transform("nunique")
    _refuse(table, points > 1, name, "a cell has one operating point", shown="operating_point")
    return table


def without_lists(table: pd.DataFrame) -> pd.DataFrame:
    """Without the columns of lists, which a CSV cannot hold well."""
    return table.drop(columns=[name for name in table.columns if name.endswith(LIST_COLUMNS)])


def _refuse(table: pd.DataFrame, wrong: pd.Series | NDArray[np.bool_], name: str, expected: str, *, shown: str = "") -> None:
    """Raise DataError for the first row that is wrong, naming its key and the value in the column `shown`."""
    at = np.flatnonzero(np.asarray(wrong, dtype=bool))
    if at.size == 0:
        return
    first = table.iloc[int(at[0])]
    key = ", ".join(f"{column} {first[column]}" for column in KEY_COLUMNS)
    found = f"; {shown} is {first[shown]!r}" if shown else ""
    raise DataError(
        f"{name}: {expected}; {at.size} of {len(table)} rows break this, the first is {key}{found}. Score the cell again"
    )
