"""Automatic regions of interest for all images of a study, cross-fitted over the training patients.

One piece of work per U-Net, so that they can run side by side: fold k is trained on the training patients outside fold
k and asked for the boxes of those inside; the last one is trained on all of them and asked for everybody else.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from tune_jobs.compute import Compute, Meter, together
from tune_jobs.data import StudyData
from tune_jobs.keys import auto_roi_key
from tune_jobs.study import StudyConfig
from wsus.data.cache import CachedInputs, open_cache
from wsus.data.splits import assign_folds
from wsus.errors import MaskError
from wsus.nets.unet import UNet
from wsus.storage import Store
from wsus.training.config import Precision
from wsus.training.memory import give_back_memory
from wsus.training.segmenter import find_boxes, train_segmenter
from wsus.types import BENIGN, MALIGNANT, BoxXyxyPx, ImageRecord, Mode, Split

ALL = "all"  # the U-Net of all training patients
Boxes = dict[str, BoxXyxyPx | None]


@dataclass(frozen=True, kw_only=True)
class RoiTask:
    """One U-Net: the images that train it and the images whose boxes it gives."""

    name: str
    train: tuple[ImageRecord, ...]
    find: tuple[ImageRecord, ...]


def check_masks(config: StudyConfig, data: StudyData) -> None:
    """The mode manual_roi crops every image by its own mask, so each needs one.

    Raises:
        MaskError: images of the study have none; how many of each split, and the first.
    """
    if Mode.MANUAL_ROI not in config.modes:
        return
    by_split = {
        split: [record.image_id for record in data.split(split) if not record.mask_paths]
        for split in (Split.TRAIN, Split.DEVELOPMENT, Split.INTERNAL, Split.EXTERNAL)
    }
    without = {split: names for split, names in by_split.items() if names}
    if without:
        counts = ", ".join(f"{len(names)} of {len(data.split(split))} {split.value}" for split, names in without.items())
        first = next(iter(without.values()))[0]
        total = sum(map(len, without.values()))
        raise MaskError(
            f"the mode manual_roi crops every image by its mask, and {total} image(s) have none ({counts}),"
            f" the first is {first!r}; add mask_path to the manifest, or leave manual_roi out with --modes weak"
        )


def roi_tasks(config: StudyConfig, data: StudyData) -> list[RoiTask]:
    """The U-Nets of a study.

    Raises:
        MaskError: a training image has no mask.
    """
    training = data.split(Split.TRAIN)
    without = [record.image_id for record in training if not record.mask_paths]
    if without:
        raise MaskError(
            f"the mode auto_roi trains a U-Net on masks, and {len(without)} training image(s) have none, the first is "
            f"{without[0]!r}; add mask_path to the manifest, or leave auto_roi out with --modes weak"
        )
    fold_of = assign_folds(training, config.data.splits.folds, config.data.splits.seed)
    tasks = []
    for fold in range(config.data.splits.folds):
        inside = tuple(record for record in training if fold_of[record.patient_id] == fold)
        outside = tuple(record for record in training if fold_of[record.patient_id] != fold)
        tasks.append(RoiTask(name=f"fold{fold}", train=outside, find=inside))
    others = tuple(record for split in (Split.DEVELOPMENT, Split.INTERNAL, Split.EXTERNAL) for record in data.split(split))
    return [*tasks, RoiTask(name=ALL, train=training, find=others)]


def run_roi_task(
    config: StudyConfig,
    data: StudyData,
    task: RoiTask,
    store: Store,
    *,
    device: torch.device,
    meter: Meter,
    precision: Precision = "auto",
) -> None:
    """Train one U-Net and publish its weights and boxes; work that is published already is not done again."""
    key = auto_roi_key(config.name, task.name)
    if store.is_published(key):
        return
    everything = inputs_with_masks(config, data)
    rows = everything.rows(task.train)
    assert everything.masks_NHW is not None
    seed = config.data.splits.seed
    images_NHW, masks_NHW = everything.images_NHW[rows], everything.masks_NHW[rows]
    changes = config.train.augment  # a U-Net meets those that its classifier meets
    net = train_segmenter(images_NHW, masks_NHW, config.segmenter, seed=seed, device=device, precision=precision, augment=changes)
    give_back_memory()
    boxes = _boxes(net, everything, task.find, config, device)
    with tempfile.TemporaryDirectory(prefix="wsus-roi-") as name:
        folder = Path(name)
        weights = {key: value.contiguous() for key, value in net.cpu().state_dict().items()}
        (folder / "segmenter.safetensors").write_bytes(save_safetensors(weights))
        (folder / "boxes.json").write_text(json.dumps(boxes))
        (folder / "compute.json").write_text(json.dumps(meter.lap().to_json()))
        store.publish(folder, key)


def unpublished(store: Store, config: StudyConfig, tasks: Sequence[RoiTask]) -> list[RoiTask]:
    """The tasks whose U-Net is not in the store yet."""
    return [task for task in tasks if not store.is_published(auto_roi_key(config.name, task.name))]


def inputs_with_masks(config: StudyConfig, data: StudyData) -> CachedInputs:
    """The U-Net's inputs, of every image that is trained on or scored."""
    records = [record for record in data.manifest.records if record.split not in (None, Split.UNUSED)]
    return open_cache(records, config.segmenter.crop, Mode.WEAK, digest=data.digest, with_masks=True)


def read_boxes(store: Store, config: StudyConfig, tasks: Sequence[RoiTask]) -> Boxes:
    """All boxes of a study by image id; None where none was found."""
    boxes: Boxes = {}
    for task in tasks:
        found = store.read_json(f"{auto_roi_key(config.name, task.name)}/boxes.json")
        boxes |= {image_id: tuple(box) if box else None for image_id, box in found.items()}
    return boxes


def with_whole_images(boxes: Boxes, training: Sequence[ImageRecord], share: float, seed: int) -> Boxes:
    """The boxes to train classifiers with: a random share of the training images of each class has none.

    Where a U-Net finds nothing, the whole image is what a classifier sees; one that never met any is sure of what it cannot know.
    """
    rng = np.random.default_rng(seed)
    whole: set[str] = set()
    for label in (BENIGN, MALIGNANT):
        ids = sorted(record.image_id for record in training if record.label == label)
        whole |= set(rng.choice(ids, round(share * len(ids)), replace=False).tolist())
    return {image_id: None if image_id in whole else box for image_id, box in boxes.items()}


def read_unet(store: Store, config: StudyConfig) -> UNet:
    """The U-Net of all training patients, which goes into the bundles."""
    net = UNet(config.segmenter.net)
    net.load_state_dict(load_safetensors(store.read_bytes(f"{auto_roi_key(config.name, ALL)}/segmenter.safetensors")))
    return net.eval()


def roi_compute(store: Store, config: StudyConfig, tasks: Sequence[RoiTask]) -> Compute:
    """What all U-Nets together took; those of an older version did not say."""
    notes = [f"{auto_roi_key(config.name, task.name)}/compute.json" for task in tasks]
    return together(Compute.from_json(store.read_json(note)) for note in notes if store.exists(note))


def _boxes(net: UNet, inputs: CachedInputs, records: Sequence[ImageRecord], config: StudyConfig, device: torch.device) -> Boxes:
    rows = inputs.rows(records)
    geometries = [inputs.geometries[row] for row in rows]
    found = find_boxes(net, inputs.images_NHW[rows], geometries, config.segmenter, device=device)
    return {record.image_id: box for record, box in zip(records, found, strict=True)}
