"""What our own machinery does to the modes, before and after: U-Nets, whole-image fallbacks, choice of epoch, early scores.

    python benchmarks/modes.py [--parts unet fallback statistics epochs] [--seeds 5] [--backbones resnet34 googlenet]

Phantoms, networks and sizes of the recipe `quick`: 300 training images, 59 that choose, 100 internal, 100 external.

  unet        changes of the images that a U-Net trains with: flip and gamma alone, or the classifier's own
  fallback    what an auto_roi network says of the same external images with their box and whole, with and without whole
              images in training
  statistics  AUC on the development images at the first epochs, with running batch statistics and with new ones
  epochs      which epoch is kept: the best, the last, the best by the mean of its AUC and the two before (`train.smooth_epochs`
              of 3); AUC on images that chose nothing
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from tune_jobs.data import load_data
from tune_jobs.recipes import make_config
from tune_jobs.rois import Boxes, inputs_with_masks, roi_tasks, with_whole_images
from tune_jobs.study import Cell, StudyConfig, Trial
from tune_jobs.training import TrialContext, make_fit
from wsus.data.cache import open_cache
from wsus.data.images import read_image, read_union_mask
from wsus.data.roi import mask_box
from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.localisation import box_iou
from wsus.nets.cam_net import CamNet
from wsus.training.classifier import Fit, score
from wsus.training.config import NO_AUGMENTATION, AugmentConfig
from wsus.training.segmenter import find_boxes, train_segmenter
from wsus.types import MALIGNANT, ImageRecord, Mode, Split

CPU = torch.device("cpu")
SCORED = (Split.INTERNAL, Split.EXTERNAL)
EARLY = 4  # epochs of the part `statistics`
Aucs = NDArray[np.float64]


class StaleStatistics(Fit):
    """Scored with the running batch statistics, however old."""

    def _refresh_statistics(self, steps: int) -> None:
        pass


def main() -> None:
    """Print the parts that are asked for."""
    parts: dict[str, Callable[[TrialContext, argparse.Namespace], None]] = {
        "unet": unets, "fallback": fallbacks, "statistics": statistics, "epochs": epochs,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backbones", nargs="+", default=["resnet34", "googlenet"])
    asked = parser.parse_args()
    config = make_config("quick", {})
    context = TrialContext(config=config, data=load_data(config.data), boxes=None)
    for part in asked.parts:
        parts[part](context, asked)


def unets(context: TrialContext, asked: argparse.Namespace) -> None:
    """A U-Net of all training patients, asked for the boxes of both scored sets."""
    print("U-Net, changes of its images   seed  set       without a region  mean IoU of boxes (0 without)")
    changes = {"flip and gamma": replace(NO_AUGMENTATION, flip=0.5, gamma=0.4), "the classifier's": context.config.train.augment}
    training = context.data.split(Split.TRAIN)
    for name, augment in changes.items():
        for seed in range(asked.seeds):
            found = boxes_of(context, training, [r for split in SCORED for r in context.data.split(split)], augment, seed)
            for split in SCORED:
                records = context.data.split(split)
                missed = sum(found[record.image_id] is None for record in records)
                ious = [box_iou(found[record.image_id], mask_box(mask_of(record))) for record in records]
                print(f"{name:30} {seed:4}  {split:8} {missed:5} of {len(records)}      {np.mean(ious):.3f}", flush=True)


def boxes_of(
    context: TrialContext, train: tuple[ImageRecord, ...], find: list[ImageRecord], augment: AugmentConfig, seed: int
) -> Boxes:
    """The boxes that a U-Net of some images gives others."""
    config, inputs = context.config.segmenter, inputs_with_masks(context.config, context.data)
    assert inputs.masks_NHW is not None
    rows, asked = inputs.rows(train), inputs.rows(find)
    net = train_segmenter(inputs.images_NHW[rows], inputs.masks_NHW[rows], config, seed=seed, device=CPU, augment=augment)
    boxes = find_boxes(net, inputs.images_NHW[asked], [inputs.geometries[row] for row in asked], config, device=CPU)
    return {record.image_id: box for record, box in zip(find, boxes, strict=True)}


def mask_of(record: ImageRecord) -> NDArray[np.bool_]:
    """The lesion of one image."""
    return read_union_mask(record.mask_paths, image=read_image(record.path))


def fallbacks(context: TrialContext, asked: argparse.Namespace) -> None:
    """Cross-fitted boxes, then one network per share of whole images in training."""
    boxes: Boxes = {}
    for task in roi_tasks(context.config, context.data):
        boxes |= boxes_of(context, task.train, list(task.find), context.config.train.augment, 0)
    training, external = context.data.split(Split.TRAIN), context.data.split(Split.EXTERNAL)
    labels = np.array([record.label for record in external])
    print(
        "whole images in training  network    seed  mean POM of external images: benign, box -> whole   malignant, box -> whole"
    )
    for share in (0.0, context.config.segmenter.whole_image_share):
        for backbone in asked.backbones:
            for seed in range(asked.seeds):
                given = replace(context, boxes=with_whole_images(boxes, training, share, seed))
                net = trained(given, backbone, Mode.AUTO_ROI, seed).best_net()
                poms = [poms_of(net, context, external, Mode.AUTO_ROI, of) for of in (boxes, dict.fromkeys(boxes))]
                means = [[float(pom[labels == label].mean()) for pom in poms] for label in (0, 1)]
                words = "   ".join(f"{found:.2f} -> {whole:.2f}" for found, whole in means)
                print(f"{share:24.0%}  {backbone:10} {seed:4}  {words}", flush=True)


def statistics(context: TrialContext, asked: argparse.Namespace) -> None:
    """The same weights, early, scored with running statistics and with those taken anew."""
    print("batch statistics  network    seed  " + "".join(f"epoch {epoch + 1}  " for epoch in range(EARLY)) + "development AUC")
    for backbone in asked.backbones:
        for seed in range(asked.seeds):
            for name, kind in (("running", StaleStatistics), ("taken anew", Fit)):
                fit = fit_of(context, backbone, Mode.WEAK, seed)
                fit.__class__ = kind
                aucs = [fit.run_epoch().development_auc for _ in range(EARLY)]
                print(f"{name:16}  {backbone:10} {seed:4}  " + "".join(f"{auc:.3f}    " for auc in aucs), flush=True)


def epochs(context: TrialContext, asked: argparse.Namespace) -> None:
    """AUC on each set after each epoch; then what each rule keeps."""
    found: dict[str, list[Aucs]] = {}
    for backbone in asked.backbones:
        for seed in range(asked.seeds):
            curves = np.array(list(curve(context, backbone, seed)))
            for rule, epoch in rules(curves[:, 0]).items():
                found.setdefault(rule, []).append(curves[epoch])
                print(f"{backbone:10} seed {seed}  {rule:28} epoch {epoch + 1:2}  {words_of(curves[epoch])}", flush=True)
    for rule, aucs in found.items():
        spread = np.std(aucs, axis=0, ddof=1) / np.sqrt(len(aucs))
        print(f"mean of {len(aucs):2}  {rule:28} {words_of(np.mean(aucs, axis=0))}  (standard errors {words_of(spread)})")


def rules(development: Aucs) -> dict[str, int]:
    """Which epoch each rule keeps, counted from 0."""
    smoothed = np.array([development[max(0, epoch - 2) : epoch + 1].mean() for epoch in range(development.size)])
    return {
        "best": int(development.argmax()),
        "last averaged weights": development.size - 1,
        "best by the mean of three": int(smoothed.argmax()),
    }


def words_of(aucs: Aucs) -> str:
    return "  ".join(f"{name} {auc:.3f}" for name, auc in zip(("development", "internal", "external"), aucs, strict=True))


def curve(context: TrialContext, backbone: str, seed: int) -> Iterator[tuple[float, ...]]:
    """AUC on the development, internal and external images after every epoch."""
    fit = fit_of(context, backbone, Mode.WEAK, seed)
    for report in fit:
        scored = []
        for split in SCORED:
            records = context.data.split(split)
            poms = poms_of(fit.scored_net, context, records, Mode.WEAK, None)
            scored.append(auc_with_interval([record.label for record in records], poms).auc)
        yield report.development_auc, *scored


def poms_of(
    net: CamNet, context: TrialContext, records: tuple[ImageRecord, ...], mode: Mode, boxes: Boxes | None
) -> NDArray[np.float64]:
    """Probabilities of malignancy."""
    inputs = open_cache(records, context.config.crop, mode, digest=context.data.digest, boxes=boxes)
    batches = torch.from_numpy(inputs.images_NHW[inputs.rows(records)]).split(64)
    return np.asarray(score(net, batches, CPU).double().softmax(dim=1)[:, MALIGNANT].numpy())


def trained(context: TrialContext, backbone: str, mode: Mode, seed: int) -> Fit:
    """A run to its end."""
    fit = fit_of(context, backbone, mode, seed)
    for _ in fit:
        pass
    return fit


def fit_of(context: TrialContext, backbone: str, mode: Mode, seed: int) -> Fit:
    """A run before its first epoch."""
    config: StudyConfig = replace(context.config, seeds=(seed,))
    cell = Cell(backbone=backbone, mode=mode)
    return make_fit(replace(context, config=config), Trial(cell=cell, seed=seed, sample=0, hyper={}), CPU)


if __name__ == "__main__":
    main()
