"""A model knows the files that it was trained on, whatever they are called."""

from pathlib import Path

import pytest
import torch

from wsus.data.roi import CropConfig
from wsus.errors import BundleError, DataError
from wsus.models.bundle import Bundle, ModelCard, read_bundle, write_bundle
from wsus.models.seen import SEEN, count_seen, dump_seen, file_digests
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import ImageRecord, Mode, Split


def record(path: Path, content: bytes, split: Split | None = None) -> ImageRecord:
    path.write_bytes(content)
    return ImageRecord(image_id=path.stem, patient_id=path.stem, path=path, label=0, split=split)


def bundle_with(folder: Path, seen: bytes | None) -> Bundle:
    torch.manual_seed(0)
    net = CamNet(NetConfig(backbone="resnet34", width=0.125))
    card = ModelCard(name="tiny", net=net.config, mode=Mode.WEAK, crop=CropConfig(size_px=64))
    write_bundle(folder, card, net, more={} if seen is None else {SEEN: seen})
    return read_bundle(folder)


def test_files_are_known_by_content_and_split(tmp_path: Path) -> None:
    study = [
        record(tmp_path / "a.png", b"first", Split.TRAIN),
        record(tmp_path / "b.png", b"second", Split.DEVELOPMENT),
        record(tmp_path / "c.png", b"third", Split.EXTERNAL),
    ]
    bundle = bundle_with(tmp_path / "bundle", dump_seen(study))
    renamed = [record(tmp_path / f"{i}.png", content) for i, content in enumerate((b"first", b"second", b"third", b"fourth"))]

    assert count_seen(bundle, file_digests(renamed)) == {"train": 1, "development": 1}
    assert count_seen(bundle, file_digests(renamed[2:])) == {}


def test_an_older_bundle_does_not_say(tmp_path: Path) -> None:
    assert count_seen(bundle_with(tmp_path / "bundle", None), ["0" * 16]) is None


def test_a_strange_line_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds the line 'nonsense'"):
        count_seen(bundle_with(tmp_path / "bundle", b"nonsense\n"), [])
    with pytest.raises(DataError, match=r"gone\.png: cannot be read"):
        file_digests([ImageRecord(image_id="x", patient_id="x", path=tmp_path / "gone.png")])
