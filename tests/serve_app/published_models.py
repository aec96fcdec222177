"""A store with tiny published models, and images for them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from serve_app.exchange import View
from wsus.data.roi import CropConfig, extract, whole_image
from wsus.models.bundle import ModelCard, write_bundle
from wsus.models.registry import publish_model
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.storage import Store, open_store
from wsus.types import Mode

NET = NetConfig(backbone="vgg16", width=0.125, stride=16)
CROP = CropConfig(size_px=64)
FIGURE = {"value": 0.9, "ci": [0.8, 0.95], "method": "clopper-pearson", "note": None}


def publish(root: Path, name: str = "tiny", *, seed: int = 0, operating_point: float = 0.5, crop: CropConfig = CROP) -> Store:
    """Publish an untrained network of this seed as the next version, with figures as a study would have written them."""
    torch.manual_seed(seed)
    net = CamNet(NET).eval()
    torch.nn.init.normal_(net.linear.weight)
    figures = {"internal": {"operating_point": operating_point, "sensitivity": FIGURE, "specificity": FIGURE}}
    card = ModelCard(name=name, net=NET, mode=Mode.WEAK, crop=crop, operating_point=operating_point, figures=figures)
    store = open_store(root / "store")
    versions = len(list((root / "bundles").glob("*"))) if (root / "bundles").is_dir() else 0
    folder = root / "bundles" / f"{name}-{versions + 1}"
    write_bundle(folder, card, net)
    publish_model(store, name, folder)
    return store


def made_image(seed: int = 0, shape: tuple[int, int] = (90, 120)) -> np.ndarray:
    """Grey noise with a brighter spot."""
    rng = np.random.default_rng(seed)
    pixels_HW = rng.integers(0, 120, shape, dtype=np.uint8)
    pixels_HW[20:50, 30:80] += 100
    return pixels_HW


def seen(image_HW: np.ndarray, crop: CropConfig) -> View:
    """What a network with this crop sees of an image."""
    geometry = whole_image((image_HW.shape[0], image_HW.shape[1]), crop)
    return View(crop=crop, geometry=geometry, pixels_HW=extract(image_HW, geometry))


def png(seed: int = 0, shape: tuple[int, int] = (90, 120)) -> bytes:
    """The same as PNG."""
    stream = io.BytesIO()
    Image.fromarray(made_image(seed, shape)).save(stream, "PNG")
    return stream.getvalue()
