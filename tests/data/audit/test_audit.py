"""The audit finds every planted fault, grades it, and says it to machines and to people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_files import coloured, dicom, speckle
from PIL import Image
from pydicom import uid
from scipy import ndimage

from wsus.data.audit.audit import AuditConfig, AuditReport, audit, write_audit_page
from wsus.data.characteristics import characteristics, table_rows
from wsus.data.images import read_image
from wsus.data.manifest import Manifest
from wsus.data.sources.busi import read_busi
from wsus.errors import ConfigError, StoreError
from wsus.types import ImageRecord, Split


def make(
    folder: Path, image_id: str, label: int, *, seed: int, split: Split | None = None, patient: str | None = None
) -> ImageRecord:
    """An image of its own, with a mask that fits."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(80, 100)), 2)
    path, mask_path = folder / f"{image_id}.png", folder / f"{image_id}_mask.png"
    Image.fromarray(np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)).save(path)
    write_mask(mask_path, (80, 100))
    return ImageRecord(
        image_id=image_id, patient_id=patient or f"p-{image_id}", path=path, label=label, split=split, mask_paths=(mask_path,)
    )


def write_mask(path: Path, shape_hw: tuple[int, int], *, empty: bool = False) -> None:
    mask_HW = np.zeros(shape_hw, dtype=np.uint8)
    mask_HW[10:20, 10:20] = 0 if empty else 255
    Image.fromarray(mask_HW).save(path)


def audited(records: Iterable[ImageRecord]) -> AuditReport:
    return audit(Manifest(records=tuple(records), name="M"))


def found(report: AuditReport) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.items for finding in report.findings}


@pytest.fixture
def clean(tmp_path: Path) -> list[ImageRecord]:
    return [make(tmp_path, f"i{i}", i % 2, seed=i) for i in range(6)]


def test_a_clean_manifest_has_no_finding(clean: list[ImageRecord]) -> None:
    report = audited(clean)
    assert (report.ok, report.findings, report.pairs, report.images, report.patients) == (True, (), (), 6, 6)


def test_files_that_cannot_be_used_are_errors(clean: list[ImageRecord]) -> None:
    clean[0].path.unlink()
    clean[1].path.write_bytes(b"")
    write_mask(clean[2].mask_paths[0], (80, 99))
    clean[3].mask_paths[0].unlink()
    write_mask(clean[4].mask_paths[0], (80, 100), empty=True)

    report = audited(clean)

    items = found(report)
    assert not report.ok
    assert [(finding.kind, finding.severity) for finding in report.findings] == [
        ("unreadable_image", "error"),
        ("mask_misfit", "error"),
        ("empty_mask", "warning"),
    ]
    assert "no such file" in items["unreadable_image"][0]
    assert "the file is empty" in items["unreadable_image"][1]
    assert "99 x 80 px, but its image has 100 x 80 px" in items["mask_misfit"][0]
    assert items["empty_mask"] == ("i4: i4_mask.png marks nothing",)


def test_an_empty_mask_alone_is_no_error(clean: list[ImageRecord]) -> None:
    write_mask(clean[4].mask_paths[0], (80, 100), empty=True)
    assert audited(clean).ok


def test_near_duplicates_are_graded_by_what_differs(tmp_path: Path) -> None:
    train, internal, unused = Split.TRAIN, Split.INTERNAL, Split.UNUSED
    records = [
        make(tmp_path, "a", 0, seed=1, split=train, patient="p1"),
        make(tmp_path, "a-same", 0, seed=1, split=train, patient="p1"),
        make(tmp_path, "b", 0, seed=2, split=train, patient="p2"),
        make(tmp_path, "b-label", 1, seed=2, split=train, patient="p2"),
        make(tmp_path, "c", 1, seed=3, split=train, patient="p3"),
        make(tmp_path, "c-split", 1, seed=3, split=internal, patient="p4"),
        make(tmp_path, "d", 1, seed=4, split=train, patient="p5"),
        make(tmp_path, "d-unused", 1, seed=4, split=unused, patient="p5"),
    ]

    report = audited(records)

    assert {(p.first.image_id, p.second.image_id): p.across for p in report.pairs} == {
        ("a", "a-same"): (),
        ("b", "b-label"): ("class",),
        ("c", "c-split"): ("split", "patient"),
        ("d", "d-unused"): (),
    }
    severity = {finding.kind: finding.severity for finding in report.findings}
    assert severity["duplicates_across_classes"] == severity["duplicates_across_splits"] == "error"
    assert severity["duplicates_across_patients"] == severity["duplicates_within"] == "warning"
    items = found(report)
    assert items["duplicates_across_splits"] == ("c = c-split (1.00)",)
    assert items["patient_in_both_classes"] == ("p2",)
    assert set(report.thumbnails) == {record.image_id for record in records}


