"""One trial without Ray: a cell's images, network and training run."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tune_jobs.data import StudyData
from tune_jobs.rois import Boxes
from tune_jobs.study import StudyConfig, Trial
from wsus.data.cache import CachedInputs, open_cache
from wsus.data.shards import ShardedArray, ShardSet
from wsus.inference.guard import Images
from wsus.nets.cam_net import CamNet
from wsus.nets.weights import load_initial_weights
from wsus.storage import open_store
from wsus.training.batches import ImageSet, LabelledImages, StreamedImages
from wsus.training.classifier import Fit
from wsus.training.config import Precision, TrainConfig
from wsus.training.group import ALONE, Group
from wsus.types import ImageRecord, Mode, Split


class ShardReader(Protocol):
    """Gives the images of shards by number, in the order that is asked for. Raises StoreError where one is damaged."""

    @property
    def address(self) -> str: ...

    @property
    def shards(self) -> ShardSet: ...

    def __call__(self, numbers: Sequence[int]) -> Generator[NDArray[np.uint8]]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeStream:
    """What trials of one mode read instead of images in memory. pool: shards to take batches from."""

    train: ShardReader
    development: ShardReader
    pool: int


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """What all trials of a study share.

    boxes: automatic ROIs, None where the mode is not part of the study.
    precisions: what each backbone trains in, and "unet", where the configuration leaves it open.
    streams: what is read in place of images in memory; None where they lie there.
    """

    config: StudyConfig
    data: StudyData
    boxes: Boxes | None
    precisions: Mapping[str, Precision] = field(default_factory=dict)
    streams: Mapping[Mode, ModeStream] | None = None


def trial_inputs(context: TrialContext, mode: Mode) -> CachedInputs:
    """The network inputs of a mode: training images first, then the development split's, each a contiguous run.

    What this machine lacks of the images is brought first. Raises as `StudyData.here` and `open_cache`.
    """
    data = context.data.here()
    records = [*data.split(Split.TRAIN), *data.split(Split.DEVELOPMENT)]
    boxes = context.boxes if mode is Mode.AUTO_ROI else None
    return open_cache(records, context.config.crop, mode, digest=data.digest, boxes=boxes)


def prepare_inputs(context: TrialContext, mode: Mode) -> None:
    """Let this machine decode what it lacks, where images lie in memory. Raises as `trial_inputs`."""
    if context.streams is None:
        trial_inputs(context, mode)


def seen_images(context: TrialContext, mode: Mode) -> tuple[Images, Images]:
    """The network inputs that a network of a mode was trained on, and those that it was chosen by.

    Raises as `trial_inputs`; StoreError where images are streamed and a shard is damaged.
    """
    if context.streams is None:
        images_NHW, count = trial_inputs(context, mode).images_NHW, len(context.data.split(Split.TRAIN))
        return images_NHW[:count], images_NHW[count:]
    stream = context.streams[mode]
    training, development = (
        ShardedArray(open_store(reader.address, patient=True), reader.shards) for reader in (stream.train, stream.development)
    )
    return training, development


def make_fit(context: TrialContext, trial: Trial, device: torch.device, group: Group = ALONE) -> Fit:
    """The training run of a trial, before its first epoch; a group's workers each make theirs at the same time."""
    train, development = _image_sets(context, trial.cell.mode, device)
    torch.manual_seed(trial.seed)
    net = CamNet(context.config.net_config(trial.cell, trial.hyper))
    load_initial_weights(net, context.config.weights_of(trial.cell.backbone), context.config.weights_dir)
    config = settled_train_config(context, trial)
    return Fit(net, train, development, config, seed=trial.seed, device=device, group=group)


def settled_train_config(context: TrialContext, trial: Trial) -> TrainConfig:
    """How a trial trains, with the precision that the study settled on."""
    config = context.config.train_config(trial.cell, trial.hyper)
    if config.precision != "auto":
        return config
    return replace(config, precision=context.precisions.get(trial.cell.backbone, "auto"))


def _image_sets(context: TrialContext, mode: Mode, device: torch.device) -> tuple[ImageSet, ImageSet]:
    train, development = context.data.split(Split.TRAIN), context.data.split(Split.DEVELOPMENT)
    if context.streams is None:
        inputs = trial_inputs(context, mode)
        return _in_memory(inputs, train, device), _in_memory(inputs, development, device)
    stream = context.streams[mode]
    return (
        _streamed(stream.train, train, stream.pool, device),
        _streamed(stream.development, development, stream.pool, device),
    )


def _in_memory(inputs: CachedInputs, records: tuple[ImageRecord, ...], device: torch.device) -> LabelledImages:
    return LabelledImages.take(inputs.images_NHW, inputs.rows(records), _labels(records), device)


def _streamed(reader: ShardReader, records: tuple[ImageRecord, ...], pool: int, device: torch.device) -> StreamedImages:
    labels_N = torch.tensor(_labels(records), dtype=torch.long, device=device)
    shards = reader.shards
    return StreamedImages(labels_N=labels_N, shards=shards.rows, read_shards=reader, pool=pool, size_px=shards.size_px)


def _labels(records: tuple[ImageRecord, ...]) -> list[int]:
    return [record.label for record in records if record.label is not None]
