"""A hospital's own images: a folder of class folders, or a table, with its patients as well as they can be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from wsus.data.audit.near_duplicates import find_near_duplicates, fingerprint, group_near_duplicates
from wsus.data.formats.sniff import is_dicom
from wsus.data.images import read_grey
from wsus.data.manifest import read_manifest
from wsus.data.manifest_rows import REQUIRED_COLUMNS
from wsus.data.patients import dicom_patient, patients_by_name, site_key, with_patients
from wsus.data.sources.class_folders import read_class_folders
from wsus.data.sources.imported import Imported, LeftOut
from wsus.data.sources.table import TABLE_SUFFIXES, TableMapping, check_labels_asked, read_table
from wsus.errors import ConfigError, ImageError, ManifestError
from wsus.types import ImageRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnImages:
    """How own images are read.

    columns, labels, images: of a table, as `TableMapping`.
    patients: "auto" (a column, else DICOM PatientID, else near-duplicates), "each" (every image its own), or "name:PATTERN".
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    images: str | None = None
    patients: str = "auto"

    def __post_init__(self) -> None:
        if self.patients not in ("auto", "each") and not self.patients.startswith("name:"):
            raise ConfigError(f"--patients is auto, each, or name:PATTERN as name:^([0-9]+)_; got {self.patients!r}")
        check_labels_asked(self.words)

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """Class -> the table's words for it."""
        return {name: tuple(word.strip() for word in words.split(",")) for name, words in self.labels.items()}


def read_own(path: Path, how: OwnImages = OwnImages()) -> Imported:
    """Read own images.

    Raises:
        ManifestError: the path is neither a folder of class folders nor a table, or what is in it cannot be used.
        ConfigError: a mapping for a folder.
    """
    frozen = (tuple(sorted(how.columns.items())), tuple(sorted(how.labels.items())), how.images, how.patients)
    return _read(path.resolve(), *frozen)


@lru_cache(maxsize=8)  # a recipe counts the images before the study reads them
def _read(
    path: Path, columns: tuple[tuple[str, str], ...], labels: tuple[tuple[str, str], ...], images: str | None, patients: str
) -> Imported:
    how = OwnImages(columns=dict(columns), labels=dict(labels), images=images, patients=patients)
    if path.is_dir():
        if columns or labels:
            raise ConfigError(f"{path}: a folder's classes are benign/ and malignant/; --column and --label are for tables")
        imported = read_class_folders(path)
        return _known_patients(imported, how, path)
    if path.suffix.lower() not in TABLE_SUFFIXES or not path.is_file():
        raise ManifestError(
            f"{path}: {'not a table' if path.exists() else 'no such file or folder'}; expected a folder with benign/ and "
            f"malignant/, or a table ({', '.join(TABLE_SUFFIXES)}) with a column for the file and one for the diagnosis"
        )
    if not columns and not labels and images is None and _is_manifest(path):
        manifest = read_manifest(path)
        return Imported(manifest=manifest, taken=len(manifest.records))
    mapping = TableMapping(columns=how.columns, labels=how.words, images=Path(images) if images else None)
    imported = read_table(path, mapping)
    named = any(note.startswith("patient_id from") for note in imported.notes)
    if named and patients == "auto":
        return imported
    return _known_patients(_near_duplicates(imported) if patients == "auto" else imported, how, mapping.images or path.parent)


def _known_patients(imported: Imported, how: OwnImages, root: Path) -> Imported:
    records = imported.manifest.records
    if how.patients.startswith("name:"):
        names = patients_by_name(records, how.patients.removeprefix("name:"), root)
        known = {record.image_id: name for record, name in zip(records, names, strict=True)}
        return _with(imported, with_patients(records, known), f"patients by the pattern {how.patients.removeprefix('name:')!r}")
    if how.patients == "each":
        return _with(imported, [replace(record, patient_id=record.image_id) for record in records], "each image is a patient")
    dicom = _dicom_patients(records)
    if not dicom:
        return imported
    note = f"PatientID of {len(dicom)} DICOM files, as pseudonyms of this site's key"
    return _with(imported, with_patients(records, dicom), note)


def _dicom_patients(records: tuple[ImageRecord, ...]) -> dict[str, str]:
    files = [record for record in records if is_dicom(record.path)]
    if not files:
        return {}
    key = site_key()
    found = {record.image_id: dicom_patient(record.path, key) for record in files}
    return {image_id: patient for image_id, patient in found.items() if patient is not None}


def _near_duplicates(imported: Imported) -> Imported:
    """Images of a table that names no patients, near-duplicates as one; what cannot be read is left out."""
    readable, prints, left_out = [], [], []
    for record in imported.manifest.records:
        try:
            prints.append(fingerprint(read_grey(record.path)))
        except ImageError as error:
            left_out.append(LeftOut(item=record.image_id, reason=str(error)))
        else:
            readable.append(record)
    groups = group_near_duplicates(len(readable), find_near_duplicates(prints))
    patient_of = {k: readable[group[0]].image_id for group in groups for k in group}
    records = [replace(record, patient_id=patient_of[k]) for k, record in enumerate(readable)]
    patients = len(set(patient_of.values()))
    note = f"no patient identifiers: {len(records)} images are taken as {patients} patients, near-duplicates as one"
    return _with(replace(imported, left_out=(*imported.left_out, *left_out)), records, note)


def _with(imported: Imported, records: tuple[ImageRecord, ...] | list[ImageRecord], note: str) -> Imported:
    notes = [kept for kept in imported.notes if not kept.startswith("no patient identifiers")]
    patients = len({record.patient_id for record in records})
    return replace(
        imported,
        manifest=imported.manifest.with_records(records),
        taken=len(records),
        notes=(*notes, note if note.startswith("no patient") else f"{note}: {len(records)} images of {patients} patients"),
    )


def _is_manifest(path: Path) -> bool:
    """Whether the header is a manifest's own."""
    try:
        header = path.open(encoding="utf-8-sig").readline()
    except (OSError, UnicodeDecodeError):
        return False
    names = {name.strip().lower() for name in header.split(",")}
    return set(REQUIRED_COLUMNS) <= names
