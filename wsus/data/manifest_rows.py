"""The rows of a manifest's CSV, each value checked: a million of them in seconds.

Values that many rows share are parsed and held once, and folders are resolved once, not each file.
"""

from __future__ import annotations

import csv
import difflib
import gc
import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from wsus.data.described import DESCRIBED, DescribedBy
from wsus.errors import ManifestError
from wsus.types import BENIGN, MALIGNANT, ImageRecord, Split, YesNo

log = logging.getLogger(__name__)

REQUIRED_COLUMNS = ("image_id", "patient_id", "path", "label")
DESCRIPTIVE_COLUMNS = tuple(column.name for column in DESCRIBED)
COLUMNS = (*REQUIRED_COLUMNS, "split", "mask_path", *DESCRIPTIVE_COLUMNS, "frame")
_LABELS = {"0": BENIGN, "benign": BENIGN, "1": MALIGNANT, "malignant": MALIGNANT}
_ANSWERS: dict[str, YesNo | None] = {"yes": "yes", "no": "no", "unknown": None, "": None}
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)  # 123456789012 as a spreadsheet shows it
_REMEMBERED = 100_000  # distinct values of a column

T = TypeVar("T")


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile, for millions of objects that stay: it takes a third of the time and finds nothing.

    Nor is what was made walked at the end: it is put among the old objects as it is.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            if not gc.get_freeze_count():  # else somebody keeps objects frozen, and they stay so
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@collector_paused()
def read_records(csv_path: Path, folder: Path) -> list[ImageRecord]:
    """The records of a CSV's rows.

    Args:
        folder: resolved; what paths are relative to and must stay in.
    Raises:
        ManifestError: names the row (1 is the header), the column, the value, and what to do.
    """
    records = []
    with _readable(csv_path), csv_path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        first = next(reader, [])
        parse = _RowParser(_checked_header(csv_path, _without_trailing_blanks(first)), len(first), folder).parse
        for cells in reader:
            try:
                records.append(parse(cells))
            except _RowError as error:
                if any(cells):  # else the line is empty
                    raise ManifestError(f"{csv_path}, row {reader.line_num}{error}") from None
    for doubt in doubtful_ids(records):
        log.warning("%s: %s", csv_path, doubt)
    return records


def doubtful_ids(records: Sequence[ImageRecord]) -> list[str]:
    """What spreadsheets do to identifiers, as sentences: rounded numbers, and names that differ by case alone."""
    doubts = []
    patients = {record.patient_id for record in records}
    for column, values in (("image_id", {record.image_id for record in records}), ("patient_id", patients)):
        rounded = sorted(value for value in values if "+" in value and _SCIENTIFIC.fullmatch(value))
        if rounded:
            doubts.append(
                f"{column} {rounded[0]!r} is a number that a spreadsheet rounded ({len(rounded)} value(s)): different ones may "
                "have become one; format the column as text and export again"
            )
    by_lower: dict[str, set[str]] = {}
    for patient in patients:
        by_lower.setdefault(patient.casefold(), set()).add(patient)
    alike = sorted(tuple(sorted(several)) for several in by_lower.values() if len(several) > 1)
    if alike:
        doubts.append(
            f"patient_id {' and '.join(map(repr, alike[0]))} differ by upper and lower case alone ({len(alike)} such group(s)) "
            "and count as different patients; write them alike if they are one"
        )
    return doubts


class _RowError(Exception):
    """What is wrong with a row, as the words that follow its number."""


