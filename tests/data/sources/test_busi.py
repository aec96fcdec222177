"""BUSI is read from its layout as distributed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from wsus.data.manifest import read_manifest, write_manifest
from wsus.data.sources.busi import read_busi
from wsus.errors import ManifestError


def save(folder: Path, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(80, 100)), 2)
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    Image.fromarray(np.full((80, 100), 255, dtype=np.uint8)).save(folder / f"{name}_mask.png")


@pytest.fixture
def busi(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        save(tmp_path / "benign", f"benign ({number})", seed=number)
    save(tmp_path / "malignant", "malignant (1)", seed=20)
    save(tmp_path / "normal", "normal (1)", seed=30)
    save(tmp_path / "normal", "normal (2)", seed=10)  # the picture of benign (10)
    return tmp_path


def test_lesions_are_taken_and_normal_images_are_left_out(busi: Path) -> None:
    imported = read_busi(busi)

    assert [r.image_id for r in imported.manifest.records] == [
        "busi-benign-1",
        "busi-benign-2",
        "busi-benign-10",
        "busi-malignant-1",
    ]
    assert {(r.institution, r.label) for r in imported.manifest.records} == {("B", 0), ("B", 1)}
    assert [len(r.mask_paths) for r in imported.manifest.records] == [1, 1, 1, 1]
    assert {item.item: item.reason for item in imported.left_out} == {
        "busi-normal-1": "no lesion",
        "busi-normal-2": "no lesion; but the same picture as busi-benign-10",
    }
    assert "1 of the folder's 1 near-duplicate pairs lie in two classes" in imported.notes


def test_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "benign").mkdir()
    with pytest.raises(ManifestError, match=r"malignant/ missing, found benign; expected .*'benign \(1\)\.png'"):
        read_busi(tmp_path)
    with pytest.raises(ManifestError, match="none: no such folder"):
        read_busi(tmp_path / "none")
    (tmp_path / "malignant").mkdir()
    save(tmp_path / "normal", "normal (1)", seed=0)
    with pytest.raises(ManifestError, match="no image of a lesion that can be read"):
        read_busi(tmp_path)


@pytest.mark.slow
def test_the_real_folder(test_data_dir: Path, tmp_path: Path) -> None:
    imported = read_busi(test_data_dir / "busi")

    records = imported.manifest.records
    assert Counter(record.label for record in records) == {0: 437, 1: 210}
    assert len(imported.left_out) == 133
    assert sum(len(record.mask_paths) for record in records) == 647 + 18
    assert 480 <= len({record.patient_id for record in records}) <= 520
    by_id = {record.image_id: record for record in records}
    assert by_id["busi-malignant-145"].patient_id == by_id["busi-benign-433"].patient_id
    write_manifest(imported.manifest, tmp_path / "busi.csv", root=test_data_dir)
    assert read_manifest(tmp_path / "busi.csv", root=test_data_dir).records == records
