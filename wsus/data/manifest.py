"""The table of images that a study is made of: a CSV beside its images.

Columns `image_id, patient_id, path, label` and optional `split, mask_path, institution, device, birads, histology,
age_years, lesion_size_mm, acquired, calipers`. Paths are relative to the folder of the CSV (or to a root that is named) and never
leave it; several masks of one image are separated by `;`.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
import logging
import math
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pandas as pd

from wsus.errors import ManifestError
from wsus.types import BENIGN, CLASS_NAMES, MALIGNANT, ImageRecord, Split, YesNo

log = logging.getLogger(__name__)

REQUIRED_COLUMNS = ("image_id", "patient_id", "path", "label")
DESCRIPTIVE_COLUMNS = ("institution", "device", "birads", "histology", "age_years", "lesion_size_mm", "acquired", "calipers")
COLUMNS = (*REQUIRED_COLUMNS, "split", "mask_path", *DESCRIPTIVE_COLUMNS)
_LABELS = {"0": BENIGN, "benign": BENIGN, "1": MALIGNANT, "malignant": MALIGNANT}


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Images and what is known of them. Not empty, and no image_id occurs twice.

    name: what people call the data, for instance "BUS-BRA"; it is no part of the digest.
    """

    records: tuple[ImageRecord, ...]
    name: str

    def __post_init__(self) -> None:
        if not self.records:
            raise ManifestError(f"{self.name}: the manifest holds no image; a manifest has one row per image")
        repeated = [image_id for image_id, n in Counter(r.image_id for r in self.records).items() if n > 1]
        if repeated:
            raise ManifestError(
                f"{self.name}: image_id {repeated[0]!r} occurs more than once ({len(repeated)} ids do); "
                "give each image its own image_id"
            )

    def digest(self) -> str:
        """SHA-256 over the rows and the content of every image and mask, as 64 hexadecimal digits.

        The same rows and bytes give the same digest wherever they lie and in whatever order the rows stand.

        Raises:
            ManifestError: a file cannot be read.
        """
        paths = sorted({path for record in self.records for path in (record.path, *record.mask_paths)})
        with ThreadPoolExecutor(max_workers=8) as pool:
            content = dict(zip(paths, pool.map(_file_sha256, paths), strict=True))
        total = hashlib.sha256()
        for record in sorted(self.records, key=lambda r: r.image_id):
            total.update(json.dumps(_canonical_row(record, content), ensure_ascii=True).encode() + b"\n")
        return total.hexdigest()

    def frame(self) -> pd.DataFrame:
        """One row per image with the columns of `COLUMNS`; paths are absolute, label is 0, 1 or missing (Int64)."""
        rows = [
            {
                **{column: getattr(record, column) for column in ("image_id", "patient_id", "label", *DESCRIPTIVE_COLUMNS)},
                "path": str(record.path),
                "split": None if record.split is None else record.split.value,
                "mask_path": ";".join(str(path) for path in record.mask_paths) or None,
            }
            for record in self.records
        ]
        types = {"label": "Int64", "age_years": "float64", "lesion_size_mm": "float64"}
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)

    def by_split(self, split: Split) -> tuple[ImageRecord, ...]:
        """The records of one split, in the order of the manifest."""
        return tuple(record for record in self.records if record.split is split)

    def with_records(self, records: Iterable[ImageRecord]) -> Manifest:
        """The same manifest with other records."""
        return replace(self, records=tuple(records))

    def with_splits(self, split_by_id: Mapping[str, Split]) -> Manifest:
        """The same images with other splits; an image that is not in the mapping becomes UNUSED."""
        return self.with_records(replace(r, split=split_by_id.get(r.image_id, Split.UNUSED)) for r in self.records)

    def merged(self, other: Manifest, *, name: str) -> Manifest:
        """Both manifests' images under one name.

        Raises:
            ManifestError: an image_id or a patient_id occurs in both.
        """
        for column in ("image_id", "patient_id"):
            both = {getattr(r, column) for r in self.records} & {getattr(r, column) for r in other.records}
            if both:
                raise ManifestError(
                    f"{self.name} and {other.name} share {len(both)} {column} value(s), for instance {min(both)!r}; "
                    "if they are different ones, put a prefix before those of one manifest"
                )
        return Manifest(records=self.records + other.records, name=name)


