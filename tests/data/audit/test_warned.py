"""A study counts what decoding warns of, as `wsus predict` would say it of each image."""

from __future__ import annotations

from pathlib import Path

from dicom_files import coloured, dicom, speckle
from PIL import Image

from wsus.data.audit.warned import image_warnings
from wsus.data.formats.image_warning import WARNING_KINDS, ImageWarning, by_kind, warning_notes
from wsus.types import ImageRecord


def records(folder: Path) -> list[ImageRecord]:
    Image.fromarray(speckle()).save(folder / "plain.png")
    Image.fromarray(coloured()).save(folder / "colour.png")
    (folder / "scan.dcm").write_bytes(dicom(speckle(), BurnedInAnnotation="YES"))
    (folder / "bad.png").write_bytes(b"text")
    names = ("plain.png", "colour.png", "scan.dcm", "bad.png")
    return [ImageRecord(image_id=name, patient_id=name, path=folder / name, label=0) for name in names]


def test_warnings_are_counted_by_kind(tmp_path: Path) -> None:
    assert image_warnings(records(tmp_path)) == {
        "looked_at": 3,
        "by_kind": {"burned_in_text": 1, "coloured": 1, "no_scale": 1, "whole_frame": 1},
    }


def test_of_many_images_an_even_selection_is_looked_at(tmp_path: Path) -> None:
    plain, colour, *_ = records(tmp_path)
    found = image_warnings([plain, colour] * 10, most=5)
    assert found["looked_at"] == 5
    assert image_warnings([colour] * 20, most=20)["by_kind"] == {"coloured": 20}


def test_every_kind_has_words_but_the_harmless() -> None:
    notes = warning_notes(dict.fromkeys(WARNING_KINDS, 3))
    assert len(notes) == len(WARNING_KINDS) - 1
    assert all(note.startswith("3 image(s) ") for note in notes)
    assert warning_notes({"coloured": 2, "no_scale": 5, "unknown": 9})[0].startswith("5 image(s) have no scale")


def test_sentences_of_one_kind_are_joined_and_plain_ones_are_kept() -> None:
    said = (ImageWarning("doppler_region", "a"), ImageWarning("doppler_region", "b"), "c")
    assert by_kind(said) == {"doppler_region": "a; b", "other": "c"}
