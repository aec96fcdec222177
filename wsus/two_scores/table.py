"""Read a table of one or two scores per case.

CSV with `id,label,score_a[,score_b]` (or `score`) and, where known, `patient_id`; or the `predictions.parquet` of a cell.
Cells are separated by commas, semicolons or tabs; beside semicolons and tabs a score may have a decimal comma.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wsus.data.table_columns import PATIENT_WORDS, asked_columns, delimiter, plain
from wsus.errors import DataError, UnknownNameError
from wsus.evaluation.cases import LABEL_WORDS
from wsus.two_scores.scores import ScoreTable, check_classes

REQUIRED_COLUMNS = ("id", "label", "score_a")
SECOND_SCORE, PATIENT_COLUMN = "score_b", "patient_id"
_MAPPED = ("id", "label", "score", "score_a", SECOND_SCORE, PATIENT_COLUMN)
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_EXPECTED = f"{','.join(REQUIRED_COLUMNS)}[,{SECOND_SCORE}][,{PATIENT_COLUMN}]"


def read_score_table(
    path: Path,
    *,
    against: Path | None = None,
    split: str | None = None,
    trial_seed: int | None = None,
    subgroup: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> ScoreTable:
    """Read and check a score table. Other columns are left alone; a label may be 0, 1, benign or malignant.

    Args:
        columns: id, label, score (or score_a), score_b, patient_id -> what the table calls it; of a CSV.
        against: a second predictions.parquet, whose probabilities are score_b.  split, trial_seed: which rows of a
            predictions.parquet.  subgroup: a column to be kept.
    Raises:
        DataError: the file is missing, empty or neither a CSV nor predictions; a column is missing or stands twice; an id is
            empty or stands twice; a label, score or patient is not what it should be; only one class occurs. Line and column
            are named.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        from wsus.two_scores.predictions import read_predictions  # loads pandas, which a CSV does not need

        if columns:
            raise DataError(f"{path}: --column is for a CSV; the columns of predictions are known")

        return read_predictions(path, against=against, split=split, trial_seed=trial_seed, subgroup=subgroup)
    if against is not None or split is not None or trial_seed is not None:
        raise DataError(
            f"{path}: --against, --split and --trial-seed are for a predictions.parquet; a CSV names score_a and score_b"
        )
    separator, header, rows = _read_rows(path)
    column = _columns(path, header, subgroup, columns or {})
    first_line: dict[str, int] = {}
    labels, scores, patients, levels = [], {name: list[float]() for name in _scores_of(column)}, [], []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(row)} values, but the header names {len(header)} columns; check the"
                f" {_SEPARATORS[separator]}"
            )
        name = row[column["id"]].strip()
        if not name:
            raise DataError(f"{path}, line {line}, column id: empty; every case needs an id of its own")
        if name in first_line:
            raise DataError(
                f"{path}, line {line}, column id: {name!r} stands in line {first_line[name]} already; one row per case"
            )
        first_line[name] = line
        labels.append(_label(path, line, header[column["label"]], row[column["label"]]))
        for score, values in scores.items():
            text = row[column[score]] if separator == "," else row[column[score]].replace(",", ".")
            values.append(_score(path, line, header[column[score]], text))
        if PATIENT_COLUMN in column:
            patients.append(_patient(path, line, row[column[PATIENT_COLUMN]]))
        if subgroup is not None:
            levels.append(row[column[subgroup]].strip())
    check_classes(path, labels)
    return ScoreTable(
        ids=tuple(first_line),
        labels=np.array(labels, dtype=np.int64),
        scores_a=np.array(next(iter(scores.values()))),
        scores_b=np.array(scores[SECOND_SCORE]) if SECOND_SCORE in scores else None,
        patients=np.array(patients) if patients else None,
        levels=np.array(levels) if subgroup is not None else None,
        hints=_hints(header, column, columns or {}),
    )


def _scores_of(column: dict[str, int]) -> tuple[str, ...]:
    """The score columns that the file has, the first one first."""
    first = "score_a" if "score_a" in column else "score"
    return (first, SECOND_SCORE) if SECOND_SCORE in column else (first,)


def _hints(header: list[str], column: Mapping[str, int], asked: Mapping[str, str]) -> tuple[str, ...]:
    """That a column was taken for the patients' by its name alone."""
    name = header[column[PATIENT_COLUMN]] if PATIENT_COLUMN in column else PATIENT_COLUMN
    if name == PATIENT_COLUMN or PATIENT_COLUMN in asked:
        return ()
    return (f"patients are read from the column {name!r}: rename it if it says something else",)


def _read_rows(path: Path) -> tuple[str, list[str], list[tuple[int, list[str]]]]:
    """The separator, the header, and each further row with the number of its (last) line; blank lines are left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = delimiter(next((line for line in file if line.strip()), ""))
            file.seek(0)
            reader = csv.reader(file, strict=True, delimiter=separator)
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}); export it again as CSV") from error
    if not rows:
        raise DataError(f"{path}: the file is empty; expected a header {_EXPECTED}")
    if len(rows) == 1:
        raise DataError(f"{path}: a header and no cases; expected one row per case below it")
    return separator, [name.strip() for name in rows[0][1]], rows[1:]


def _columns(path: Path, header: list[str], subgroup: str | None, asked: Mapping[str, str]) -> dict[str, int]:
    """Each column's place: of those that were asked for by another name, and of those with a name of their own."""
    for name in asked:
        if name not in _MAPPED:
            raise UnknownNameError("column of a table of scores", name, _MAPPED)
    by_hand = asked_columns(header, asked, str(path))
    likely = [name for name in header if plain(name) in PATIENT_WORDS and name not in by_hand.values()]
    guessed = {PATIENT_COLUMN: likely[0]} if likely else {}  # or several cases of a patient would count as independent
    named = guessed | {name: name for name in header} | by_hand
    required = ["id", "label", "score" if "score" in named and "score_a" not in named else "score_a"]
    missing = [name for name in required if name not in named]
    if missing:
        raise DataError(
            f"{path}: column(s) {', '.join(missing)} missing; expected {_EXPECTED}, "
            f"found {','.join(header)}. Say which they are: {' '.join(f'--column {name}=NAME' for name in missing)}"
        )
    if subgroup is not None and subgroup not in header:
        raise DataError(f"{path}: no column {subgroup!r} for subgroups; found {','.join(header)}")
    wanted = {name: named[name] for name in (*required, SECOND_SCORE, PATIENT_COLUMN) if name in named}
    wanted |= {subgroup: subgroup} if subgroup is not None and subgroup not in wanted else {}
    twice = [name for name in wanted.values() if header.count(name) > 1]
    if twice:
        raise DataError(f"{path}: column(s) {', '.join(twice)} stand twice; keep the one that is meant")
    return {name: header.index(column) for name, column in wanted.items()}


def _label(path: Path, line: int, column: str, text: str) -> int:
    label = LABEL_WORDS.get(text.strip().lower())
    if label is None:
        raise DataError(f"{path}, line {line}, column {column}: {text!r}; expected 0 or benign, 1 or malignant")
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
