"""The table of images that a study is made of: a CSV beside its images.

Columns `image_id, patient_id, path, label` and optional `split, mask_path, institution, device, birads, histology,
age_years, lesion_size_mm, acquired, calipers, frame`. Paths are relative to the folder of the CSV (or to a root that is
named) and never leave it; several masks of one image are separated by `;`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path

import pandas as pd

from wsus.data.manifest_rows import COLUMNS, DESCRIPTIVE_COLUMNS, read_records
from wsus.data.missing_file import missing_hint
from wsus.errors import ManifestError
from wsus.types import CLASS_NAMES, ImageRecord, Split

_IN_EVERY_DIGEST = ("institution", "device", "birads", "histology", "age_years", "lesion_size_mm", "acquired")
_FIELDS = tuple(field.name for field in fields(ImageRecord))
_image_id, _values = attrgetter("image_id"), attrgetter(*_FIELDS)
_SLOT_SETTERS = tuple(getattr(ImageRecord, name).__set__ for name in _FIELDS)
_set_split = _SLOT_SETTERS[_FIELDS.index("split")]


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
        if len(set(map(_image_id, self.records))) < len(self.records):
            repeated = [image_id for image_id, n in Counter(map(_image_id, self.records)).items() if n > 1]
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
                "frame": record.frame,
                "split": None if record.split is None else record.split.value,
                "mask_path": ";".join(str(path) for path in record.mask_paths) or None,
            }
            for record in self.records
        ]
        types = {"label": "Int64", "age_years": "float64", "lesion_size_mm": "float64", "frame": "Int64"}
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)

    def by_split(self, split: Split) -> tuple[ImageRecord, ...]:
        """The records of one split, in the order of the manifest."""
        return tuple(record for record in self.records if record.split is split)

    def with_records(self, records: Iterable[ImageRecord]) -> Manifest:
        """The same manifest with other records."""
        return replace(self, records=tuple(records))

    def with_splits(self, split_by_id: Mapping[str, Split]) -> Manifest:
        """The same images with other splits; an image that is not in the mapping becomes UNUSED."""
        unused = Split.UNUSED
        return self.with_records(_in_split(record, split_by_id.get(record.image_id, unused)) for record in self.records)

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
    records = read_records(csv_path, (csv_path.parent if root is None else root).resolve())
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


def _in_split(record: ImageRecord, split: Split) -> ImageRecord:
    """As `dataclasses.replace` does, in a third of its time: slot by slot, since a frozen class checks each value that is set."""
    if record.split is split:
        return record
    copy = object.__new__(ImageRecord)
    for set_slot, value in zip(_SLOT_SETTERS, _values(record), strict=True):
        set_slot(copy, value)
    _set_split(copy, split)
    return copy


def _row(record: ImageRecord, folder: Path) -> dict[str, object]:
    if record.label is None:
        raise ManifestError(f"image {record.image_id!r} has no label; a manifest needs benign or malignant for every image")
    return {
        **{column: getattr(record, column) for column in ("image_id", "patient_id", *DESCRIPTIVE_COLUMNS)},
        "path": _relative(record.path, folder),
        "frame": record.frame,
        "label": CLASS_NAMES[record.label],
        "split": None if record.split is None else record.split.value,
        "mask_path": ";".join(_without_semicolon(_relative(path, folder)) for path in record.mask_paths),
    }


def _relative(path: Path, folder: Path) -> str:
    resolved = path.resolve()
    if not resolved.is_relative_to(folder):
        raise ManifestError(
            f"{path}: lies outside {folder}; write the manifest into the folder of its images, or name it as root"
        )
    relative = resolved.relative_to(folder).as_posix()
    if relative.encode(errors="replace").decode() != relative:
        named = relative.encode(errors="backslashreplace").decode()
        raise ManifestError(f"{named}: the name is not UTF-8, as a manifest is; rename the file")
    return relative


def _without_semicolon(relative: str) -> str:
    if ";" in relative:
        raise ManifestError(f"{relative}: the name of a mask holds a ';', which separates masks in a manifest; rename the file")
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
        hint = missing_hint(path)
        raise ManifestError(
            f"{path}: no such file, though the manifest names it{hint}; run the audit to list all of them"
        ) from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error}), though the manifest names it") from error


def _canonical_row(record: ImageRecord, content: Mapping[Path, str]) -> list[object]:
    label = None if record.label is None else CLASS_NAMES[record.label]
    split = None if record.split is None else record.split.value
    described = [getattr(record, column) for column in _IN_EVERY_DIGEST]
    for column in DESCRIPTIVE_COLUMNS:  # the digest of a manifest without a later column stays what it was before there was one
        if column not in _IN_EVERY_DIGEST and (value := getattr(record, column)) is not None:
            described.append(f"{column} {value}")
    if record.frame is not None:
        described.append(f"frame {record.frame}")
    masks = sorted(content[path] for path in record.mask_paths)
    return [record.image_id, record.patient_id, label, split, *described, content[record.path], masks]
