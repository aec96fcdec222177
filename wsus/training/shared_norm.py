"""Batch normalisation over the images of all workers, so that it does not depend on how many there are.

torch's SyncBatchNorm does it on GPUs alone; here is the same for processors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def share_norm(net: nn.Module, device: torch.device) -> None:
    """Replace every batch normalisation by a synchronised one, in place; parameters and buffers stay the same objects."""
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                on_gpu = device.type == "cuda"
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child) if on_gpu else SharedBatchNorm2d.of(child))


class SharedBatchNorm2d(_BatchNorm):
    """BatchNorm2d whose statistics are those of all workers' images; a worker may have none.

    Means and sums of squared deviations of the workers are put together as in Chan, Golub and LeVeque 1983,
    "Algorithms for computing the sample variance".
    """

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> SharedBatchNorm2d:
        """The same layer, synchronised."""
        shared = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
        shared._parameters, shared._buffers, shared.training = norm._parameters, norm._buffers, norm.training
        return shared

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Normalise; shape (B, C, H, W), B may be 0."""
        if not self.training:
            return super().forward(x_BCHW)
        given, x_BCHW = x_BCHW.dtype, x_BCHW.float()  # in mixed precision, too, statistics are float32
        count, mean_C, variance_C = _moments(x_BCHW)
        if self.track_running_stats:
            self._follow(mean_C.detach(), variance_C.detach() * (count / (count - 1).clamp_min(1)))
        scale_C = torch.rsqrt(variance_C + self.eps)
        if self.affine:
            scale_C = scale_C * self.weight
        shift_C = -mean_C * scale_C + (self.bias if self.affine else 0)
        return (x_BCHW * scale_C.view(1, -1, 1, 1) + shift_C.view(1, -1, 1, 1)).to(given)

    def _follow(self, mean_C: torch.Tensor, variance_C: torch.Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(variance_C, momentum)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() != 4:
            raise ValueError(f"expected images (B, C, H, W), got the shape {tuple(input.shape)}")


def _moments(x_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels per channel, their mean and (biased) variance, over all workers."""
    batch, _, height, width = x_BCHW.shape
    own = x_BCHW.new_full((1,), batch * height * width)
    mean_C = x_BCHW.sum(dim=(0, 2, 3)) / own.clamp_min(1)
    deviation_C = (x_BCHW - mean_C.view(1, -1, 1, 1)).square().sum(dim=(0, 2, 3))
    counts_W1, means_WC, deviations_WC = _Gathered.apply(torch.cat([own, mean_C, deviation_C])).split(
        [1, mean_C.numel(), mean_C.numel()], dim=1
    )
    count = counts_W1.sum()
    mean_C = (counts_W1 * means_WC).sum(dim=0) / count
    deviation_C = (deviations_WC + counts_W1 * (means_WC - mean_C).square()).sum(dim=0)
    return count, mean_C, deviation_C / count


class _Gathered(torch.autograd.Function):
    """A vector of every worker, stacked to (W, N). Backward: each worker gets the sum of the gradients of its own row."""

    @staticmethod
    def forward(ctx: Any, own_N: torch.Tensor) -> torch.Tensor:
        rows = [torch.empty_like(own_N) for _ in range(distributed.get_world_size())]
        distributed.all_gather(rows, own_N.contiguous())
        return torch.stack(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        gradient_WN = gradients[0].contiguous()
        distributed.all_reduce(gradient_WN)
        return gradient_WN[distributed.get_rank()]
