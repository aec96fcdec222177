"""The two halves of very many images' way: what comes out is what `wsus predict` says of each."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from dicom_files import dicom, speckle
from PIL import Image

from wsus.data.roi import CropConfig
from wsus.errors import ConfigError, DataError
from wsus.inference.bulk import SCHEMA, Images, answers, as_csv, as_parquet, decoded, find_images
from wsus.inference.files import predict_files
from wsus.inference.predict import Predictor
from wsus.models.bundle import Bundle

CROP = CropConfig(size_px=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, a clip of two frames, a broken one, and what is no image."""
    (tmp_path / "sub").mkdir()
    Image.fromarray(speckle(seed=1)).save(tmp_path / "a.png")
    (tmp_path / "sub/1.2.3").write_bytes(dicom(speckle(seed=2)))
    Image.fromarray(speckle(seed=3)).save(tmp_path / "clip.tif", save_all=True, append_images=[Image.fromarray(speckle(seed=4))])
    (tmp_path / "broken.png").write_bytes(b"text")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def rows_of(images: Images, predictor: Predictor, *, all_frames: bool = False) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name in images.names:
        ready = decoded(images, name, CROP, all_frames=all_frames, keep_pixels=False)
        rows += answers(predictor, ready) if isinstance(ready, list) else [ready]
    return rows


def test_every_row_is_what_predict_says_and_a_bad_file_is_a_row_with_its_reason(folder: Path, bundle: Bundle) -> None:
    images = find_images(str(folder))
    assert (images.names, images.passed_over) == (("a.png", "broken.png", "clip.tif", "sub/1.2.3"), 1)
    rows = rows_of(images, Predictor(bundle))
    paths = [folder / name for name in images.names]
    expected = {Path(one["image"]).name: one for one in predict_files(paths, str(bundle.folder), skip_bad=True)}
    for row in rows:
        theirs = expected[Path(str(row["image"])).name]
        if "error" in theirs:
            assert row["reason"] == theirs["reason"]
            continue
        assert row.pop("pom") == pytest.approx(theirs.pop("pom"), abs=1e-6)
        assert row | {"image": theirs["image"]} == theirs
    assert [row.get("reason") for row in rows] == [None, "unsupported_format", "frame_needed", None]
    assert len(rows_of(images, Predictor(bundle), all_frames=True)) == 5


def test_parquet_and_csv_hold_the_same_and_lists_are_json(folder: Path, bundle: Bundle) -> None:
    rows = rows_of(find_images(str(folder)), Predictor(bundle))
    content = as_parquet(rows)
    table = pd.read_parquet(io.BytesIO(content))
    assert list(table.columns) == SCHEMA.names
    assert table["pom"].notna().sum() == 2
    flat = list(csv.DictReader(io.StringIO(as_csv(content, header=True).decode())))
    assert [json.loads(row["boxes_xyxy_px"]) for row in flat if row["pom"]] == [
        row["boxes_xyxy_px"] for row in rows if "pom" in row
    ]
    assert as_csv(content, header=False).decode().count("\n") == len(rows)


def test_maps_are_drawn_into_a_place_that_no_name_leaves(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    images = Images(root=str(folder / "sub"), names=("../a.png",))
    ready = decoded(images, "../a.png", CROP, all_frames=False, keep_pixels=True)
    assert isinstance(ready, list)
    (answer,) = answers(Predictor(bundle), ready, overlays=str(tmp_path / "maps"))
    assert answer["overlay"] == str(tmp_path / "maps" / "a.png-cam.png")
    assert Image.open(answer["overlay"]).size == Image.open(folder / "a.png").size


def test_a_table_names_the_images_and_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("scan;filename\n1;a.png\n2;sub/1.2.3\n3;gone.png\n")
    images = find_images(str(table))
    assert images.names == ("a.png", "sub/1.2.3", "gone.png")
    gone = decoded(images, "gone.png", CROP, all_frames=False, keep_pixels=False)
    assert isinstance(gone, dict)
    assert gone["reason"] == "not_found"
    with pytest.raises(ConfigError, match=r"no column picture; it has scan, filename: name the one .* with --column"):
        find_images(str(table), "picture")
    with pytest.raises(DataError, match="nowhere: no such folder or table"):
        find_images(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="none of its 0 files is an image"):
        find_images(str(tmp_path / "empty"))
    with pytest.raises(DataError, match="for one image use `wsus predict`"):
        find_images(str(folder / "a.png"))
