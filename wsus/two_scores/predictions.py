"""A study's `predictions.parquet` as a table of scores: one cell, or the same images by two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from wsus.comparison.predictions import check_predictions
from wsus.errors import DataError
from wsus.two_scores.scores import ScoreTable, check_classes


def read_predictions(
    path: Path, *, against: Path | None, split: str | None, trial_seed: int | None, subgroup: str | None
) -> ScoreTable:
    """The probabilities of one split and seed as score_a, those of `against` on the same images as score_b.

    Raises:
        DataError: a file cannot be read or breaks the contract; it holds several splits or seeds and none was named; the two
            files disagree on an image, or share none.
    """
    rows = _rows(path, split, trial_seed)
    if subgroup is not None and subgroup not in rows.columns:
        raise DataError(f"{path}: no column {subgroup!r} for subgroups; found {', '.join(rows.columns)}")
    if against is not None:
        rows = _joined(rows, path, against, split, trial_seed)
    labels = [int(label) for label in rows["label"]]
    check_classes(path, labels)
    levels = None if subgroup is None else rows[subgroup].map(lambda value: "" if pd.isna(value) else str(value))
    return ScoreTable(
        ids=tuple(rows["image_id"].astype(str)),
        labels=np.array(labels, dtype=np.int64),
        scores_a=rows["pom"].to_numpy(dtype=float),
        scores_b=rows["pom_b"].to_numpy(dtype=float) if against is not None else None,
        patients=rows["patient_id"].astype(str).to_numpy(dtype=np.str_),
        levels=None if levels is None else levels.to_numpy(dtype=np.str_),
    )


def _rows(path: Path, split: str | None, trial_seed: int | None) -> pd.DataFrame:
    """One row per image, in the order of their ids."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({error})") from error
    rows = check_predictions(table, name=str(path))
    for column, asked, option in (("split", split, "--split"), ("seed", trial_seed, "--trial-seed")):
        known = sorted(rows[column].unique().tolist())
        if asked is not None and asked not in known:
            raise DataError(f"{path}: no {column} {asked!r}; it holds {', '.join(map(str, known))}")
        if asked is None and len(known) > 1:
            raise DataError(f"{path}: holds several {column}s ({', '.join(map(str, known))}); choose one with {option}")
        rows = rows if asked is None else rows[rows[column] == asked]
    cells = rows[["backbone", "mode"]].drop_duplicates()
    if len(cells) > 1:
        raise DataError(f"{path}: holds {len(cells)} cells; give the predictions.parquet of one cell")
    return rows.sort_values("image_id", kind="stable").reset_index(drop=True)


def _joined(rows: pd.DataFrame, path: Path, against: Path, split: str | None, trial_seed: int | None) -> pd.DataFrame:
    other = _rows(against, split, trial_seed)
    both = rows.merge(
        other[["image_id", "label", "patient_id", "pom"]].rename(
            columns={"label": "label_b", "patient_id": "patient_b", "pom": "pom_b"}
        ),
        on="image_id",
    )
    if len(both) < max(len(rows), len(other)):
        raise DataError(
            f"{path} scored {len(rows)} images and {against} {len(other)}, of which {len(both)} are the same; compare cells of"
            " one study and split"
        )
    wrong = both[(both["label"] != both["label_b"]) | (both["patient_id"].astype(str) != both["patient_b"].astype(str))]
    if len(wrong):
        raise DataError(f"{path} and {against} disagree on label or patient of {wrong['image_id'].iloc[0]!r}")
    return both
