"""A table of predictions that does not keep its contract is refused with its first bad row."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from wsus.comparison.predictions import REQUIRED_COLUMNS, check_predictions
from wsus.errors import DataError


@pytest.fixture
def table() -> pd.DataFrame:
    pom = [0.1, 0.6, 0.5, 0.9]
    columns: dict[str, Any] = dict.fromkeys(REQUIRED_COLUMNS, False)
    columns |= {
        "backbone": "net", "mode": "weak", "seed": 0, "split": "internal", "operating_point": 0.5,
        "image_id": [f"i{k}" for k in range(4)], "patient_id": [f"p{k}" for k in range(4)], "label": [0, 0, 1, 1],
        "pom": pom, "called_malignant": [value >= 0.5 for value in pom],
    }  # fmt: skip
    return pd.DataFrame(columns)


def test_table_that_keeps_the_contract_is_returned_as_it_is(table: pd.DataFrame) -> None:
    assert check_predictions(table, name="cell") is table


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("pom", float("nan"), r"a POM must lie in \[0, 1\]; 1 of 4 rows break this.*image_id i2; pom is .*nan"),
        ("pom", float("inf"), r"a POM must lie in \[0, 1\]"),
        ("pom", 1.5, r"a POM must lie in \[0, 1\].*pom is .*1\.5"),
        ("label", 2, r"labels must be 0 \(benign\) or 1 \(malignant\).*label is .*2"),
        ("label", None, "labels must be 0"),
        ("patient_id", None, "patient_id must not be empty.*image_id i2"),
        ("image_id", None, "image_id must not be empty"),
        ("seed", None, "seed must not be empty"),
        ("image_id", "i1", "a row stands twice"),
        ("called_malignant", None, "called_malignant must not be empty"),
        ("called_malignant", False, r"called_malignant must be pom >= operating_point.*pom is .*0\.5"),
        ("operating_point", float("nan"), r"an operating point must lie in \[0, 1\]"),
        ("operating_point", 0.4, "a cell has one operating point; 4 of 4 rows"),
        ("split", "test", "split must be one of train, development, internal, external, unused"),
        ("mode", "full", "mode must be one of weak, manual_roi, auto_roi"),
    ],
)
def test_bad_value_is_refused_with_its_row(table: pd.DataFrame, column: str, value: object, complaint: str) -> None:
    table[column] = table[column].astype(object)
    table.loc[2, column] = value

    with pytest.raises(DataError, match=f"^cell: {complaint}"):
        check_predictions(table, name="cell")


@pytest.mark.parametrize("text", ["high", "0.5"])
def test_scores_as_text_are_refused(table: pd.DataFrame, text: str) -> None:
    with pytest.raises(DataError, match=rf"a POM must lie in \[0, 1\]; 4 of 4 rows .*pom is '{text}'"):
        check_predictions(table.assign(pom=text), name="cell")


def test_missing_column_is_named(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"column\(s\) pom, iou missing"):
        check_predictions(table.drop(columns=["pom", "iou"]), name="cell")
