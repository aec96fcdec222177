"""Read a table of two scores per case: CSV with `id,label,score_a,score_b` and, where known, `patient_id`."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsus.errors import DataError
from wsus.evaluation.cases import LABEL_WORDS

REQUIRED_COLUMNS = ("id", "label", "score_a", "score_b")
PATIENT_COLUMN = "patient_id"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreTable:
    """Two scores of the same cases, shape (N,) each.

    labels: int64, 1 malignant, 0 benign.  scores_a, scores_b: finite float64.  patients: None where the file does not say.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    scores_a: NDArray[np.float64]
    scores_b: NDArray[np.float64]
    patients: NDArray[np.str_] | None


def read_score_table(path: Path) -> ScoreTable:
    """Read and check a score table. Other columns are left alone; a label may be 0, 1, benign or malignant.

    Raises:
        DataError: the file is missing, empty or not a CSV; a column is missing or stands twice; an id is empty or stands
            twice; a label, score or patient is not what it should be; only one class occurs. Line and column are named.
    """
    header, rows = _read_rows(path)
    column = _columns(path, header)
    first_line: dict[str, int] = {}
    labels, scores_a, scores_b, patients = [], [], [], []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(row)} values, but the header names {len(header)} columns; check the commas"
            )
        name = row[column["id"]].strip()
        if not name:
            raise DataError(f"{path}, line {line}, column id: empty; every case needs an id of its own")
        if name in first_line:
            raise DataError(
                f"{path}, line {line}, column id: {name!r} stands in line {first_line[name]} already; one row per case"
            )
        first_line[name] = line
        labels.append(_label(path, line, row[column["label"]]))
        scores_a.append(_score(path, line, "score_a", row[column["score_a"]]))
        scores_b.append(_score(path, line, "score_b", row[column["score_b"]]))
        if PATIENT_COLUMN in column:
            patients.append(_patient(path, line, row[column[PATIENT_COLUMN]]))
    n_pos = sum(labels)
    if n_pos in (0, len(labels)):
        raise DataError(f"{path}: {n_pos} malignant and {len(labels) - n_pos} benign cases; a comparison needs both classes")
    return ScoreTable(
        ids=tuple(first_line),
        labels=np.array(labels, dtype=np.int64),
        scores_a=np.array(scores_a),
        scores_b=np.array(scores_b),
        patients=np.array(patients) if patients else None,
    )


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each further row with the number of its (last) line; blank lines are left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}); export it again as CSV") from error
    if not rows:
        raise DataError(f"{path}: the file is empty; expected a header {','.join(REQUIRED_COLUMNS)}[,{PATIENT_COLUMN}]")
    if len(rows) == 1:
        raise DataError(f"{path}: a header and no cases; expected one row per case below it")
    return [name.strip() for name in rows[0][1]], rows[1:]


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"{path}: column(s) {', '.join(missing)} missing; expected {','.join(REQUIRED_COLUMNS)}[,{PATIENT_COLUMN}], "
            f"found {','.join(header)}. Rename the columns, and separate them by commas"
        )
    wanted = [name for name in (*REQUIRED_COLUMNS, PATIENT_COLUMN) if name in header]
    twice = [name for name in wanted if header.count(name) > 1]
    if twice:
        raise DataError(f"{path}: column(s) {', '.join(twice)} stand twice; keep the one that is meant")
    return {name: header.index(name) for name in wanted}


def _label(path: Path, line: int, text: str) -> int:
    label = LABEL_WORDS.get(text.strip().lower())
    if label is None:
        raise DataError(f"{path}, line {line}, column label: {text!r}; expected 0 or benign, 1 or malignant")
    return label


def _score(path: Path, line: int, column: str, text: str) -> float:
    try:
        score = float(text.replace("_", "?"))  # Python would read 1_0 as ten
    except ValueError:
        found = "empty" if not text.strip() else repr(text)
        raise DataError(f"{path}, line {line}, column {column}: {found}; expected a number such as 0.73") from None
    if not math.isfinite(score):
        raise DataError(
            f"{path}, line {line}, column {column}: {text.strip()!r} is not a finite number; leave the case out, or score it"
        )
    return score


def _patient(path: Path, line: int, text: str) -> str:
    if not text.strip():
        raise DataError(f"{path}, line {line}, column {PATIENT_COLUMN}: empty; name every case's patient, or drop the column")
    return text.strip()
