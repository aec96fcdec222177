"""Patients that no table names: from DICOM, by a key of the site; from file names; near-duplicates stay together."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_files import dicom, speckle

from wsus.data.patients import dicom_patient, patients_by_name, pseudonym, site_key, with_patients
from wsus.errors import ConfigError, ManifestError
from wsus.types import ImageRecord

KEY = b"k" * 32


def record(image_id: str, patient: str, path: str = "x.png") -> ImageRecord:
    return ImageRecord(image_id=image_id, patient_id=patient, path=Path(path), label=0)


def test_a_pseudonym_says_nothing_without_the_key_and_is_the_same_with_it() -> None:
    assert pseudonym("Doe^123", KEY) == pseudonym(" Doe^123 ", KEY)
    assert len({pseudonym("Doe^123", KEY), pseudonym("Doe^124", KEY), pseudonym("Doe^123", b"other key" * 3)}) == 3
    assert "123" not in pseudonym("123", KEY)[1:] or len(pseudonym("123", KEY)) == 17


def test_the_key_is_made_once_and_kept_to_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WSUS_SITE_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = site_key()
    assert site_key() == first
    assert (tmp_path / "wsus" / "site.key").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("WSUS_SITE_KEY", "s" * 20)
    assert site_key() == b"s" * 20
    monkeypatch.setenv("WSUS_SITE_KEY", "short")
    with pytest.raises(ConfigError, match="16 characters or more"):
        site_key()


def test_a_dicom_file_gives_the_pseudonym_of_its_patient_and_others_none(tmp_path: Path) -> None:
    named, nameless, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    named.write_bytes(dicom(speckle(40, 50), PatientID="Doe 7"))
    nameless.write_bytes(dicom(speckle(40, 50), PatientID=""))
    other.write_bytes(b"\x89PNG" + b"\0" * 200)
    assert dicom_patient(named, KEY) == pseudonym("Doe 7", KEY)
    assert dicom_patient(nameless, KEY) is None
    assert dicom_patient(other, KEY) is None


def test_a_pattern_of_the_name(tmp_path: Path) -> None:
    records = [record("a", "a", str(tmp_path / "benign" / "17_left.png")), record("b", "b", str(tmp_path / "17_right.png"))]
    assert patients_by_name(records, r"^(\d+)_", tmp_path) == ["17", "17"]
    with pytest.raises(ManifestError, match=r"1 of 2 file names hold no patient by the pattern '\(left\)', such as 17_right.png"):
        patients_by_name(records, "(left)", tmp_path)
    with pytest.raises(ConfigError, match="not a regular expression"):
        patients_by_name(records, "(", tmp_path)


def test_near_duplicates_join_what_is_named() -> None:
    records = [record("a", "a"), record("b", "a"), record("c", "c"), record("d", "d"), record("e", "e")]
    found = with_patients(records, {"b": "Anna", "c": "Anna", "d": "Berta"})
    assert [one.patient_id for one in found] == ["Anna", "Anna", "Anna", "Berta", "e"]
