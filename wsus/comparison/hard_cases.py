"""The cases that most cells got wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from wsus.comparison.result import CellPom, HardCase
from wsus.data.described import DESCRIBED

SPLITS = ("internal", "external")
COLUMNS = ("backbone", "mode", "split", "image_id", "label", "pom", "called_malignant")
_BY_PLACE = sorted((column.of_hard_case, column.name) for column in DESCRIBED if column.of_hard_case is not None)
ATTRIBUTES = tuple(name for _, name in _BY_PLACE)


def hard_cases(cells: Iterable[pd.DataFrame], limit: int) -> tuple[HardCase, ...]:
    """Images of the internal and external split that at least half of the cells called wrongly, worst first.

    Args:
        cells: predictions of each cell by its chosen seed, with COLUMNS and those of ATTRIBUTES that are known.
        limit: how many to name at most.
    """
    tables = [rows[rows["split"].isin(SPLITS)] for rows in cells]
    wanted = [name for name in (*COLUMNS, *ATTRIBUTES) if all(name in rows.columns for rows in tables)]
    tables = [rows[wanted] for rows in tables if len(rows)]
    if not tables:
        return ()
    scored = pd.concat(tables, ignore_index=True)
    scored["wrong"] = scored["called_malignant"].astype(bool) != (scored["label"] == 1)
    scored["error"] = (scored["pom"] - scored["label"]).abs()
    summary = scored.groupby(["split", "image_id"], as_index=False).agg(wrong=("wrong", "mean"), error=("error", "mean"))
    summary = summary[summary["wrong"] >= 0.5]
    summary = summary.sort_values(["error", "split", "image_id"], ascending=[False, True, True]).head(limit)
    keys = list(zip(summary["split"], summary["image_id"], strict=True))
    named = scored[scored["image_id"].isin(summary["image_id"])]
    by_image = dict(list(named.groupby(["split", "image_id"], sort=False)))
    return tuple(_case(by_image[key]) for key in keys)


def _case(rows: pd.DataFrame) -> HardCase:
    """One image from the rows of all cells that scored it, in the order of the cells."""
    first = rows.iloc[0]
    poms = tuple(
        CellPom(backbone=str(backbone), mode=str(mode), pom=float(pom), called_malignant=bool(called))
        for backbone, mode, pom, called in zip(
            rows["backbone"], rows["mode"], rows["pom"].to_numpy(dtype=float), rows["called_malignant"], strict=True
        )
    )
    return HardCase(
        image_id=str(first["image_id"]),
        split=str(first["split"]),
        label=int(first["label"]),
        wrong=int(rows["wrong"].sum()),
        cells=len(rows),
        mean_pom=float(rows["pom"].mean()),
        poms=poms,
        attributes=_attributes(first),
    )


def _attributes(row: pd.Series) -> dict[str, str]:
    known: dict[str, Any] = {name: row[name] for name in ATTRIBUTES if name in row.index and pd.notna(row[name])}
    return {name: f"{value:.0f}" if isinstance(value, float) else str(value) for name, value in known.items()}