def patients_across_splits(records: Iterable[ImageRecord]) -> dict[str, tuple[Split, ...]]:
    """Patients whose images lie in more than one split, with those splits.

    UNUSED does not count: it is where a patient's further images go when one lesion counts once.
    """
    splits: dict[str, set[Split]] = defaultdict(set)
    for record in records:
        if record.split not in (None, Split.UNUSED):
            splits[record.patient_id].add(record.split)
    return {patient: tuple(sorted(found)) for patient, found in sorted(splits.items()) if len(found) > 1}


def read_manifest(csv_path: Path, *, root: Path | None = None, allow_leaks: bool = False) -> Manifest:
    """Read a manifest; every value is checked, the image files are not opened (that is the audit's work).

    Args:
        root: the folder that paths are relative to and must stay in; the folder of the CSV where None.
        allow_leaks: accept a patient in two splits, for the audit, which reports all of them.
    Raises:
        ManifestError: names the row (1 is the header), the column, the value, and what to do.
    """
    rows = _read_rows(csv_path)
    folder = (csv_path.parent if root is None else root).resolve()
    records = [_record(row, f"{csv_path}, row {number}", folder) for number, row in rows]
    manifest = Manifest(records=tuple(records), name=csv_path.stem)
    leaks = {} if allow_leaks else patients_across_splits(records)
    if leaks:
        patient, splits = next(iter(leaks.items()))
        raise ManifestError(
            f"{csv_path}: patient {patient!r} has images in the splits {' and '.join(splits)} ({len(leaks)} patient(s) do); "
            "put all images of a patient into one split, or the scores are of no worth"
        )
    return manifest


def write_manifest(manifest: Manifest, csv_path: Path, *, root: Path | None = None) -> None:
    """Write a manifest so that `read_manifest` with the same root reads it back; a file is replaced as a whole or not at all.

    Args:
        root: the folder that paths are written relative to; the folder of the CSV where None.
    Raises:
        ManifestError: an image or a mask lies outside the root, a label is unknown, or the folder cannot be written.
    """
    folder = (csv_path.parent if root is None else root).resolve()
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(record, folder) for record in manifest.records)
    try:
        csv_path.parent.mkdir(parents=True, exist_ok=True)
        _replace_file(csv_path, text.getvalue())
    except OSError as error:
        raise ManifestError(f"{csv_path}: cannot be written ({error.strerror or error}); choose another place") from error


def _read_rows(csv_path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = csv_path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"{csv_path}: no such file; expected a CSV with the columns {', '.join(REQUIRED_COLUMNS)}") from None
    except OSError as error:
        raise ManifestError(f"{csv_path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{csv_path}: byte {error.start} is not UTF-8; save the table as 'CSV UTF-8' (in a spreadsheet: Save As)"
        ) from None
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = _checked_header(csv_path, next(reader, []))
        return [(reader.line_num, _as_row(csv_path, reader.line_num, header, cells)) for cells in reader if any(cells)]
    except csv.Error as error:
        raise ManifestError(f"{csv_path}: not a CSV ({error}); expected comma-separated values with one header row") from None


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


