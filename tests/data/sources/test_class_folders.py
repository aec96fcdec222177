"""A folder of classes is read with an account of everything that was not taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from wsus.data.sources import SOURCES, read_source
from wsus.data.sources.class_folders import read_class_folders
from wsus.errors import ManifestError, UnknownNameError


def save(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(80, 100)), 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)).save(path)


def save_mask(path: Path) -> None:
    mask_HW = np.zeros((80, 100), dtype=np.uint8)
    mask_HW[20:40, 30:60] = 255
    Image.fromarray(mask_HW).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        save(tmp_path / "benign" / f"b {number}.png", seed=number)
    save(tmp_path / "Malignant" / "m.png", seed=20)
    save(tmp_path / "Malignant" / "m copy.png", seed=20)
    save_mask(tmp_path / "benign" / "b 2_mask.png")
    save_mask(tmp_path / "benign" / "b 2_mask_1.png")
    return tmp_path


def test_images_masks_and_patients_are_found(folder: Path) -> None:
    imported = read_class_folders(folder, name="Ward 3", institution="C")

    records = {record.image_id: record for record in imported.manifest.records}
    assert list(records) == ["benign-b-1", "benign-b-2", "benign-b-10", "malignant-m-copy", "malignant-m"]
    assert imported.taken == 5
    assert imported.left_out == ()
    assert [record.label for record in records.values()] == [0, 0, 0, 1, 1]
    assert [path.name for path in records["benign-b-2"].mask_paths] == ["b 2_mask.png", "b 2_mask_1.png"]
    assert records["malignant-m"].patient_id == records["malignant-m-copy"].patient_id == "malignant-m-copy"
    assert len({record.patient_id for record in records.values()}) == 4
    assert (imported.manifest.name, records["benign-b-1"].institution) == ("Ward 3", "C")
    assert imported.notes == (
        "no patient identifiers: 5 images are taken as 4 patients, near-duplicates as one",
        "4 images have no mask: the mode manual_roi cannot use them",
    )


def test_what_is_not_taken_is_named_with_its_reason(folder: Path) -> None:
    save(folder / "cysts" / "c.png", seed=30)
    (folder / "readme.txt").write_text("hello")
    (folder / ".DS_Store").write_text("")
    (folder / "benign" / "notes.doc").write_text("")
    (folder / "benign" / "more").mkdir()
    (folder / "benign" / "broken.png").write_bytes(b"\x89PNG\r\n")
    save_mask(folder / "benign" / "gone_mask.png")

    left_out = {item.item: item.reason for item in read_class_folders(folder).left_out}

    assert set(left_out) == {
        "cysts",
        "readme.txt",
        "benign/notes.doc",
        "benign/more",
        "benign/broken.png",
        "benign/gone_mask.png",
    }
    assert left_out["cysts"] == "not one of the classes benign, malignant"
    assert left_out["benign/gone_mask.png"] == "a mask without its image"
    assert "not an image that can be read" in left_out["benign/broken.png"]
    assert "the file is empty" in left_out["benign/notes.doc"]


def test_a_picture_in_both_classes_is_noted(folder: Path) -> None:
    save(folder / "benign" / "same.png", seed=20)
    assert "2 of the folder's 3 near-duplicate pairs lie in two classes" in read_class_folders(folder).notes


def test_two_files_with_one_stem_get_two_ids(folder: Path) -> None:
    save(folder / "benign" / "b 1.bmp", seed=40)
    ids = [record.image_id for record in read_class_folders(folder).manifest.records]
    assert {"benign-b-1", "benign-b-1-2"} <= set(ids)


def test_another_layout_is_refused_with_the_one_expected(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none: no such folder; expected the folders benign/ and malignant/"):
        read_class_folders(tmp_path / "none")
    (tmp_path / "benign").mkdir()
    (tmp_path / "cancer").mkdir()
    with pytest.raises(ManifestError, match=r"malignant/ missing, found benign, cancer; expected"):
        read_class_folders(tmp_path)
    (tmp_path / "malignant").mkdir()
    with pytest.raises(ManifestError, match=r"no image of a lesion that can be read: 1 x not one of the classes .*cancer"):
        read_class_folders(tmp_path)


def test_the_registry_reads_by_name(folder: Path) -> None:
    assert read_source("class_folders", folder) == read_class_folders(folder)
    (folder / "m.csv").write_text("image_id,patient_id,path,label\na,p,benign/b 1.png,0\n")
    assert read_source("CSV", folder / "m.csv").taken == 1
    assert sorted(SOURCES) == ["bus-bra", "busi", "class-folders", "manifest", "own"]
    with pytest.raises(UnknownNameError, match=r"unknown data source 'bussi'. Did you mean 'busi'\?"):
        read_source("bussi", folder)
