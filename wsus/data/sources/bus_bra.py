"""BUS-BRA, as distributed: 1,875 images of 1,064 cases, four scanners, masks, BI-RADS, histology.

Source: Gómez-Flores, Gregorio-Calas, Coelho de Albuquerque Pereira, "BUS-BRA: A Breast Ultrasound Dataset for Assessing
Computer-aided Diagnosis Systems", Medical Physics 2023.
"""

from __future__ import annotations

import csv
from pathlib import Path

from wsus.data.manifest import Manifest
from wsus.data.sources.imported import Imported, LeftOut
from wsus.errors import ManifestError
from wsus.types import BENIGN, MALIGNANT, ImageRecord

_LAYOUT = "expected bus_data.csv beside Images/bus_<case>-<side>.png and Masks/mask_<case>-<side>.png"
_COLUMNS = ("ID", "Case", "Histology", "Pathology", "BIRADS", "Device")
_LABELS = {"benign": BENIGN, "malignant": MALIGNANT}
_SAME_PATIENT = {"91": "56"}  # both pictures of case 91 are those of case 56, cut and annotated otherwise (near_duplicates)


def read_bus_bra(folder: Path, *, institution: str = "A") -> Imported:
    """Read BUS-BRA from its folder.

    Returns:
        Patients are the cases of the table, except that cases which show the same pictures are one patient.
    Raises:
        ManifestError: the folder has another layout, or no image can be taken.
    """
    rows = _read_table(folder / "bus_data.csv")
    records: list[ImageRecord] = []
    left_out: list[LeftOut] = []
    for row in rows:
        reason = _reason_to_leave(row, folder)
        if reason:
            left_out.append(LeftOut(item=row["ID"] or "(no ID)", reason=reason))
        else:
            records.append(_record(row, folder, institution))
    if not records:
        raise ManifestError(f"{folder}: none of the {len(rows)} rows of bus_data.csv can be taken; {_LAYOUT}")
    manifest = Manifest(records=tuple(records), name="BUS-BRA")
    return Imported(manifest=manifest, taken=len(records), left_out=tuple(left_out), notes=_notes(records))


def _read_table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise ManifestError(f"{path}: column(s) {', '.join(missing)} missing; this is not the table of BUS-BRA")
            return [{column: row[column].strip() for column in _COLUMNS} for row in reader]
    except (FileNotFoundError, NotADirectoryError):
        raise ManifestError(f"{path.parent}: not a folder of BUS-BRA, bus_data.csv is missing; {_LAYOUT}") from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: not a CSV in UTF-8 ({error}); copy it again from its source") from error


def _reason_to_leave(row: dict[str, str], folder: Path) -> str | None:
    if not row["ID"] or Path(row["ID"]).name != row["ID"]:
        return "the ID does not name a file"
    if not row["Case"]:
        return "no case, so the patient is unknown"
    if row["Pathology"].lower() not in _LABELS:
        return f"pathology {row['Pathology']!r} is neither benign nor malignant"
    if not _image_path(row, folder).is_file():
        return f"no file {_image_path(row, folder).relative_to(folder)}"
    return None


def _image_path(row: dict[str, str], folder: Path) -> Path:
    return folder / "Images" / f"{row['ID']}.png"


def _record(row: dict[str, str], folder: Path, institution: str) -> ImageRecord:
    mask = folder / "Masks" / f"{row['ID'].replace('bus_', 'mask_', 1)}.png"
    case = _SAME_PATIENT.get(row["Case"], row["Case"])
    return ImageRecord(
        image_id=row["ID"],
        patient_id=f"bus-bra-{case.zfill(4)}",
        path=_image_path(row, folder).resolve(),
        label=_LABELS[row["Pathology"].lower()],
        mask_paths=(mask.resolve(),) if mask.is_file() else (),
        institution=institution,
        device=row["Device"] or None,
        birads=row["BIRADS"] or None,
        histology=row["Histology"] or None,
    )


def _notes(records: list[ImageRecord]) -> tuple[str, ...]:
    notes = []
    ids = {record.image_id for record in records}
    for case, same in _SAME_PATIENT.items():
        if any(image_id.startswith(f"bus_{case.zfill(4)}-") for image_id in ids):
            notes.append(f"cases {same} and {case} show the same pictures and are taken as one patient")
    without = sum(not record.mask_paths for record in records)
    if without:
        notes.append(f"{without} images have no mask: the mode manual_roi cannot use them")
    return tuple(notes)
