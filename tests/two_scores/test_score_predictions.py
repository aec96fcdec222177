"""predictions.parquet as a table of scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wsus.errors import DataError
from wsus.two_scores.table import read_score_table


def _cell(mode: str, pom: list[float], *, split: str = "internal", seed: int = 0) -> pd.DataFrame:
    n = len(pom)
    return pd.DataFrame(
        {
            "backbone": "net", "mode": mode, "seed": seed, "split": split,
            "image_id": [f"i{k}" for k in range(n)], "patient_id": [f"p{k // 2}" for k in range(n)],
            "label": [k % 2 for k in range(n)], "pom": pom, "operating_point": 0.5,
            "called_malignant": [value >= 0.5 for value in pom], "localised": None, "iou": np.nan, "pointing_hit": None,
            "fallback_crop": False, "device": ["X", None] * (n // 2),
        }
    )  # fmt: skip


def _written(tmp_path: Path, name: str, *parts: pd.DataFrame) -> Path:
    path = tmp_path / f"{name}.parquet"
    pd.concat(parts).to_parquet(path)
    return path


def test_cell_is_read_as_one_score_with_its_patients(tmp_path: Path) -> None:
    path = _written(tmp_path, "a", _cell("weak", [0.1, 0.9, 0.2, 0.4]), _cell("weak", [0.5] * 4, split="external"))
    table = read_score_table(path, split="internal", subgroup="device")

    assert table.scores_a.tolist() == [0.1, 0.9, 0.2, 0.4]
    assert table.scores_b is None
    assert table.patients is not None
    assert table.patients.tolist() == ["p0", "p0", "p1", "p1"]
    assert table.levels is not None
    assert table.levels.tolist() == ["X", "", "X", ""]


def test_two_cells_are_compared_on_the_same_images(tmp_path: Path) -> None:
    weak, full = (
        _written(tmp_path, "a", _cell("weak", [0.1, 0.9])),
        _written(tmp_path, "b", _cell("manual_roi", [0.3, 0.8])[::-1]),
    )
    table = read_score_table(weak, against=full)

    assert table.scores_b is not None
    assert (table.scores_a.tolist(), table.scores_b.tolist()) == ([0.1, 0.9], [0.3, 0.8])


def test_what_is_not_plain_is_asked_for(tmp_path: Path) -> None:
    several = _written(tmp_path, "a", _cell("weak", [0.1, 0.9]), _cell("weak", [0.1, 0.9], seed=1))
    with pytest.raises(DataError, match=r"holds several seeds \(0, 1\); choose one with --trial-seed"):
        read_score_table(several)
    with pytest.raises(DataError, match="no split 'external'; it holds internal"):
        read_score_table(several, split="external", trial_seed=0)
    fewer = _written(tmp_path, "b", _cell("manual_roi", [0.3, 0.8, 0.2, 0.7]))
    with pytest.raises(DataError, match=r"scored 2 images and .* 4, of which 2 are the same"):
        read_score_table(several, trial_seed=0, against=fewer)
    csv = tmp_path / "a.csv"
    csv.write_text("id,label,score\na,1,0.5\nb,0,0.1\n")
    with pytest.raises(DataError, match=r"are for a predictions\.parquet"):
        read_score_table(csv, split="internal")