def _as_row(csv_path: Path, number: int, header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise ManifestError(
            f"{csv_path}, row {number}: {len(cells)} cells, but the header has {len(header)} columns; "
            "put a cell that holds a comma into double quotes"
        )
    return {column: cell.strip() for column, cell in zip(header, cells, strict=True)}


def _record(row: Mapping[str, str], where: str, folder: Path) -> ImageRecord:
    for column in ("image_id", "patient_id", "path"):
        if not row[column]:
            raise ManifestError(f"{where}, column {column}: the cell is empty; every image needs a {column}")
    return ImageRecord(
        image_id=_identifier(row["image_id"], where),
        patient_id=row["patient_id"],
        path=_inside(row["path"], f"{where}, column path", folder),
        label=_label(row["label"], where),
        split=_split(row.get("split", ""), where),
        mask_paths=tuple(
            _inside(part.strip(), f"{where}, column mask_path", folder)
            for part in row.get("mask_path", "").split(";")
            if part.strip()
        ),
        age_years=_number(row, "age_years", where),
        lesion_size_mm=_number(row, "lesion_size_mm", where),
        acquired=_iso_date(row.get("acquired", ""), where),
        calipers=_yes_no(row.get("calipers", ""), f"{where}, column calipers"),
        **{column: row.get(column) or None for column in ("institution", "device", "birads", "histology")},
    )


def _identifier(text: str, where: str) -> str:
    if text.startswith(".") or any(c in "/\\" or not c.isprintable() for c in text):
        raise ManifestError(
            f"{where}, column image_id: {text!r} cannot name a file; leave out slashes, control characters and a leading dot"
        )
    return text


def _inside(text: str, where: str, folder: Path) -> Path:
    resolved = (folder / text).resolve() if "\0" not in text else None  # joins and resolves `..` and symbolic links
    if resolved is None or not resolved.is_relative_to(folder):
        raise ManifestError(
            f"{where}: {text!r} leads out of {folder}; copy the file into that folder, or name the folder that holds both as root"
        )
    return resolved


def _label(text: str, where: str) -> int:
    label = _LABELS.get(text.lower())
    if label is None:
        raise ManifestError(f"{where}, column label: unknown label {text!r}; expected 0 or benign, 1 or malignant")
    return label


def _split(text: str, where: str) -> Split | None:
    if not text:
        return None
    try:
        return Split(text.lower())
    except ValueError:
        raise ManifestError(f"{where}, column split: unknown split {text!r}; expected {', '.join(Split)} or nothing") from None


def _number(row: Mapping[str, str], column: str, where: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ManifestError(f"{where}, column {column}: {text!r} is not a number of 0 or more; correct it or leave it empty")
    return value


def _iso_date(text: str, where: str) -> str | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise ManifestError(f"{where}, column acquired: {text!r} is not a date; expected YYYY-MM-DD, or nothing") from None


def _yes_no(text: str, where: str) -> YesNo | None:
    answers: dict[str, YesNo | None] = {"yes": "yes", "no": "no", "unknown": None, "": None}
    if text.lower() not in answers:
        raise ManifestError(f"{where}: {text!r} is not an answer; expected yes, no, unknown, or nothing")
    return answers[text.lower()]


def _row(record: ImageRecord, folder: Path) -> dict[str, object]:
    if record.label is None:
        raise ManifestError(f"image {record.image_id!r} has no label; a manifest needs benign or malignant for every image")
    return {
        **{column: getattr(record, column) for column in ("image_id", "patient_id", *DESCRIPTIVE_COLUMNS)},
        "path": _relative(record.path, folder),
        "label": CLASS_NAMES[record.label],
        "split": None if record.split is None else record.split.value,
        "mask_path": ";".join(_relative(path, folder) for path in record.mask_paths),
    }


def _relative(path: Path, folder: Path) -> str:
    resolved = path.resolve()
    if not resolved.is_relative_to(folder):
        raise ManifestError(
            f"{path}: lies outside {folder}; write the manifest into the folder of its images, or name it as root"
        )
    relative = resolved.relative_to(folder).as_posix()
    if ";" in relative:
        raise ManifestError(f"{path}: the name holds a ';', which separates masks in a manifest; rename the file")
    return relative


def _replace_file(path: Path, text: str) -> None:
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(beside).chmod(0o644)
        os.replace(beside, path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise


def _file_sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file, though the manifest names it; run the audit to list all of them") from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error}), though the manifest names it") from error


def _canonical_row(record: ImageRecord, content: Mapping[Path, str]) -> list[object]:
    label = None if record.label is None else CLASS_NAMES[record.label]
    split = None if record.split is None else record.split.value
    described = [getattr(record, column) for column in DESCRIPTIVE_COLUMNS if column != "calipers"]
    if record.calipers is not None:  # the digest of a manifest without that column stays what it was before there was one
        described.append(f"calipers {record.calipers}")
    masks = sorted(content[path] for path in record.mask_paths)
    return [record.image_id, record.patient_id, label, split, *described, content[record.path], masks]
