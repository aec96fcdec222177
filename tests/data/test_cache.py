"""Images are decoded once, shared as one memory-mapped array, and never left half-decoded."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsus.data import cache, roi
from wsus.data.cache import open_cache
from wsus.data.roi import CropConfig
from wsus.errors import DataError, ImageError, MaskError, StoreError
from wsus.types import GreyImage, ImageRecord, Mode

CROP = CropConfig(size_px=32, margin_px=2)
BOX = (10, 12, 22, 20)


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    rng = np.random.default_rng(0)
    mask_HW = np.zeros((40, 50), dtype=np.uint8)
    mask_HW[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    Image.fromarray(mask_HW).save(tmp_path / "mask.png")
    made = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(1, 255, (40, 50), dtype=np.uint8)).save(path)
        masks = (tmp_path / "mask.png",) if number != 3 else ()
        made.append(ImageRecord(image_id=f"i{number}", patient_id=f"p{number}", path=path, label=number % 2, mask_paths=masks))
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images that were decoded, in order."""
    read: list[Path] = []

    def counted(path: Path, *, frame: int | None, real: Callable[..., GreyImage] = cache.read_image) -> GreyImage:
        read.append(path)
        return real(path, frame=frame)

    monkeypatch.setattr(cache, "read_image", counted)
    return read


def test_second_opening_decodes_nothing(records: list[ImageRecord], reads: list[Path], tmp_path: Path) -> None:
    first = open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=tmp_path / "c")
    second = open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=tmp_path / "c")

    assert sorted(reads) == sorted(record.path for record in records)
    assert isinstance(second.images_NHW, np.memmap)
    assert (first.images_NHW == second.images_NHW).all()
    assert first.geometries == second.geometries


def test_rows_are_the_crops_of_their_images(records: list[ImageRecord], tmp_path: Path) -> None:
    inputs = open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=tmp_path / "c")
    assert inputs.rows([records[2], records[0]]).tolist() == [2, 0]
    for row, record in enumerate(records):
        image_HW = np.asarray(Image.open(record.path))
        assert (inputs.images_NHW[row] == roi.extract(image_HW, roi.whole_image((40, 50), CROP))).all()


def test_writing_into_the_array_does_not_reach_the_others(records: list[ImageRecord], tmp_path: Path) -> None:
    first = open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=tmp_path / "c")
    first.images_NHW[:] = 7
    second = open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=tmp_path / "c")
    assert not (second.images_NHW == 7).all()


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "other"},
        {"crop": replace(CROP, margin_px=3)},
        {"mode": Mode.AUTO_ROI, "boxes": {"i0": BOX, "i1": BOX, "i2": BOX}},
        {"with_masks": True},
    ],
)
def test_whatever_changes_the_pixels_makes_another_cache(
    change: dict[str, object], records: list[ImageRecord], reads: list[Path], tmp_path: Path
) -> None:
    usual = {"crop": CROP, "mode": Mode.WEAK, "digest": "d", "cache_dir": tmp_path / "c"}
    open_cache(records[:3], **usual)  # type: ignore[arg-type]
    open_cache(records[:3], **{**usual, **change})  # type: ignore[arg-type]
    assert len(reads) == 6


def test_manual_mode_crops_to_the_mask_and_masks_come_along(records: list[ImageRecord], tmp_path: Path) -> None:
    inputs = open_cache(records[:3], CROP, Mode.MANUAL_ROI, digest="d", with_masks=True, cache_dir=tmp_path / "c")
    # a mask of 12 x 8 px: side 12 + 4, centred on (16, 16)
    assert [geometry.box_xyxy_px for geometry in inputs.geometries] == [(8, 8, 24, 24)] * 3
    assert inputs.masks_NHW is not None
    assert set(np.unique(inputs.masks_NHW)) == {0, 1}
    expected = np.zeros((32, 32), dtype=np.uint8)
    expected[8:24, 4:28] = 1  # the mask at twice the scale
    assert (inputs.masks_NHW[0] == expected).mean() > 0.95


def test_where_no_box_was_found_the_whole_image_is_used_and_marked(records: list[ImageRecord], tmp_path: Path) -> None:
    boxes = {"i0": BOX, "i1": None, "i2": BOX, "i3": BOX}
    inputs = open_cache(records, CROP, Mode.AUTO_ROI, digest="d", boxes=boxes, cache_dir=tmp_path / "c")
    assert inputs.fallback == {"i1"}
    assert inputs.geometries[1] == roi.whole_image((40, 50), CROP)
    assert inputs.geometries[0] == roi.around_box((40, 50), BOX, CROP)


def test_bad_image_leaves_nothing_behind(records: list[ImageRecord], tmp_path: Path) -> None:
    good = records[2].path.read_bytes()
    records[2].path.write_bytes(b"")
    folder = tmp_path / "c"
    with pytest.raises(ImageError, match=r"2\.png: the file is empty"):
        open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=folder)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []

    records[2].path.write_bytes(good)
    assert open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=folder).images_NHW[2].any()


def test_manual_mode_without_mask_names_the_image(records: list[ImageRecord], tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"i3: has no mask.*use the mode 'weak'"):
        open_cache(records, CROP, Mode.MANUAL_ROI, digest="d", cache_dir=tmp_path / "c")


def test_auto_mode_without_boxes_is_refused(records: list[ImageRecord], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs the boxes that a U-Net found"):
        open_cache(records, CROP, Mode.AUTO_ROI, digest="d", cache_dir=tmp_path / "c")


def test_disk_without_room_is_said_before_decoding(
    records: list[ImageRecord], reads: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 100, 100))
    with pytest.raises(StoreError, match=r"MiB are free; make room or set WSUS_CACHE_DIR"):
        open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=tmp_path / "c")
    assert reads == []


def test_cache_folder_that_cannot_be_made_is_named(records: list[ImageRecord], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"file.*cannot be written.*WSUS_CACHE_DIR"):
        open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=tmp_path / "file" / "c")
