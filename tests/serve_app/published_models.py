"""A store with tiny published models, and images for them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from serve_app.exchange import View
from wsus.data.roi import CropConfig, extract, whole_image
from wsus.evaluation.recalibration import NotSure, Scaling
from wsus.models.bundle import ModelCard, read_bundle, write_bundle
from wsus.models.registry import bundle_key, publish_model
from wsus.models.sites import SiteProfile, write_profile
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


def add_site(store: Store, site: str, *, version: int = 1, name: str = "tiny", slope: float = 0.5) -> SiteProfile:
    """Publish a site's profile of a version, as `wsus calibrate` would."""
    with store.fetched(bundle_key(name, version)) as folder:
        digest = read_bundle(folder).digest
    share = {"value": 0.9, "ci": [0.8, 0.95], "x": 36, "n": 40}
    before = {"auc": share, "slope": 0.6, "intercept": -0.4, "in_the_large": -0.5, "brier": 0.2}
    before |= {"sensitivity": share, "specificity": share}
    profile = SiteProfile(
        site=site,
        bundle_digest=digest,
        scaling=Scaling(method="platt", slope=slope, intercept=-0.3),
        operating_point=0.25,
        rule="sensitivity:0.95",
        prevalence=0.3,
        not_sure=NotSure(alpha=0.1, malignant_from=0.2, benign_to=0.9),
        images={"name": "theirs", "n": 80, "n_malignant": 40, "n_patients": 70},
        before=before,
        after=before | {"slope": 0.98, "sensitivity": share | {"value": 0.95}},
    )
    write_profile(profile, (store, name, version))
    return profile


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
