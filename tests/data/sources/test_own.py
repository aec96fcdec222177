"""A hospital's own images, as they lie there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom
from PIL import Image
from typer.testing import CliRunner

from wsus.cli import app
from wsus.data.manifest import read_manifest
from wsus.data.patients import pseudonym
from wsus.data.sources.own import OwnImages, read_own
from wsus.errors import ConfigError, ManifestError

KEY = "a key of this site"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSUS_SITE_KEY", KEY)


def speckle(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(1, 255, (8, 10)), np.ones((8, 8))).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three PNGs a class, and two DICOM files of one patient whose names end in nothing that a picture's would."""
    root = tmp_path / "ours"
    for label, name in enumerate(("benign", "malignant")):
        (root / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(speckle(10 * label + number)).save(root / name / f"{100 + number // 2 + 10 * label}_{number}.png")
    for number in range(2):
        (root / "malignant" / f"7_{number}.dcm").write_bytes(dicom(speckle(50 + number), PatientID="Doe 7"))
    return root


def test_patients_of_a_folder_by_dicom_by_name_or_each(folder: Path) -> None:
    auto = read_own(folder)
    of_dicom = {r.patient_id for r in auto.manifest.records if r.path.suffix == ".dcm"}
    assert of_dicom == {pseudonym("Doe 7", KEY.encode())}
    assert not any("Doe" in note for note in auto.notes)
    assert any("PatientID of 2 DICOM files, as pseudonyms" in note for note in auto.notes)

    by_name = read_own(folder, OwnImages(patients=r"name:(\d+)_\d+\.\w+$"))
    assert len({r.patient_id for r in by_name.manifest.records}) == 5
    each = read_own(folder, OwnImages(patients="each"))
    assert len({r.patient_id for r in each.manifest.records}) == 8


def test_a_table_without_patients_takes_near_duplicates_as_one(tmp_path: Path) -> None:
    for number, seed in enumerate((1, 1, 2, 3)):
        Image.fromarray(speckle(seed)).save(tmp_path / f"{number}.png")
    (tmp_path / "t.csv").write_text("file,diagnosis\n" + "".join(f"{n}.png,{'bm'[n % 2]}\n" for n in range(4)))
    imported = read_own(tmp_path / "t.csv")
    patients = {r.path.name: r.patient_id for r in imported.manifest.records}
    assert patients["0.png"] == patients["1.png"]
    assert len(set(patients.values())) == 3


def test_import_writes_what_a_study_reads_and_names_what_was_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "malignant" / "empty.png").write_bytes(b"")
    result = CliRunner().invoke(app, ["data", "import", "own", str(folder)])
    assert result.exit_code == 0, result.output
    assert "8 images taken, 1 left out" in result.output
    assert "malignant/empty.png" in result.output
    assert len(read_manifest(folder / "manifest.csv").records) == 8


def test_what_cannot_be_read_so_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--column and --label are for tables"):
        read_own(folder, OwnImages(columns={"label": "x"}))
    with pytest.raises(ManifestError, match="no such file or folder; expected a folder with benign/ and malignant/"):
        read_own(tmp_path / "nowhere")
    (tmp_path / "notes.docx").write_bytes(b"PK")
    with pytest.raises(ManifestError, match="not a table"):
        read_own(tmp_path / "notes.docx")
    with pytest.raises(ConfigError, match="--patients is auto, each, or name:PATTERN"):
        OwnImages(patients="dicom")
    with pytest.raises(ConfigError, match="its layout is known"):
        CliRunner().invoke(app, ["data", "import", "busi", str(folder), "--column", "label=x"], catch_exceptions=False)
