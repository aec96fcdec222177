"""Train a CamNet, one epoch at a time, so that a scheduler can look on, stop it, or go on with it elsewhere."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from wsus.errors import ConfigError, TrainingDivergedError
from wsus.evaluation.auc import auc_with_interval
from wsus.nets.cam_net import CamNet, scale_to_unit
from wsus.training.augment import augment
from wsus.training.batch_statistics import BATCHES, recompute_statistics, statistics_lag
from wsus.training.batches import EpochOrder, ImageSet
from wsus.training.config import Precision, TrainConfig
from wsus.training.group import ALONE, Group
from wsus.training.memory import keep_freed_memory
from wsus.training.precision import mixed_precision
from wsus.types import MALIGNANT


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochReport:
    """What one epoch did. Times in seconds; data_wait_s is the part of train_s that the network waited for images.

    best_auc: of the epoch whose weights are kept, the mean over `smooth_epochs`.
    """

    epoch: int
    train_loss: float
    development_loss: float
    development_auc: float
    best_auc: float
    best_epoch: int
    lr: float
    train_s: float
    data_wait_s: float


class Fit:
    """One training run: iterate over it for one EpochReport per epoch.

    Random numbers of an epoch follow from (seed, epoch) alone, and the learning rate from the step, so that a run
    restored by `load_state_dict` at an epoch's end goes on exactly as if it had not been interrupted.

    Workers of a `group` each make a Fit with the same arguments and run the same epochs at the same time, on their shares
    of every batch; losses, scores and weights are then the same on all of them, and what one worker would find, up to
    rounding. Where a network has dropout, workers draw their own.
    """

    def __init__(
        self,
        net: CamNet,
        train: ImageSet,
        development: ImageSet,
        config: TrainConfig,
        *,
        seed: int,
        device: torch.device,
        group: Group = ALONE,
    ) -> None:
        keep_freed_memory()
        self.config, self.seed, self.device, self.group = config, seed, device, group
        self.train, self.development = train, development
        self._memory_format = _memory_format(net, device)
        self.net = net.to(device=device, memory_format=self._memory_format)  # type: ignore[call-overload]
        self._frozen_norms = _freeze(self.net.features, config.frozen_layers)
        group.prepare(self.net, device)
        average = get_ema_multi_avg_fn(config.ema_decay)
        self.averaged = AveragedModel(self.net, multi_avg_fn=average, use_buffers=True) if config.ema_decay else None
        self.optimizer = _make_optimizer(self.net, config)
        self._shared_net = group.shared(self.net)
        self._own_seeds = torch.Generator()
        self.epoch = 0
        self.best_auc, self.best_epoch = -math.inf, 0
        self.best_state: dict[str, torch.Tensor] = {}
        self._recent_aucs: list[float] = []
        counts = torch.bincount(train.labels_N.cpu(), minlength=2).float()
        if (counts == 0).any():
            raise ConfigError(f"training needs images of both classes; got {counts.int().tolist()} (benign, malignant)")
        self._class_weights = (counts.sum() / (2 * counts)).to(device) if config.class_weights else None

    @property
    def scored_net(self) -> CamNet:
        """The network that is scored and kept: the average where one is asked for."""
        if self.averaged is None:
            return self.net
        assert isinstance(self.averaged.module, CamNet)
        return self.averaged.module

    @property
    def done(self) -> bool:
        """Whether the last epoch is over, or patience is."""
        out_of_patience = self.config.patience is not None and self.epoch - self.best_epoch >= self.config.patience
        return self.epoch >= self.config.epochs or (self.best_epoch > 0 and out_of_patience)

    def __iter__(self) -> Iterator[EpochReport]:
        while not self.done:
            yield self.run_epoch()

    def run_epoch(self) -> EpochReport:
        """Train one epoch, score the development images, remember the weights if they are the best so far.

        Raises:
            TrainingDivergedError: the loss is no longer a number.
        """
        torch.manual_seed(_epoch_seed(self.seed, self.epoch))
        self._own_seeds.manual_seed(_epoch_seed(self.seed, self.epoch, self.group.rank))
        start = time.perf_counter()
        losses, data_wait_s = [], 0.0
        order = self.train.draw_order()
        batches = self._batches(order)
        steps = len(batches)
        with closing(self.train.read(order, batches, self.group.share)) as images:
            for step, rows in enumerate(batches):
                lr = self.config.lr * _schedule(self.config.schedule, self.epoch * steps + step, self.config.epochs * steps)
                waiting = time.perf_counter()
                images_BHW, labels_B = next(images), self.train.labels_N[rows]
                data_wait_s += time.perf_counter() - waiting
                losses.append(self._train_step(images_BHW, labels_B, lr))
        train_loss = float(self.group.sum(torch.stack(losses)).mean())
        if not math.isfinite(train_loss):
            raise TrainingDivergedError(
                f"the training loss of epoch {self.epoch + 1} is {train_loss}; lower the learning rate (now {self.config.lr:g})"
            )
        train_s = time.perf_counter() - start
        self.epoch += 1
        self._refresh_statistics(self.epoch * steps)
        development_loss, development_auc = self._score_development()
        self._recent_aucs = [*self._recent_aucs, development_auc][-self.config.smooth_epochs :]
        smoothed = sum(self._recent_aucs) / len(self._recent_aucs)
        if smoothed > self.best_auc:
            self.best_auc, self.best_epoch = smoothed, self.epoch
            self.best_state = {name: value.detach().cpu().clone() for name, value in self.scored_net.state_dict().items()}
        return EpochReport(
            epoch=self.epoch,
            train_loss=train_loss,
            development_loss=development_loss,
            development_auc=development_auc,
            best_auc=self.best_auc,
            best_epoch=self.best_epoch,
            lr=lr,
            train_s=train_s,
            data_wait_s=data_wait_s,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on after this epoch; tensors, numbers and strings only."""
        return {
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "best_auc": self.best_auc,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
            "recent_aucs": self._recent_aucs,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.net.load_state_dict(state["net"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.best_auc, self.best_epoch = state["epoch"], state["best_auc"], state["best_epoch"]
        self.best_state = state["best_state"]
        self._recent_aucs = list(state.get("recent_aucs", ()))  # older versions smoothed nothing

    def best_net(self) -> CamNet:
        """The network of the best epoch, on the CPU, ready for inference."""
        net = copy.deepcopy(self.scored_net).cpu().eval()
        net.load_state_dict(self.best_state)
        return net

    def _batches(self, order: EpochOrder) -> list[torch.Tensor]:
        batches = order.rows_N.split(self.config.batch_size)
        return [rows for rows in batches if rows.numel() > 1]  # a batch of one has no variance to normalise by

    def _train_step(self, images_BHW: torch.Tensor, labels_B: torch.Tensor, lr: float) -> torch.Tensor:
        """One step with this worker's images of a batch and the labels of the whole batch; returns its part of the loss."""
        batch, mine = len(labels_B), self.group.share(len(labels_B))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._shared_net.train()
        for norm in self._frozen_norms:
            norm.eval()
        images_B1HW = augment(self._small(scale_to_unit(images_BHW)), self.config.augment, batch=batch, rows=mine)
        images_B1HW = images_B1HW.contiguous(memory_format=self._memory_format)
        with self.group.own_draws(self._own_seeds, self.device), mixed_precision(self.config.precision, self.device):
            output = self._shared_net(images_B1HW)
        loss = self._loss(output.logits_BC, labels_B, mine)
        if output.auxiliary_BC is not None:
            loss = loss + self.config.auxiliary_weight * self._loss(output.auxiliary_BC, labels_B, mine)
        self.optimizer.zero_grad(set_to_none=True)
        (loss * self.group.size).backward()  # what comes out is the mean over the workers: the gradient of the batch's loss
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.net)
        return loss.detach()

    def _small(self, images_B1HW: torch.Tensor) -> torch.Tensor:
        """Scaled down in the first epochs, where the configuration asks for it; never up."""
        side, config = self.config.small_px, self.config
        if self.epoch >= round(config.small_share * config.epochs) or side >= images_B1HW.shape[-1] or not len(images_B1HW):
            return images_B1HW
        return functional.interpolate(images_B1HW, size=(side, side), mode="bilinear", antialias=True)

    def _loss(self, logits_BC: torch.Tensor, labels_B: torch.Tensor, mine: slice) -> torch.Tensor:
        """The cross entropy of a batch, or this worker's summand of it; weighted, hence divided by the batch's weight."""
        smoothing = self.config.label_smoothing
        losses_B = functional.cross_entropy(logits_BC, labels_B[mine], label_smoothing=smoothing, reduction="none")
        if self._class_weights is None:
            return losses_B.sum() / labels_B.numel()
        weights_B = self._class_weights[labels_B]  # of images: given to torch, they would move smoothed targets as well
        return (losses_B * weights_B[mine]).sum() / weights_B.sum()

    def _refresh_statistics(self, steps: int) -> None:
        """Take the batch statistics of the network that is scored anew, as long as they lag behind its weights."""
        if not statistics_lag(self.scored_net, steps, self.config.ema_decay):
            return
        order = self.train.draw_order()
        batches = self._batches(order)[:BATCHES]
        with (
            closing(self.train.read(order, batches, self.group.share)) as images,
            mixed_precision(self.config.precision, self.device),
        ):
            recompute_statistics(self.scored_net, (scale_to_unit(images_BHW) for images_BHW in images))

    def _score_development(self) -> tuple[float, float]:
        count = len(self.development)
        batches = self.development.in_order(self.group.share(count), 2 * self.config.batch_size)
        logits_BC = score(self.scored_net, batches, self.device, self.config.precision)
        logits_BC = self.group.gather(logits_BC, count)
        if not torch.isfinite(logits_BC).all():
            raise TrainingDivergedError(f"class scores after epoch {self.epoch} are not finite; lower the learning rate")
        labels_B = self.development.labels_N.cpu()
        loss = float(functional.cross_entropy(logits_BC, labels_B))
        margin_B = (logits_BC[:, MALIGNANT] - logits_BC[:, 1 - MALIGNANT]).double().numpy()  # no ties where POM saturates
        return loss, auc_with_interval(labels_B.numpy(), margin_B).auc


def score(net: CamNet, batches: Iterable[torch.Tensor], device: torch.device, precision: Precision = "auto") -> torch.Tensor:
    """Class scores of uint8 network inputs, given in batches (B, H, W); on the CPU, shape (N, C)."""
    net.eval()
    parts = []
    with torch.inference_mode(), mixed_precision(precision, device):
        for images_BHW in batches:
            parts.append(net(scale_to_unit(images_BHW.to(device))).logits_BC.cpu())
    return torch.cat(parts)


def _memory_format(net: nn.Module, device: torch.device) -> torch.memory_format:
    """channels_last, which is the faster one, but where oneDNN does not compute it right.

    On a processor, oneDNN's weight gradient of a strided 1 x 1 convolution in channels_last writes past its workspace
    where the input has fewer channels than its block, 16 at most (oneDNN issue 6035; oneDNN of torch 2.14.1): wrong
    gradients, or a crash. A ResNet34 of width 1/8 has such a layer; the networks at their published width have none.
    """
    strided = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and max(m.stride) > 1]
    broken = device.type == "cpu" and any(layer.in_channels // layer.groups < 16 for layer in strided)
    return torch.contiguous_format if broken else torch.channels_last


def _freeze(features: nn.Module, layers: int) -> list[nn.BatchNorm2d]:
    """Keep the weights of the first convolutions and of the normalisation that follows each; returns the latter.

    Raises:
        ConfigError: the network has fewer convolutions.
    """
    norms: list[nn.BatchNorm2d] = []
    convolutions = 0
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            convolutions += 1
        if convolutions > layers:
            return norms
        if convolutions and isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.requires_grad_(False)
            norms += [layer] if isinstance(layer, nn.BatchNorm2d) else []
    if layers:
        raise ConfigError(f"frozen_layers is {layers}, but the network has {convolutions} convolutions; freeze fewer")
    return norms


def _make_optimizer(net: CamNet, config: TrainConfig) -> torch.optim.Optimizer:
    trained = [p for p in net.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]  # biases and normalisation are not pulled to zero
    others = [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def _schedule(name: str, step: int, steps: int) -> float:
    """Share of the peak learning rate at a step, in (0, 1]."""
    if name == "constant":
        return 1.0
    rising = max(1, round(steps * (0.3 if name == "one_cycle" else 0.05)))
    if step < rising:
        return (step + 1) / rising
    return max(0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))), 1e-3)


def _epoch_seed(*entropy: int) -> int:
    """From a run's seed, the epoch and, for what is a worker's own, its rank."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)