class _Parsed(dict[str, T]):
    """A column's values by their text, parsed when first met. What `parse` raises is raised at each row that has it."""

    def __init__(self, parse: Callable[[str], T]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> T:
        value = self._parse(text)
        if len(self) < _REMEMBERED:
            self[text] = value
        return value


class _RowParser:
    """Cells of a row -> ImageRecord, for one header."""

    def __init__(self, header: list[str], width: int, folder: Path) -> None:
        self._header, self._width = header, width
        self._paths = _Paths(folder)
        self._label, self._split = _Parsed(_label), _Parsed(_split)
        self._frame = _Parsed(_frame)
        self._described = [(column.name, _Parsed(_parser(column))) for column in DESCRIBED]
        self._in_order = itemgetter(*(header.index(column) if column in header else -1 for column in COLUMNS))

    def parse(self, cells: list[str]) -> ImageRecord:
        """Raises _RowError."""
        cells = self._without_blanks(cells)
        if len(cells) != len(self._header):
            raise _RowError(
                f": {len(cells)} cells, but the header has {len(self._header)} columns; "
                "put a cell that holds a comma into double quotes"
            )
        values = self._in_order([*map(str.strip, cells), ""])
        image_id, patient_id, path, label, split, masks, *texts, frame = values
        if not (image_id and patient_id and path):
            column = next(column for column, value in zip(COLUMNS, values, strict=True) if not value)
            raise _RowError(f", column {column}: the cell is empty; every image needs a {column}")
        described = {name: parsed[text] for (name, parsed), text in zip(self._described, texts, strict=True)}
        return ImageRecord(
            image_id=_identifier(image_id),
            patient_id=patient_id,
            path=self._paths.inside(path, "path"),
            label=self._label[label],
            split=self._split[split],
            mask_paths=self._masks(masks),
            frame=self._frame[frame],
            **described,
        )

    def _without_blanks(self, cells: list[str]) -> list[str]:
        """Without the cells of the columns that a spreadsheet exports though they have neither name nor content."""
        extra = cells[len(self._header) :]
        if not extra:
            return cells
        if any(cell.strip() for cell in extra) and len(cells) == self._width:
            raise _RowError(
                f": the cell {next(cell for cell in extra if cell.strip())!r} stands in a column without a name; name it"
            )
        return cells if any(cell.strip() for cell in extra) else cells[: len(self._header)]

    def _masks(self, text: str) -> tuple[Path, ...]:
        if ";" not in text:
            return (self._paths.inside(text, "mask_path"),) if text else ()
        return tuple(self._paths.inside(part.strip(), "mask_path") for part in text.split(";") if part.strip())


class _Paths:
    """Paths below a folder, with `..` and symbolic links resolved.

    A folder is resolved and listed once: a file in it that is no link lies there, without a call of the system for each.
    What only looks like a file's name is looked at, as links are: `..`, or one with the backslash of another system.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, tuple[Path | None, set[str] | None]] = {}

    def inside(self, text: str, column: str) -> Path:
        """The absolute path. Raises _RowError where it leads out of the root."""
        end = text.rfind("/") + 1
        folder, name = text[:end], text[end:]
        if "\0" not in text:
            if folder not in self._folders:
                self._folders[folder] = self._looked_up(folder)
            resolved, links = self._folders[folder]
            if resolved and links is not None and name not in links and "\\" not in name:
                return resolved / name
            whole = self._resolved(text, column)
            if "\\" in name and not whole.exists() and (self._root / text.replace("\\", "/")).exists():
                there = text.replace("\\", "/")
                raise _RowError(f", column {column}: {text!r} is written with backslashes; write {there!r}")
            if whole.is_relative_to(self._root):
                return whole
        raise _RowError(
            f", column {column}: {text!r} leads out of {self._root}; "
            "copy the file into that folder, or name the folder that holds both as root"
        )

    def _resolved(self, text: str, column: str) -> Path:
        try:
            return (self._root / text).resolve()
        except (OSError, RuntimeError):
            raise _RowError(f", column {column}: {text!r} is a link that leads in a circle; copy the file instead") from None

    def _looked_up(self, folder: str) -> tuple[Path | None, set[str] | None]:
        """(the resolved folder, None where it is not inside; names in it to be looked at, None for all: it cannot be listed)."""
        resolved = (self._root / folder).resolve()
        try:
            with os.scandir(resolved) as entries:
                links: set[str] | None = {"", ".", "..", *(entry.name for entry in entries if entry.is_symlink())}
        except (FileNotFoundError, NotADirectoryError):
            links = {"", ".", ".."}
        except OSError:  # not allowed to list it: each file is looked at
            links = None
        return resolved if resolved.is_relative_to(self._root) else None, links


@contextmanager
def _readable(csv_path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ManifestError(f"{csv_path}: no such file; expected a CSV with the columns {', '.join(REQUIRED_COLUMNS)}") from None
    except OSError as error:
        raise ManifestError(f"{csv_path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError:
        raise ManifestError(
            f"{csv_path}: byte {_first_bad_byte(csv_path)} is not UTF-8; "
            "save the table as 'CSV UTF-8' (in a spreadsheet: Save As)"
        ) from None
    except csv.Error as error:
        raise ManifestError(f"{csv_path}: not a CSV ({error}); expected comma-separated values with one header row") from None


def _first_bad_byte(csv_path: Path) -> int | str:
    try:
        csv_path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:  # unlike that of the stream, this one counts from the file's beginning
        return error.start
    return "?"


def _without_trailing_blanks(cells: list[str]) -> list[str]:
    """A header without the nameless columns that a spreadsheet adds at its end."""
    named = [place for place, cell in enumerate(cells) if cell.strip()]
    return cells[: named[-1] + 1] if named else cells


def _checked_header(csv_path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if missing:
        hint = " The columns seem to be separated by ';': save with commas." if any(";" in cell for cell in header) else ""
        raise ManifestError(
            f"{csv_path}: column(s) {', '.join(missing)} missing; found {', '.join(header) or 'an empty file'}.{hint} "
            f"Required: {', '.join(REQUIRED_COLUMNS)}."
        )
    if len(set(header)) < len(header):
        raise ManifestError(f"{csv_path}: a column name occurs twice in {', '.join(header)}; rename one of them")
    for column in sorted(set(header) - set(COLUMNS)):
        nearest = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.8)
        if nearest:  # a slip of the pen would lose the column without a word
            raise ManifestError(f"{csv_path}: unknown column {column!r}; rename it to {nearest[0]!r}, or to something less alike")
        log.warning("%s: column %r is not one of a manifest and is not used", csv_path, column)
    return header


def described_value(column: str, text: str, where: str) -> object:
    """One cell of a descriptive column or of `split`, as a record holds it. Raises ManifestError: `where`, and what is wrong."""
    described = next((one for one in DESCRIBED if one.name == column), None)
    try:
        return _split(text) if described is None else _parser(described)(text)
    except _RowError as error:
        raise ManifestError(f"{where}{error}") from None


def _identifier(text: str) -> str:
    if text[0] == "." or "/" in text or "\\" in text or not text.isprintable():
        raise _RowError(
            f", column image_id: {text!r} cannot name a file; leave out slashes, control characters and a leading dot"
        )
    return text


def _label(text: str) -> int:
    label = _LABELS.get(text.lower())
    if label is None:
        raise _RowError(f", column label: unknown label {text!r}; expected 0 or benign, 1 or malignant")
    return label


def _split(text: str) -> Split | None:
    if not text:
        return None
    try:
        return Split(text.lower())
    except ValueError:
        raise _RowError(f", column split: unknown split {text!r}; expected {', '.join(Split)} or nothing") from None


def _parser(column: DescribedBy) -> Callable[[str], Any]:
    """Text of a cell -> the value of a record's field; it raises _RowError."""
    name = column.name

    def number(text: str) -> float | None:
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise _RowError(f", column {name}: {text!r} is not a number of 0 or more; correct it or leave it empty")
        if value > column.most:
            raise _RowError(f", column {name}: {text!r} is more than {column.most:g}; correct it or leave it empty")
        return value

    def iso_date(text: str) -> str | None:
        if not text:
            return None
        try:
            return date.fromisoformat(text[:10]).isoformat()
        except ValueError:
            raise _RowError(f", column {name}: {text!r} is not a date; expected YYYY-MM-DD, or nothing") from None

    def answer(text: str) -> YesNo | None:
        if text.lower() not in _ANSWERS:
            raise _RowError(f", column {name}: {text!r} is not an answer; expected yes, no, unknown, or nothing")
        return _ANSWERS[text.lower()]

    def words(text: str) -> str | None:
        return text or None

    return {"number": number, "date": iso_date, "answer": answer, "words": words}[column.kind]


def _frame(text: str) -> int | None:
    if not text:
        return None
    whole = text.removesuffix(".0")  # as a spreadsheet may write it
    if not (whole.isascii() and whole.isdigit() and len(whole) < 10):
        raise _RowError(f", column frame: {text!r} is not the index of a frame; expected 0, 1, 2 ... or nothing")
    return int(whole)
