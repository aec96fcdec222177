"""A mask is never an image with a label, whatever it is called and wherever it lies; what cannot be taken is listed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import compressed, dicom, speckle
from PIL import Image
from pydicom import uid

from wsus.data.manifest import read_manifest, write_manifest
from wsus.data.sources import read_source
from wsus.data.sources.busi import read_busi
from wsus.data.sources.class_folders import read_class_folders
from wsus.data.sources.imported import Imported
from wsus.errors import ManifestError
from wsus.types import ImageRecord


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(speckle(seed=seed)).save(path)
    return path


def mask(path: Path, *, high: int = 255, mode: str = "L", kind: str | None = None) -> Path:
    mask_HW = np.zeros((60, 80), np.uint8)
    mask_HW[20:40, 30:60] = high
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask_HW).convert(mode).save(path, kind)
    return path


def two_classes(folder: Path, stem: str = "case1") -> None:
    """An image of each class, the second without a mask."""
    picture(folder / "benign" / f"{stem}.png", 1)
    picture(folder / "malignant" / "m.png", 2)


def taken(imported: Imported) -> dict[str, list[str]]:
    return {record.path.name: [mask.name for mask in record.mask_paths] for record in imported.manifest.records}


def left_out(imported: Imported) -> dict[str, str]:
    return {one.item: one.reason for one in imported.left_out}


@pytest.mark.parametrize(
    "suffix",
    ["_mask", "_Mask", "_mask_1", "_mask1", "_mask(1)", "_mask (2)", "_mask - Copy", "_mask_copy", "-mask", ".mask", "_masks",
     "_seg", "-seg", "_gt", "_GT", "_segmentation", "_ground_truth", "_groundtruth", "_annotation", "_contour",
     "_lesion", "_tumor", "_tumour", "_label", "_roi", "_lesion_2", "_anything", " - x", "_1_of_1"],
)  # fmt: skip
@pytest.mark.parametrize("stem", ["case1", "benign (1)", "P7_left"])
def test_a_mask_is_found_by_its_name_or_by_two_values(stem: str, suffix: str, tmp_path: Path) -> None:
    two_classes(tmp_path, stem)
    mask(tmp_path / "benign" / f"{stem}{suffix}.png")
    imported = read_class_folders(tmp_path)
    assert taken(imported) == {f"{stem}.png": [f"{stem}{suffix}.png"], "m.png": []}
    assert imported.left_out == ()


@pytest.mark.parametrize("name", ["mask_case1.png", "seg-case1.png", "gt_case1.png"])
def test_a_mask_is_found_by_the_beginning_of_its_name(name: str, tmp_path: Path) -> None:
    two_classes(tmp_path)
    mask(tmp_path / "benign" / name)
    assert taken(read_class_folders(tmp_path)) == {"case1.png": [name], "m.png": []}


@pytest.mark.parametrize("options", [{"mode": "1"}, {"mode": "RGB"}, {"mode": "P"}, {"high": 1}, {"kind": "JPEG"}], ids=str)
def test_a_mask_of_any_kind_is_none_of_the_images(options: dict[str, object], tmp_path: Path) -> None:
    two_classes(tmp_path)
    mask(tmp_path / "benign" / "case1_tumor.png", **options)  # type: ignore[arg-type]
    assert taken(read_class_folders(tmp_path)) == {"case1.png": ["case1_tumor.png"], "m.png": []}


def test_a_second_view_is_an_image_of_its_own(tmp_path: Path) -> None:
    two_classes(tmp_path)
    for seed, name in enumerate(("case1_2.png", "case12.png", "case1b.png"), start=5):
        picture(tmp_path / "benign" / name, seed)
    assert set(taken(read_class_folders(tmp_path))) == {"case1.png", "case1_2.png", "case12.png", "case1b.png", "m.png"}


def test_what_may_be_a_mask_and_has_no_image_is_named_and_not_taken(tmp_path: Path) -> None:
    two_classes(tmp_path)
    mask(tmp_path / "benign" / "other.png")
    mask(tmp_path / "benign" / "case17.png")  # of case1? of case17?
    mask(tmp_path / "benign" / "gone_mask.png")
    picture(tmp_path / "benign" / "case1_lesion.png", 9)  # a cut-out of the lesion, not a mask
    imported = read_class_folders(tmp_path)
    assert taken(imported) == {"case1.png": [], "m.png": []}
    reasons = left_out(imported)
    assert "two values, as masks are" in reasons["benign/other.png"]
    assert "few values, as masks are; it is not clear of which image" in reasons["benign/case17.png"]
    assert reasons["benign/gone_mask.png"] == "a mask without its image"
    assert "its name says that it belongs to case1.png, but it is no mask" in reasons["benign/case1_lesion.png"]


@pytest.mark.parametrize(
    ("images", "masks"),
    [("{c}/images", "{c}/masks"), ("{c}/Image", "{c}/GT"), ("{c}", "{c}/mask"), ("images/{c}", "masks/{c}"), ("{c}", "{c}_masks"),
     ("{c}", "masks/{c}"), ("img/{c}", "ground truth/{c}")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["{s}.png", "{s}_mask.png", "{s}_segmentation.bmp"])
def test_masks_in_folders_of_their_own(images: str, masks: str, name: str, tmp_path: Path) -> None:
    for seed, (class_name, stem) in enumerate([("benign", "0"), ("benign", "1"), ("malignant", "0"), ("malignant", "1")]):
        picture(tmp_path / images.format(c=class_name) / f"{stem}.png", seed)
        mask(tmp_path / masks.format(c=class_name) / name.format(s=stem))
    imported = read_class_folders(tmp_path)
    assert imported.taken == 4
    for record in imported.manifest.records:
        assert [path.name for path in record.mask_paths] == [name.format(s=record.path.stem)]
        assert ("malignant" in str(record.mask_paths[0])) == bool(record.label)
    assert imported.left_out == ()


def test_dicom_is_told_by_content_with_and_without_suffix(tmp_path: Path) -> None:
    two_classes(tmp_path)
    names = ("IM00.dcm", "IM_0", "1.2.840.10008.1", "1.2.840.10008.2", "a.img")
    for seed, name in enumerate(names, start=5):
        (tmp_path / "benign" / name).write_bytes(dicom(speckle(seed=seed)))
    (tmp_path / "benign" / "DICOMDIR.txt").write_text("a list")
    (tmp_path / "benign" / "clip.dcm").write_bytes(compressed(np.stack([speckle(), speckle(seed=50)]), uid.RLELossless))
    imported = read_class_folders(tmp_path)
    assert set(taken(imported)) == {"case1.png", "m.png", *names}
    assert len({record.image_id for record in imported.manifest.records}) == 7
    reasons = left_out(imported)
    assert "not an image that can be read" in reasons["benign/DICOMDIR.txt"]
    assert "2 frames; say which one" in reasons["benign/clip.dcm"]
    assert "5 image(s) have no scale, so that sizes in mm are not known" in imported.notes


def test_where_nothing_is_taken_the_reasons_are_listed(tmp_path: Path) -> None:
    for class_name in ("benign", "malignant"):
        (tmp_path / class_name / "P001").mkdir(parents=True)
        (tmp_path / class_name / "a.pdf").write_bytes(b"%PDF-1.4")
    with pytest.raises(
        ManifestError, match=r"no image of a lesion that can be read: .*2 x a folder inside a class folder"
    ) as refused:
        read_class_folders(tmp_path)
    assert "this is a PDF document" in str(refused.value)


def test_busi_without_its_folder_of_normal_images(tmp_path: Path) -> None:
    two_classes(tmp_path, "benign (1)")
    mask(tmp_path / "benign" / "benign (1)_mask.png")
    imported = read_busi(tmp_path)
    assert taken(imported) == {"benign (1).png": ["benign (1)_mask.png"], "m.png": []}
    assert "there is no folder normal/; its images would be left out anyway" in imported.notes


def test_a_semicolon_in_an_images_name_is_taken_and_in_a_masks_name_refused(tmp_path: Path) -> None:
    two_classes(tmp_path, "a;1")
    write_manifest(read_class_folders(tmp_path).manifest, tmp_path / "m.csv")
    assert {record.path.name for record in read_manifest(tmp_path / "m.csv").records} == {"a;1.png", "m.png"}
    mask(tmp_path / "benign" / "a;1_mask.png")
    with pytest.raises(ManifestError, match=r"benign/a;1_mask.png: the name of a mask holds a ';'.*rename the file"):
        write_manifest(read_class_folders(tmp_path).manifest, tmp_path / "m.csv")


def test_links_are_followed_within_the_folder_and_listed_where_they_lead_elsewhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", picture(tmp_path / "outside.png", 8)
    two_classes(root)
    picture(root / "pool" / "p.png", 3)
    links = {"inside.png": root / "pool" / "p.png", "outside.png": outside, "nowhere.png": root / "gone.png"}
    for name, target in links.items():
        (root / "benign" / name).symlink_to(target)
    (root / "benign" / "circle.png").symlink_to(root / "benign" / "circle.png")
    imported = read_class_folders(root)
    assert set(taken(imported)) == {"case1.png", "p.png", "m.png"}
    reasons = left_out(imported)
    assert reasons["benign/outside.png"] == "a link that leads out of the folder; copy the file into it"
    assert reasons["benign/nowhere.png"] == reasons["benign/circle.png"] == "a link that leads nowhere"
    (root / "malignant").rename(tmp_path / "elsewhere")
    (root / "malignant").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ManifestError, match="malignant: a link that leads out of the folder"):
        read_source("class-folders", root)


def test_a_name_that_is_not_utf_8_is_listed(tmp_path: Path) -> None:
    two_classes(tmp_path)
    os.rename(picture(tmp_path / "benign" / "x.png", 7), os.fsencode(tmp_path / "benign") + b"/latin\xe9.png")
    imported = read_class_folders(tmp_path)
    assert left_out(imported) == {"benign/latin\\udce9.png": "its name is not UTF-8; rename it"}
    record = ImageRecord(image_id="a", patient_id="p", path=tmp_path / os.fsdecode(b"latin\xe9.png"), label=0)
    with pytest.raises(ManifestError, match="the name is not UTF-8, as a manifest is; rename the file"):
        write_manifest(imported.manifest.with_records([record]), tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()
