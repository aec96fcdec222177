"""One trial without Ray: a cell's images, network and training run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tune_jobs.data import StudyData
from tune_jobs.rois import Boxes
from tune_jobs.study import StudyConfig, Trial
from wsus.data.cache import CachedInputs, open_cache
from wsus.nets.cam_net import CamNet
from wsus.nets.weights import load_initial_weights
from wsus.training.batches import LabelledImages
from wsus.training.classifier import Fit
from wsus.training.group import ALONE, Group
from wsus.types import ImageRecord, Mode, Split


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """What all trials of a study share. boxes: automatic ROIs, None where the mode is not part of the study."""

    config: StudyConfig
    data: StudyData
    boxes: Boxes | None


def trial_inputs(context: TrialContext, mode: Mode) -> CachedInputs:
    """The network inputs of a mode: training images first, then the development split's, each a contiguous run.

    What this machine lacks of the images is brought first. Raises as `StudyData.here` and `open_cache`.
    """
    data = context.data.here()
    records = [*data.split(Split.TRAIN), *data.split(Split.DEVELOPMENT)]
    boxes = context.boxes if mode is Mode.AUTO_ROI else None
    return open_cache(records, context.config.crop, mode, digest=data.digest, boxes=boxes)


def make_fit(context: TrialContext, trial: Trial, device: torch.device, group: Group = ALONE) -> Fit:
    """The training run of a trial, before its first epoch; a group's workers each make theirs at the same time."""
    inputs = trial_inputs(context, trial.cell.mode)
    torch.manual_seed(trial.seed)
    net = CamNet(context.config.net_config(trial.cell, trial.hyper))
    load_initial_weights(net, context.config.weights, context.config.weights_dir)
    train = _labelled(inputs, context.data.split(Split.TRAIN), device)
    development = _labelled(inputs, context.data.split(Split.DEVELOPMENT), device)
    config = context.config.train_config(trial.cell, trial.hyper)
    return Fit(net, train, development, config, seed=trial.seed, device=device, group=group)


def _labelled(inputs: CachedInputs, records: tuple[ImageRecord, ...], device: torch.device) -> LabelledImages:
    labels = [record.label for record in records if record.label is not None]
    return LabelledImages.take(inputs.images_NHW, inputs.rows(records), labels, device)
