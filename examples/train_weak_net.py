"""Train one weakly-supervised network, score patients that it never saw, write a bundle. No Ray.

python examples/train_weak_net.py --out bundle                     # on phantoms, a minute or so
python examples/train_weak_net.py --out bundle --images DIR        # DIR holds benign/ and malignant/
python examples/train_weak_net.py --out bundle --images DIR/manifest.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from wsus.data.cache import open_cache
from wsus.data.manifest import Manifest
from wsus.data.roi import CropConfig
from wsus.data.sources import read_source
from wsus.data.sources.phantom import PhantomConfig
from wsus.data.sources.phantom_set import make_phantom_set
from wsus.data.splits import SplitConfig, make_splits
from wsus.errors import WsusError
from wsus.evaluation.auc import auc_with_interval
from wsus.inference.predict import Predictor
from wsus.inference.scoring import score_records
from wsus.models.bundle import ModelCard, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.training.batches import LabelledImages
from wsus.training.classifier import Fit
from wsus.training.config import TrainConfig
from wsus.types import ImageRecord, Mode, Split


def main() -> int:
    """Read, divide, train, write, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder with benign/ and malignant/, or a manifest; phantoms by default")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder, which must not exist yet")
    parser.add_argument("--backbone", default="resnet34")
    parser.add_argument("--width", type=float, default=0.125, help="of the channel counts; 1 for the published network")
    parser.add_argument("--size", type=int, default=96, help="side of the network's input in pixels; 224 in the paper")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--internal", type=int, default=25, help="patients per class that are kept for scoring")
    parser.add_argument("--phantoms", type=int, default=100, help="phantom patients per class, without --images")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.out.exists():
        parser.error(f"{asked.out} exists already; nothing is overwritten")
    with TemporaryDirectory() as scratch:
        try:
            manifest = read(asked.images, Path(scratch) / "phantoms", asked.phantoms)
            train(manifest, asked)
        except WsusError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status
    return 0


def read(images: Path | None, phantom_folder: Path, patients_per_class: int) -> Manifest:
    """The images of a class folder or a manifest, or phantoms where none are named."""
    if images is None:
        return make_phantom_set(phantom_folder, [PhantomConfig(patients_per_class=patients_per_class)])
    return read_source("manifest" if images.suffix == ".csv" else "class-folders", images).manifest


def train(manifest: Manifest, asked: argparse.Namespace) -> None:
    """Train on three fifths or so of the patients, choose the epoch on a development split, score the internal set once."""
    splits = SplitConfig(train_per_class=None, internal_per_class=asked.internal, development_fraction=0.2, seed=asked.seed)
    divided = make_splits(manifest, None, splits)
    crop = CropConfig(size_px=asked.size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(asked.seed)
    net = CamNet(NetConfig(backbone=asked.backbone, width=asked.width))
    config = TrainConfig(epochs=asked.epochs, batch_size=16, lr=4e-3, schedule="one_cycle")
    digest = divided.digest()
    training, development = (labelled(divided.by_split(s), crop, digest, device) for s in (Split.TRAIN, Split.DEVELOPMENT))
    print(f"{len(training)} training and {len(development)} development images, {asked.backbone} on {device}")
    fit = Fit(net, training, development, config, seed=asked.seed, device=device)
    for report in fit:
        print(f"epoch {report.epoch}: loss {report.train_loss:.3f}, development AUC {report.development_auc:.3f}", flush=True)

    card = ModelCard(name="example-weak", net=net.config, mode=Mode.WEAK, crop=crop, training={"manifest_digest": digest})
    write_bundle(asked.out, card, fit.best_net())
    rows = [row for row, _ in score_records(Predictor(read_bundle(asked.out)), divided.by_split(Split.INTERNAL))]
    found = auc_with_interval([row["label"] for row in rows], [row["pom"] for row in rows])
    low, high = found.ci_score
    print(f"internal AUC {found.auc:.3f} ({low:.3f} to {high:.3f}, Newcombe) on {len(rows)} images; bundle in {asked.out}")


def labelled(records: Sequence[ImageRecord], crop: CropConfig, digest: str, device: torch.device) -> LabelledImages:
    """Network inputs with their labels, decoded once per machine."""
    inputs = open_cache(records, crop, Mode.WEAK, digest=digest)
    labels = [record.label for record in records if record.label is not None]
    return LabelledImages.take(inputs.images_NHW, inputs.rows(records), labels, device)


if __name__ == "__main__":
    raise SystemExit(main())
