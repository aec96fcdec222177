"""Running means and variances of batch normalisation that lag behind the weights, taken anew from training images.

They follow by a share (`momentum`) at each step; an average of weights carries averages of them. Early in a run both still
hold what the first weights gave, and a network scored with them looks untrained (ASHA's first rung would judge by that).
As `torch.optim.swa_utils.update_bn`, with a few batches, and with dropout off.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

BATCHES = 8  # training batches that are enough
_LAGS = 5  # after so many time constants exp(-5) of what was there before is left


def statistics_lag(net: nn.Module, steps: int, ema_decay: float) -> bool:
    """Whether after so many steps a network's batch statistics still hold what lies well before its weights."""
    momenta = [norm.momentum for norm in _norms(net) if norm.momentum]
    if not momenta:
        return False
    time_constant = 1 / min(momenta) + (1 / (1 - ema_decay) if ema_decay else 0)
    return steps < _LAGS * time_constant


@torch.no_grad()
def recompute_statistics(net: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Replace a network's batch statistics by their mean over batches of inputs (B, 1, H, W); leaves it in evaluation mode."""
    net.eval()
    norms = _norms(net)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    for images_B1HW in batches:
        net(images_B1HW)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _norms(net: nn.Module) -> list[_BatchNorm]:
    """Those that train; a frozen one keeps its statistics with its weights."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    return [norm for norm in norms if norm.weight is None or norm.weight.requires_grad]
