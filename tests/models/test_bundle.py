"""A bundle comes back as it was written, and is refused where anything about it is not right."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from wsus.data.roi import CropConfig
from wsus.errors import BundleError, StoreError
from wsus.models.bundle import ModelCard, extend_bundle, read_bundle, read_card, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.nets.config import MapConfig
from wsus.nets.unet import UNet, UNetConfig
from wsus.storage import SUMS, sums_of
from wsus.training.segmenter import SegmenterConfig
from wsus.types import Mode

NET = NetConfig(backbone="vgg16", width=0.125, head="class_maps", stride=16)
SEGMENTER = SegmenterConfig(net=UNetConfig(base_channels=2, depth=2), crop=CropConfig(size_px=32))
CARD = ModelCard(
    name="vgg16-weak",
    net=NET,
    mode=Mode.WEAK,
    crop=CropConfig(size_px=64, fit="stretch"),
    cam_threshold=0.4,
    operating_point=0.35,
    training={"study": "quick", "seed": 3},
    figures={"development_auc": 0.9},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of a weak model."""
    write_bundle(tmp_path / "bundle", CARD, CamNet(NET))
    return tmp_path / "bundle"


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the card and its digest: what an honest but other version would write."""
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))
    (folder / SUMS).write_text(sums_of(folder))


def test_round_trip_keeps_card_and_weights(tmp_path: Path) -> None:
    net = CamNet(NET).eval()
    write_bundle(tmp_path / "b", CARD, net)
    bundle = read_bundle(tmp_path / "b")

    assert bundle.card == CARD == read_card(tmp_path / "b")
    assert bundle.unet is None
    x = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        assert torch.equal(bundle.net(x).cam_BChw, net(x).cam_BChw)
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"model.safetensors", "card.json", SUMS}


def test_round_trip_with_a_segmenter(tmp_path: Path) -> None:
    unet, card = UNet(SEGMENTER.net).eval(), replace(CARD, mode=Mode.AUTO_ROI, segmenter=SEGMENTER)
    write_bundle(tmp_path / "b", card, CamNet(NET), unet)
    bundle = read_bundle(tmp_path / "b")

    assert bundle.card == card
    assert bundle.unet is not None
    x = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(bundle.unet(x), unet(x))


def test_digest_names_weights_and_card(tmp_path: Path) -> None:
    net = CamNet(NET)
    write_bundle(tmp_path / "a", CARD, net)
    write_bundle(tmp_path / "b", CARD, net)
    write_bundle(tmp_path / "c", replace(CARD, operating_point=0.5), net)
    same, again, other = (read_bundle(tmp_path / name) for name in "abc")
    assert same.digest == again.digest != other.digest
    assert same.model_id == f"vgg16-weak@{same.digest[:12]}"


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
def test_changed_file_is_refused(name: str, folder: Path) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name}: SHA-256 is .*, expected .*do not use it"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
def test_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: missing, although SHA256SUMS names it"):
        read_bundle(folder)


def test_what_is_loaded_is_what_was_verified(folder: Path) -> None:
    """A file that changes after the bundle was read is refused all the same."""
    bundle = read_bundle(folder)
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"model\.safetensors: SHA-256 is .*, expected .*do not use it"):
        _ = bundle.net


def test_folder_that_is_gone_is_named(folder: Path) -> None:
    bundle = read_bundle(folder)
    shutil.rmtree(folder)
    with pytest.raises(BundleError, match=r"model\.safetensors: missing"):
        _ = bundle.net


def test_extended_bundle_keeps_the_weights_and_takes_card_and_files(folder: Path, tmp_path: Path) -> None:
    source = read_bundle(folder)
    extend_bundle(source, tmp_path / "more", replace(CARD, figures={"auc": 0.8}), {"extra.bin": b"1"})
    extended = read_bundle(tmp_path / "more")
    assert extended.card.figures == {"auc": 0.8}
    assert extended.read_bytes("extra.bin") == b"1"
    assert extended.read_bytes("model.safetensors") == source.read_bytes("model.safetensors")
    assert source.digest != extended.digest


def test_folder_without_digests_is_no_bundle(folder: Path) -> None:
    (folder / SUMS).unlink()
    with pytest.raises(BundleError, match="no SHA256SUMS, so this is not complete"):
        read_bundle(folder)


def test_digests_must_name_the_weights(folder: Path) -> None:
    lines = (folder / SUMS).read_text().splitlines()
    (folder / SUMS).write_text("\n".join(line for line in lines if "model" not in line))
    with pytest.raises(BundleError, match=r"does not name model\.safetensors"):
        read_bundle(folder)


@pytest.mark.parametrize("line", ["", "no digest", f"{'0' * 64}  ../outside", f"{'0' * 64}  /etc/passwd"])
def test_digests_that_are_none_are_refused(line: str, folder: Path) -> None:
    (folder / SUMS).write_text(f"{line}\n")
    with pytest.raises(BundleError, match=r"SHA256SUMS (holds the line|does not name)"):
        read_bundle(folder)


def test_digests_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / SUMS).write_bytes(b"\xff\xfe\x80" * 40)
    with pytest.raises(BundleError, match="SHA256SUMS is not text"):
        read_bundle(folder)


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_unknown_schema_is_refused(version: object, folder: Path) -> None:
    rewritten(folder, lambda card: card.update(schema_version=version))
    with pytest.raises(BundleError, match=rf"card\.json: schema_version {version!r}; this version reads 1 and 2"):
        read_bundle(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "blue"},
        {"mode": "strong"},
        {"net": {"backbone": "vgg16", "stride": 8}},
        {"crop": {"size_px": 224, "rotate": True}},
        {"segmenter": {"net": {}}},
    ],
)
def test_unknown_settings_are_refused(change: dict[str, Any], folder: Path) -> None:
    rewritten(folder, lambda card: card.update(change))
    with pytest.raises(BundleError, match="holds a setting that this version does not know"):
        read_bundle(folder)


def test_missing_setting_is_refused(folder: Path) -> None:
    rewritten(folder, lambda card: card.pop("crop"))
    with pytest.raises(BundleError, match=r"a setting that this version does not know \('crop'\)"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["{not json", "[1, 2]"])
def test_card_that_is_none_is_refused(text: str, folder: Path) -> None:
    (folder / "card.json").write_text(text)
    (folder / SUMS).write_text(sums_of(folder))
    with pytest.raises(BundleError, match=r"card\.json: not (JSON|a model card)"):
        read_bundle(folder)


def test_weights_of_another_architecture_are_refused(folder: Path) -> None:
    rewritten(folder, lambda card: card["net"].update(width=0.25))
    with pytest.raises(BundleError, match=r"model\.safetensors: the weights do not fit the card's architecture"):
        _ = read_bundle(folder).net


def test_weights_in_another_format_are_refused(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    (folder / SUMS).write_text(sums_of(folder))
    with pytest.raises(BundleError, match=r"model\.safetensors: the weights do not fit"):
        _ = read_bundle(folder).net


def test_weights_with_too_few_tensors_are_refused(folder: Path) -> None:
    save_file({"linear.weight": torch.zeros(2, 2, 1, 1)}, folder / "model.safetensors")
    (folder / SUMS).write_text(sums_of(folder))
    with pytest.raises(BundleError, match=r"(?s)the weights do not fit.*Missing key"):
        _ = read_bundle(folder).net


def test_unet_belongs_to_the_automatic_mode_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exactly where its mode is auto_roi; got mode weak"):
        write_bundle(tmp_path / "b", CARD, CamNet(NET), UNet(SEGMENTER.net))
    with pytest.raises(ValueError, match="exactly where its mode is auto_roi; got mode auto_roi"):
        write_bundle(tmp_path / "b", replace(CARD, mode=Mode.AUTO_ROI, segmenter=SEGMENTER), CamNet(NET))
    assert not (tmp_path / "b").exists()


def test_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wsus.models.bundle.sums_of", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_bundle(tmp_path / "b", CARD, CamNet(NET))
    assert list(tmp_path.iterdir()) == []


def test_card_of_an_older_version_reads_maps_as_the_paper_does(folder: Path) -> None:
    def older(card: dict[str, Any]) -> None:
        del card["map"], card["cam_threshold_from"]

    rewritten(folder, older)
    assert read_card(folder).map == MapConfig()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"operating_point": float("nan")}, "NaN is no number"),
        ({"operating_point": float("inf")}, "Infinity is no number"),
        ({"operating_point": -0.1}, "operating_point must lie in"),
        ({"operating_point": 7}, "operating_point must lie in"),
        ({"operating_point": "0.5"}, "does not know"),
        ({"operating_point": None}, "does not know"),
        ({"cam_threshold": 0}, "cam_threshold must lie in"),
        ({"name": "../../etc/passwd"}, "a card's name has"),
        ({"name": "a\nb"}, "a card's name has"),
        ({"name": "x" * 1000}, "a card's name has"),
        ({"name": 7}, "does not know"),
        ({"self_test_images": 10**9}, "self_test_images must lie in"),
        ({"figures": {"auc": float("nan")}}, "NaN is no number"),
        ({"crop": {"size_px": 100_000, "margin_px": 30, "fit": "pad"}}, "size_px must be at most"),
        ({"guard": {"threshold": -1, "share": 0.99, "training_images": 1, "development_images": 1}}, "a guard has"),
        ({"net": 7}, "does not know"),
        ({"net": {"backbone": "vgg16", "attention": {"channels": 10**9}}}, "channels and gate of 1 to"),
    ],
)
def test_absurd_values_of_a_card_are_refused(folder: Path, change: dict[str, Any], words: str) -> None:
    rewritten(folder, lambda card: card.update(change))
    with pytest.raises(BundleError, match=words):
        read_bundle(folder)


def test_a_card_that_nests_without_end_is_refused(folder: Path) -> None:
    (folder / "card.json").write_text("[" * 200_000)
    (folder / SUMS).write_text(sums_of(folder))
    with pytest.raises(BundleError, match="not JSON"):
        read_bundle(folder)


def test_links_pipes_folders_and_large_or_many_files_are_refused(folder: Path, tmp_path: Path) -> None:
    def refused(words: str) -> None:
        with pytest.raises(BundleError, match=words):
            read_bundle(folder)

    sums = (folder / SUMS).read_text()
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "elsewhere").write_bytes(whole)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    refused("a link, or no file")
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    refused("a link, or no file")
    (folder / "model.safetensors").unlink()
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(5 * 2**30)  # holes: nothing is written
    refused("at most 4,294,967,296 are read")
    (folder / "model.safetensors").write_bytes(whole)
    assert read_bundle(folder)
    (folder / SUMS).write_text(sums + f"{'0' * 64}  sub/model.safetensors\n")
    refused("lie in its folder itself")
    (folder / SUMS).write_text(sums + "".join(f"{'0' * 64}  {number}\n" for number in range(40)))
    refused("names 42 files")
    (folder / SUMS).write_text(sums + f"{'0' * 64}  x\n" * 2000)
    refused("bytes; a bundle's has at most")