def test_a_patient_in_two_splits_is_an_error(clean: list[ImageRecord]) -> None:
    split = [replace(r, patient_id="p" if i < 2 else r.patient_id, split=Split.TRAIN) for i, r in enumerate(clean)]
    split[0] = replace(split[0], split=Split.INTERNAL)

    report = audited(split)

    assert found(report)["patient_across_splits"] == ("p: internal, train",)
    assert not report.ok


def test_imbalance_is_judged_in_each_split_in_use(clean: list[ImageRecord]) -> None:
    splits = [Split.TRAIN, Split.TRAIN, Split.INTERNAL, Split.UNUSED, Split.INTERNAL, Split.UNUSED]
    report = audited(replace(r, split=split) for r, split in zip(clean, splits, strict=True))
    assert found(report)["imbalance"] == ("internal: 0 of 2 images are malignant",)
    assert report.ok


def test_json_and_text_say_the_same(clean: list[ImageRecord]) -> None:
    clean[0].path.write_bytes(b"")
    report = audit(Manifest(records=tuple(clean), name="M"), notes=("it was so",))

    machine = json.loads(json.dumps(report.to_json()))
    text = "\n".join(report.lines())

    assert machine["ok"] is False
    assert machine["findings"][0]["kind"] == "unreadable_image"
    assert machine["findings"][0]["count"] == 1
    assert machine["characteristics"][1]["class_name"] == "malignant"
    assert text.startswith("M: 6 images of 6 patients; ERRORS;")
    assert "error    1 image(s) cannot be used" in text
    assert "note     it was so" in text
    assert text.endswith("Research software, not a medical device.")


def test_a_long_list_is_cut_in_the_terminal_only(clean: list[ImageRecord]) -> None:
    for record in clean:
        record.path.unlink()
    report = audited(clean)
    assert "           and 1 more" in report.lines()
    assert len(report.to_json()["findings"][0]["items"]) == 6


def test_the_page_stands_alone_and_escapes_names(tmp_path: Path) -> None:
    records = [make(tmp_path, "a<b>", 0, seed=1), make(tmp_path, "c", 1, seed=1), make(tmp_path, "d", 1, seed=2)]
    page = tmp_path / "pages" / "audit.html"

    write_audit_page(audited(records), page)

    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 2
    assert "a&lt;b&gt;" in html
    assert "<b>a<b>" not in html
    assert "Research software, not a medical device." in html
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", html)
    assert list(page.parent.iterdir()) == [page]


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path, clean: list[ImageRecord]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"audit\.html: the audit page cannot be written"):
        write_audit_page(audited(clean), tmp_path / "file" / "audit.html")


