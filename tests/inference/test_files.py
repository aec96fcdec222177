"""Overlays that do not overwrite each other, files that cannot be used and do not stop the others, regions by number."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from dicom_files import dicom, region, speckle
from PIL import Image
from typer.testing import CliRunner

from wsus.cli import app
from wsus.data.roi import CropConfig
from wsus.errors import ImageError
from wsus.inference.files import overlay_names, predict_files
from wsus.models.bundle import ModelCard, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import Mode

NET = NetConfig(backbone="vgg16", width=0.125)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = CamNet(NET).eval()
    folder = tmp_path_factory.mktemp("files") / "bundle"
    write_bundle(folder, ModelCard(name="tiny", net=NET, mode=Mode.WEAK, crop=CropConfig(size_px=32)), net)
    return folder


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(speckle(seed=seed)).save(path, "PNG")
    return path


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["a/scan.png"], ["scan-cam.png"]),
        (["a/scan.png", "b/other.png"], ["scan-cam.png", "other-cam.png"]),
        (["a/scan.png", "a/scan.dcm"], ["scan.png-cam.png", "scan.dcm-cam.png"]),
        (["a/scan.png", "b/scan.png"], ["a-scan.png-cam.png", "b-scan.png-cam.png"]),
        (["p/a/scan.png", "q/a/scan.png"], ["p-a-scan.png-cam.png", "q-a-scan.png-cam.png"]),
        (["a/1.2.840.1", "a/1.2.840.2"], ["1.2.840.1-cam.png", "1.2.840.2-cam.png"]),
        (["a/scan.png", "a/SCAN.PNG"], ["scan.png-cam.png", "SCAN.PNG-2-cam.png"]),
        (["a/scan.png", "a/scan.png"], ["a-scan.png-cam.png", "a-scan.png-2-cam.png"]),
    ],
)
def test_no_overlay_has_the_name_of_another(images: list[str], names: list[str]) -> None:
    found = overlay_names([(Path(image), 0, 1) for image in images])
    assert len({name.casefold() for name in found}) == len(images)
    if images[-1] != "a/SCAN.PNG":
        assert found == names


def test_frames_of_equal_names_are_told_apart_too() -> None:
    clips = [(Path(folder) / "clip.dcm", frame, 2) for folder in ("a", "b") for frame in (0, 1)]
    assert len(set(overlay_names(clips))) == 4
    assert overlay_names(clips[:2]) == ["clip-0-cam.png", "clip-1-cam.png"]


def test_two_images_of_one_name_give_two_overlays(bundle: Path, tmp_path: Path) -> None:
    images = [picture(tmp_path / "a" / "scan.png", 1), picture(tmp_path / "b" / "scan.png", 2)]
    answers = predict_files(images, str(bundle), overlay_dir=tmp_path / "out")
    files = [Path(answer["overlay"]) for answer in answers]
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    assert files[0].read_bytes() != files[1].read_bytes()


def test_one_bad_file_stops_a_batch_unless_it_may_be_skipped(bundle: Path, tmp_path: Path) -> None:
    good, bad, missing = picture(tmp_path / "good.png"), tmp_path / "bad.png", tmp_path / "gone.png"
    bad.write_bytes(b"text")
    with pytest.raises(ImageError, match=r"bad\.png: not an image"):
        predict_files([good, bad], str(bundle))

    asked = ["predict", str(bad), str(good), str(missing), "--store", str(bundle), "--skip-bad"]
    printed = CliRunner().invoke(app, asked)
    assert printed.exit_code == 0
    assert "good.png  POM" in printed.output
    assert "not used: " in printed.output
    document = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [Path(answer["image"]).name for answer in document["predictions"]] == ["good.png"]
    assert [(Path(one["image"]).name, one["reason"]) for one in document["not_used"]] == [
        ("bad.png", "unsupported_format"),
        ("gone.png", "not_found"),
    ]
    assert CliRunner().invoke(app, ["predict", str(bad), "--store", str(bundle), "--skip-bad"]).exit_code == 2


def test_a_region_is_chosen_on_the_command_line(bundle: Path, tmp_path: Path) -> None:
    two = [region((0, 0, 40, 60)), region((40, 0, 80, 60))]
    (tmp_path / "dual.dcm").write_bytes(dicom(speckle(), SequenceOfUltrasoundRegions=two))
    asked = ["predict", str(tmp_path / "dual.dcm"), "--store", str(bundle), "--json"]
    first, second = (json.loads(CliRunner().invoke(app, [*asked, *more]).stdout) for more in ([], ["--region", "1"]))
    assert first["predictions"][0]["region_xyxy_px"] == [0, 0, 40, 60]
    assert any("2 B-mode regions" in warning for warning in first["predictions"][0]["warnings"])
    assert second["predictions"][0]["region_xyxy_px"] == [40, 0, 80, 60]


def test_odd_names_are_printed_in_one_line(bundle: Path, tmp_path: Path) -> None:
    picture(tmp_path / "with\nbreak.png")
    os.rename(picture(tmp_path / "x.png"), os.fsencode(tmp_path) + b"/latin\xe9.png")
    images = [str(path) for path in tmp_path.iterdir()]
    printed = CliRunner().invoke(app, ["predict", *images, "--store", str(bundle), "--overlay", str(tmp_path / "out")])
    assert printed.exit_code == 0
    assert sum("POM" in line for line in printed.stdout.splitlines()) == 2
    assert len(list((tmp_path / "out").iterdir())) == 2
