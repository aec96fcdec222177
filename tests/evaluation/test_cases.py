"""What is refused before anything is computed."""

import re

import numpy as np
import pandas as pd
import pytest

from wsus.errors import DataError
from wsus.evaluation.cases import check_confidence, check_labels, check_scores


@pytest.mark.parametrize("labels", [[0, 1, 1], [False, True, True], [0.0, 1.0, 1.0], np.array([0, 1, 1], dtype=np.uint8)])
def test_zero_and_one_of_any_type_are_labels(labels: object) -> None:
    assert check_labels(labels).tolist() == [False, True, True]


@pytest.mark.parametrize(
    "labels",
    [
        ["benign", "malignant", "malignant"],
        ["0", "1", "1"],
        pd.Series([0, 1, 1], dtype="Int64"),
        np.array([0, True, "malignant"], dtype=object),
    ],
)
def test_words_and_nullable_numbers_are_labels_too(labels: object) -> None:
    assert check_labels(labels).tolist() == [False, True, True]


@pytest.mark.parametrize("missing", [None, pd.NA, float("nan"), "", "normal"])
def test_missing_label_is_refused_and_shown(missing: object) -> None:
    with pytest.raises(DataError, match=f"1 are not, such as {re.escape(str(missing))}$"):
        check_labels(np.array([0, 1, missing], dtype=object))


@pytest.mark.parametrize("scores", [["0.5", "high", "0.1"], [0.1, pd.NA, 0.2], [1j, 0.1, 0.2]])
def test_score_that_is_no_number_is_refused(scores: list[object]) -> None:
    with pytest.raises(DataError, match="score_a: scores must be numbers"):
        check_scores(np.array(scores, dtype=object), 3, name="score_a")


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 1, -1], [0, 1, float("nan")], ["0", "1", "x"]])
def test_any_other_label_is_refused(labels: list[object]) -> None:
    with pytest.raises(DataError, match=r"labels must be 0 \(benign\) or 1 \(malignant\)"):
        check_labels(labels)


@pytest.mark.parametrize(
    ("labels", "found"), [([1, 1], "2 malignant and 0 benign"), ([0], "0 malignant and 1 benign"), ([], "0 malig")]
)
def test_one_class_is_refused_with_its_counts(labels: list[int], found: str) -> None:
    with pytest.raises(DataError, match=f"both classes are needed; found {found}"):
        check_labels(np.array(labels, dtype=int))


def test_labels_of_a_table_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(N,\); got \(1, 2\)"):
        check_labels([[0, 1]])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_score_that_is_not_finite_is_named_with_its_place(value: float) -> None:
    with pytest.raises(DataError, match=r"score_b: 1 of 3 scores are NaN or infinite, the first is .* at position 2"):
        check_scores([0.1, 0.2, value], 3, name="score_b")


def test_one_score_per_label() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\); got \(2,\)"):
        check_scores([0.1, 0.2], 3)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, float("nan")])
def test_confidence_lies_between_zero_and_one(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"confidence must lie in \(0, 1\)"):
        check_confidence(confidence)
