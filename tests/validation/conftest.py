"""Labelled folders of phantoms and small networks that were never trained, published in a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wsus.data.roi import CropConfig
from wsus.models.bundle import ModelCard, write_bundle
from wsus.models.registry import publish_model
from wsus.models.seen import SEEN, dump_seen
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.storage import open_store
from wsus.types import ImageRecord, Mode, Split

MakeBundle = Callable[..., Path]


def draw_image(rng: np.random.Generator, label: int) -> np.ndarray:
    """Speckle with a dark blob, larger and darker where it is malignant."""
    image_HW = rng.integers(90, 200, (64, 80)).astype(np.uint8)
    size = 14 + 10 * label
    image_HW[20 : 20 + size, 24 : 24 + size] = rng.integers(1, 70 - 30 * label, (size, size))
    return image_HW


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images in benign/ and malignant/, one class with masks beside."""
    folder, rng = tmp_path_factory.mktemp("hospital") / "our-images", np.random.default_rng(3)
    for label, name in enumerate(("benign", "malignant")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(draw_image(rng, label)).save(folder / name / f"{number}.png")
            mask_HW = np.zeros((64, 80), dtype=np.uint8)
            mask_HW[20 : 34 + 10 * label, 24 : 38 + 10 * label] = 255
            if label:
                Image.fromarray(mask_HW).save(folder / name / f"{number}_mask.png")
    return folder


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """A bundle of a small untrained network; `seen` are the files that it says it was trained on."""

    def make(name: str = "tiny", seed: int = 0, seen: tuple[Path, ...] = (), mode: Mode = Mode.WEAK) -> Path:
        torch.manual_seed(seed)
        net = CamNet(NetConfig(backbone="resnet34", width=0.125)).eval()
        torch.nn.init.normal_(net.linear.weight, std=0.3)
        folder = tmp_path_factory.mktemp("model") / "bundle"
        records = [ImageRecord(image_id=p.stem, patient_id=p.stem, path=p, label=0, split=Split.TRAIN) for p in seen]
        card = ModelCard(name=name, net=net.config, mode=mode, crop=CropConfig(size_px=64))
        write_bundle(folder, card, net, more={SEEN: dump_seen(records)})
        return folder

    return make


@pytest.fixture
def store_address(tmp_path: Path, make_bundle: MakeBundle) -> str:
    """A store with two versions of `tiny` and one of `other`."""
    address = str(tmp_path / "store")
    store = open_store(address)
    publish_model(store, "tiny", make_bundle("tiny", 0))
    publish_model(store, "tiny", make_bundle("tiny", 1))
    publish_model(store, "other", make_bundle("other", 2))
    return address
