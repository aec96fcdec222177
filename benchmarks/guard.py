"""What does the guard flag? Shares of images, by kind, that get `unlike the training images`, or a warning of colours.

    python benchmarks/guard.py [--bus-bra DIR --busi DIR] [--backbone efficientnet_lite0] [--epochs 3] [--per-class 300]

Trains one weak network on BUS-BRA, fits its guard, and sends every picture as a PNG through decoding and the inference path,
as an upload. Beside real images of both hospitals there are pictures made of them or of nothing: Doppler boxes, pages of text,
photographs (those that come with scikit-learn and matplotlib), noise, gradients, turned and blurred images. About 10 minutes
on two cores with the defaults. Without folders, those below the one that WSUS_TEST_DATA names.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import matplotlib.cbook
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images

from tune_jobs.data import load_data
from tune_jobs.recipes import make_config
from tune_jobs.study import StudyConfig, Trial
from tune_jobs.training import TrialContext, make_fit, trial_inputs
from wsus.data.images import decode_image
from wsus.data.sources.phantom import PhantomConfig, make_patient
from wsus.data.splits import SplitConfig
from wsus.errors import ImageError
from wsus.inference.engines.torch import TorchEngine
from wsus.inference.guard import dump_guard, fit_guard
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import GUARD, ModelCard, read_bundle, write_bundle
from wsus.types import Mode, Split

Pixels = NDArray[np.uint8]  # (H, W) or (H, W, 3)
MOST = 200  # images of a kind
WORDS = ("report", "findings", "left", "breast", "hypoechoic", "mass", "measures", "mm", "posterior", "assessment", "with")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("WSUS_TEST_DATA")
    parser.add_argument("--bus-bra", required=not data, default=f"{data}/bus-bra", metavar="DIR")
    parser.add_argument("--busi", required=not data, default=f"{data}/busi", metavar="DIR")
    parser.add_argument("--backbone", default="efficientnet_lite0", help="this one has ImageNet weights without a network")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--per-class", type=int, default=300, help="training images of each class")
    asked = parser.parse_args()
    config = study_config(asked)
    context = TrialContext(config=config, data=load_data(config.data), boxes=None)
    with tempfile.TemporaryDirectory(prefix="wsus-bench-") as folder:
        predictor = trained(context, Path(folder) / "bundle")
        assert predictor.guard is not None
        header = f"{'kind':34} {'images':>6} {'unlike':>7} {'coloured':>9} {'median score':>13}"
        print(f"\n{header}   (threshold {predictor.guard.threshold:.2f})")
        for kind, pictures in kinds(context, Path(asked.busi)):
            print(f"{kind:34} {measured(predictor, pictures)}", flush=True)


def study_config(asked: argparse.Namespace) -> StudyConfig:
    """The recipe `open` with one weak cell and fewer images."""
    config = make_config("open", {"bus-bra": asked.bus_bra, "busi": asked.busi}, name="guard")
    splits = SplitConfig(train_per_class=asked.per_class, internal_per_class=100, external_per_class=100)
    train = replace(config.train, epochs=asked.epochs, batch_size=16, lr=5e-4)
    weights = "imagenet" if asked.backbone == "efficientnet_lite0" else "none"
    data = replace(config.data, splits=splits)
    return replace(config, backbones=(asked.backbone,), modes=(Mode.WEAK,), data=data, train=train, weights=weights)


def trained(context: TrialContext, folder: Path) -> Predictor:
    """Train, fit the guard, write the bundle and read it again."""
    trial = Trial(cell=context.config.cells()[0], seed=0, sample=0, hyper={})
    fit = make_fit(context, trial, torch.device("cpu"))
    for report in fit:
        print(f"epoch {report.epoch}: AUC on the development split {report.development_auc:.3f}", flush=True)
    net = fit.best_net()
    images_NHW, count = trial_inputs(context, Mode.WEAK).images_NHW, len(context.data.split(Split.TRAIN))
    fitted = fit_guard(TorchEngine(net), images_NHW[:count], images_NHW[count:])
    assert fitted is not None
    guard, note = fitted
    card = ModelCard(name="guard", net=net.config, mode=Mode.WEAK, crop=context.config.crop, guard=note)
    write_bundle(folder, card, net, more={GUARD: dump_guard(guard)})
    return Predictor(read_bundle(folder))


def measured(predictor: Predictor, pictures: Iterable[Pixels]) -> str:
    """How many there were, which shares were flagged, and the median score; or why they are refused."""
    scores, coloured = [], []
    for pixels in list(pictures)[:MOST]:
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        try:
            image = decode_image(content.getvalue(), name="picture")
        except ImageError as error:
            return f"refused: {error}"
        (prediction,) = predictor.predict([DecodedImage(image_id="picture", image_HW=image.grey_HW)])
        scores.append((prediction.ood_score, prediction.unlike_training))
        coloured.append(any("coloured" in warning for warning in image.warnings))
    median = np.median([score for score, _ in scores])
    return f"{len(scores):6d} {np.mean([flag for _, flag in scores]):7.1%} {np.mean(coloured):9.1%} {median:13.2f}"


def kinds(context: TrialContext, busi: Path) -> Iterable[tuple[str, Iterable[Pixels]]]:
    """Names of kinds of pictures, with the pictures."""
    rng = np.random.default_rng(0)
    real = {split: [_pixels(record.path) for record in context.data.split(split)[:MOST]] for split in Split}
    usual = real[Split.DEVELOPMENT][:80]
    photographs = [
        *load_sample_images().images,
        _pixels(Path(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))),
    ]
    yield "training", real[Split.TRAIN]
    yield "development (threshold at 99 %)", real[Split.DEVELOPMENT]
    yield "same hospital, not seen", real[Split.INTERNAL]
    yield "another hospital", real[Split.EXTERNAL]
    yield (
        "another hospital, no lesion",
        [_pixels(path) for path in sorted((busi / "normal").glob("*.png")) if "mask" not in path.name],
    )
    yield "colour Doppler box, in colour", [doppler(image, rng) for image in usual]
    yield "colour Doppler box, stored as grey", [grey(doppler(image, rng)) for image in usual]
    yield "page of text, dark on light", [page(rng, 250, 10) for _ in range(40)]
    yield "page of text, light on dark", [page(rng, 20, 220) for _ in range(40)]
    yield "photographs and parts of them", [part for image in photographs for part in parts(image, rng)]
    yield "the same, stored as grey", [grey(part) for image in photographs for part in parts(image, rng)]
    yield "noise", [rng.integers(0, 256, (300, 400)).astype(np.uint8) for _ in range(40)]
    yield "smooth noise", [stretched(gaussian_filter(rng.normal(size=(300, 400)), rng.uniform(2, 20))) for _ in range(40)]
    yield "gradients", [stretched(np.add.outer(np.arange(300) * rng.normal(), np.arange(400) * rng.normal())) for _ in range(40)]
    yield "phantoms", phantoms()
    for name, change in CHANGES.items():
        yield f"development, {name}", [change(image) for image in usual]
    yield "all black", [np.zeros((300, 400), np.uint8)]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "upside down": lambda image: np.ascontiguousarray(image[::-1]),
    "turned by 90 degrees": lambda image: np.ascontiguousarray(np.rot90(image)),
    "inverted": lambda image: 255 - image,
    "blurred": lambda image: gaussian_filter(image, 6),
}


def doppler(image_HW: Pixels, rng: np.random.Generator) -> Pixels:
    """A box of flow in red and blue, a third to a half as wide and high as the image, and the bar of colours beside it."""
    height, width = image_HW.shape
    box_h, box_w = (int(side * rng.uniform(0.3, 0.5)) for side in image_HW.shape)
    y, x = rng.integers(0, height - box_h), rng.integers(0, width - box_w)
    flow = gaussian_filter(rng.normal(size=(box_h, box_w)), min(box_h, box_w) / 14)
    flow /= np.abs(flow).max()
    speed = np.abs(flow)
    towards, away = (
        np.stack([220 + 35 * speed, 180 * speed, 0 * flow], -1),
        np.stack([0 * flow, 140 * speed, 200 + 55 * speed], -1),
    )
    colours = np.repeat(image_HW[..., None], 3, axis=2)
    colours[y : y + box_h, x : x + box_w][speed > 0.35] = np.where(flow[..., None] > 0, towards, away)[speed > 0.35]
    picture = Image.fromarray(colours)
    drawing = ImageDraw.Draw(picture)
    drawing.rectangle((x, y, x + box_w, y + box_h), outline="white")
    for row in range(60):
        level = 1 - row / 30
        drawing.line((width - 14, 10 + row, width - 6, 10 + row), fill=(int(255 * max(level, 0)), 40, int(255 * max(-level, 0))))
    return np.asarray(picture)


def page(rng: np.random.Generator, background: int, ink: int) -> Pixels:
    """Lines of words."""
    width, height = (int(side) for side in rng.integers(400, 900, 2))
    size = int(rng.integers(10, 22))
    picture = Image.new("L", (width, height), background)
    drawing, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    for top in range(20, height - 30, int(1.5 * size)):
        drawing.text((20, top), " ".join(rng.choice(WORDS, width // (3 * size))), fill=ink, font=font)
    return np.asarray(picture)


def parts(image: Pixels, rng: np.random.Generator) -> list[Pixels]:
    """A photograph and 25 squares of it."""
    found = [image]
    for side in rng.integers(120, 400, 25):
        top, left = (rng.integers(0, length - side) for length in image.shape[:2])
        found.append(np.ascontiguousarray(image[top : top + side, left : left + side]))
    return found


def phantoms() -> list[Pixels]:
    """The first view of 20 phantoms of each institution."""
    configs = [PhantomConfig(patients_per_class=10, institution=institution, seed=5) for institution in ("A", "B")]
    return [make_patient(config, number).images[0].pixels_HW for config in configs for number in range(20)]


def grey(colours: Pixels) -> Pixels:
    """Without its colours."""
    return np.asarray(Image.fromarray(colours).convert("L"))


def stretched(levels: NDArray[np.floating]) -> Pixels:
    """To the full range of uint8."""
    return ((levels - levels.min()) / (levels.max() - levels.min()) * 255).astype(np.uint8)


def _pixels(path: Path) -> Pixels:
    return np.asarray(Image.open(path))


if __name__ == "__main__":
    main()
