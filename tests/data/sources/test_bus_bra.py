"""BUS-BRA is read from its layout as distributed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from wsus.data.sources.bus_bra import read_bus_bra
from wsus.errors import ManifestError
from wsus.types import ImageRecord

HEADER = "ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX"


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    for name in ("Images", "Masks"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "bus_data.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def row(image_id: str, case: int, pathology: str = "benign") -> str:
    return f'{image_id},{case},fibroadenoma,{pathology},4,GE Logiq 7,274,353,left,"[1,2,3,4]"'


def test_a_row_becomes_a_record(tmp_path: Path) -> None:
    folder = write(tmp_path, row("bus_0002-l", 2), row("bus_0003-s", 3, "Malignant"))
    for name in ("Images/bus_0002-l.png", "Masks/mask_0002-l.png", "Images/bus_0003-s.png"):
        (folder / name).write_bytes(b"x")

    imported = read_bus_bra(folder)

    root = tmp_path.resolve()
    first, second = imported.manifest.records
    assert first == ImageRecord(
        image_id="bus_0002-l",
        patient_id="bus-bra-0002",
        path=root / "Images/bus_0002-l.png",
        label=0,
        mask_paths=(root / "Masks/mask_0002-l.png",),
        institution="A",
        device="GE Logiq 7",
        birads="4",
        histology="fibroadenoma",
    )
    assert (second.label, second.mask_paths) == (1, ())
    assert imported.notes == ("1 images have no mask: the mode manual_roi cannot use them",)
    assert imported.manifest.name == "BUS-BRA"


def test_what_cannot_be_taken_is_left_out_with_its_reason(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        row("bus_0001-l", 1),
        row("bus_0002-l", 2),
        row("bus_0003-l", 3, "unsure"),
        row("../../etc/bus", 4),
        "bus_0005-l,,x,benign,2,d,1,1,left,",
    )
    (folder / "Images/bus_0001-l.png").write_bytes(b"x")

    imported = read_bus_bra(folder)

    assert imported.taken == 1
    assert [(item.item, item.reason) for item in imported.left_out] == [
        ("bus_0002-l", "no file Images/bus_0002-l.png"),
        ("bus_0003-l", "pathology 'unsure' is neither benign nor malignant"),
        ("../../etc/bus", "the ID does not name a file"),
        ("bus_0005-l", "no case, so the patient is unknown"),
    ]


def test_cases_that_show_the_same_pictures_are_one_patient(tmp_path: Path) -> None:
    folder = write(tmp_path, row("bus_0056-l", 56), row("bus_0091-l", 91))
    for image_id in ("bus_0056-l", "bus_0091-l"):
        (folder / f"Images/{image_id}.png").write_bytes(b"x")

    imported = read_bus_bra(folder)

    assert [record.patient_id for record in imported.manifest.records] == ["bus-bra-0056", "bus-bra-0056"]
    assert imported.notes[0] == "cases 56 and 91 show the same pictures and are taken as one patient"


def test_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"bus_data\.csv is missing; expected bus_data\.csv beside Images/"):
        read_bus_bra(tmp_path)
    with pytest.raises(ManifestError, match=r"column\(s\) Case missing; this is not the table of BUS-BRA"):
        read_bus_bra(write(tmp_path, header=HEADER.replace("Case", "Patient")))
    with pytest.raises(ManifestError, match=r"none of the 1 rows of bus_data\.csv can be taken"):
        read_bus_bra(write(tmp_path, row("bus_0001-l", 1)))
    (tmp_path / "bus_data.csv").write_bytes(HEADER.encode() + b"\nbus_1,1,\xff\xfe,benign,,,,,,\n")
    with pytest.raises(ManifestError, match="not a CSV in UTF-8"):
        read_bus_bra(tmp_path)


def test_the_real_folder(test_data_dir: Path) -> None:
    imported = read_bus_bra(test_data_dir / "bus-bra")

    records = imported.manifest.records
    assert Counter(record.label for record in records) == {0: 1268, 1: 607}
    assert len({record.patient_id for record in records}) == 1063  # 1,064 cases, of which 56 and 91 are one woman
    assert imported.left_out == ()
    assert all(record.mask_paths and record.device and record.birads and record.histology for record in records)