def test_table_one_counts_by_split_and_class(clean: list[ImageRecord]) -> None:
    described = [
        replace(clean[0], split=Split.TRAIN, age_years=40.0, birads="3", device="GE", patient_id="p", lesion_size_mm=8.0),
        replace(clean[2], split=Split.TRAIN, age_years=40.0, birads="4", patient_id="p", lesion_size_mm=12.0),
        replace(clean[4], split=Split.TRAIN, age_years=60.0, birads="3", mask_paths=()),
        replace(clean[1], split=Split.EXTERNAL),
    ]

    columns = characteristics(Manifest(records=tuple(described), name="M"))

    assert [(c.group, c.class_name, c.images, c.patients, c.masks) for c in columns] == [
        ("train", "benign", 3, 2, 2),
        ("external", "malignant", 1, 1, 1),
    ]
    assert table_rows(columns) == [
        ("Images", ["3", "1"]),
        ("Patients", ["2", "1"]),
        ("With mask", ["2", "1"]),
        ("Age in years, mean (range)", ["50.0 (40 to 60)", "–"]),  # over patients: (40 + 60) / 2
        ("Lesion size in mm, mean (range)", ["10.0 (8 to 12)", "–"]),  # over images
        ("Scanner", ["", ""]),
        ("  GE", ["1", "0"]),
        ("  unknown", ["2", "1"]),  # last, though it is the commonest
        ("BI-RADS", ["", ""]),
        ("  3", ["2", "0"]),
        ("  4", ["1", "0"]),
        ("  unknown", ["0", "1"]),
    ]


def test_table_one_goes_by_institution_where_there_are_no_splits_and_adds_up_rare_values(clean: list[ImageRecord]) -> None:
    many = [replace(clean[0], image_id=f"x{i}", histology=f"kind {i:02d}", institution="A") for i in range(13)]

    columns = characteristics(Manifest(records=(*many, clean[2]), name="M"))

    assert [column.group for column in columns] == ["A", "all"]
    assert table_rows(columns)[-2:] == [("  3 others", ["3", "0"]), ("  unknown", ["0", "1"])]


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(ConfigError, match=r"least_class_share must lie in \[0, 0.5\]; got 0.6"):
        AuditConfig(least_class_share=0.6)


@pytest.mark.slow
def test_busi_is_audited_within_its_time(test_data_dir: Path) -> None:
    report = audit(read_busi(test_data_dir / "busi").manifest)

    items = found(report)
    assert not report.ok
    assert len(items["duplicates_across_classes"]) == 9  # and two more with images that show no lesion, left out at import
    assert "duplicates_across_patients" not in items
    assert report.seconds < 60


def test_what_predict_warns_of_the_audit_says_too(clean: list[ImageRecord], tmp_path: Path) -> None:
    (tmp_path / "screen.dcm").write_bytes(dicom(speckle(), SOPClassUID=uid.SecondaryCaptureImageStorage))
    Image.fromarray(coloured()).save(tmp_path / "doppler.png")
    odd = [
        replace(clean[0], path=tmp_path / "screen.dcm", mask_paths=()),
        replace(clean[1], path=tmp_path / "doppler.png", mask_paths=()),
    ]

    report = audited([*odd, *clean[2:]])

    kinds = {finding.kind for finding in report.findings if finding.kind.startswith("image_")}
    assert kinds == {"image_burned_in_text", "image_coloured", "image_no_scale", "image_secondary_capture", "image_whole_frame"}
    for record in odd:
        (row,) = (row for row in report.to_json()["decoded"] if row["image_id"] == record.image_id)
        assert sorted("; ".join(row["warnings"].values()).split("; ")) == sorted(
            "; ".join(read_image(record.path).warnings).split("; ")
        )
    assert report.ok


def test_the_frame_that_a_manifest_names_is_looked_at(clean: list[ImageRecord], tmp_path: Path) -> None:
    frames = np.stack([speckle(seed=1), speckle(seed=2)])
    (tmp_path / "clip.dcm").write_bytes(dicom(frames))
    both = [replace(clean[k], path=tmp_path / "clip.dcm", mask_paths=(), frame=k) for k in (0, 1)]
    report = audited(both)
    assert [row["frame"] for row in report.to_json()["decoded"]] == [0, 1]
    assert report.ok  # two pictures
    assert "say which one is to be read" in found(audited([replace(both[0], frame=None)]))["unreadable_image"][0]


def test_identifiers_in_doubt_are_a_warning(clean: list[ImageRecord]) -> None:
    twins = [replace(clean[0], patient_id="P1"), replace(clean[1], patient_id="p1"), replace(clean[2], patient_id="1.23E+11")]
    items = found(audited([*twins, *clean[3:]]))["doubtful_identifiers"]
    assert "'1.23E+11' is a number that a spreadsheet rounded" in items[0]
    assert "'P1' and 'p1' differ" in items[1]
