"""Random changes of a batch of training images, on the batch's device: what makes an image look like another scanner's.

All images of a batch are changed at once, each in its own way. Random numbers come from torch's generator of the
device, so a seeded epoch repeats; a part of a batch is changed as it would be within the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from wsus.training.config import NO_AUGMENTATION, AugmentConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class _Draws:
    """Random numbers of `rows` of a batch of `batch` images: drawn for the whole batch, whoever holds the rest of it."""

    batch: int
    rows: slice
    device: torch.device

    def uniform(self, *shape: int) -> torch.Tensor:
        """In [0, 1), of a shape per image."""
        return torch.rand(self.batch, *shape, device=self.device)[self.rows]

    def normal(self, *shape: int) -> torch.Tensor:
        """Of mean 0 and deviation 1, of a shape per image."""
        return torch.randn(self.batch, *shape, device=self.device)[self.rows]

    def factors(self, spread: float) -> torch.Tensor:
        """One per image in [1 / (1 + spread), 1 + spread], even on a logarithmic scale."""
        return (1 + spread) ** (2 * self.uniform() - 1)


def augment(
    images_B1HW: torch.Tensor, config: AugmentConfig, *, batch: int | None = None, rows: slice = slice(None)
) -> torch.Tensor:
    """Change images in [0, 1], shape (B, 1, H, W); the result lies in [0, 1] too.

    Args:
        batch, rows: the images are these rows of a batch of so many; by default they are the batch.
    """
    if config == NO_AUGMENTATION:
        return images_B1HW
    if len(images_B1HW) == 0:  # the generator must go on as it does for those who hold the rest
        augment(images_B1HW.new_zeros(1, *images_B1HW.shape[1:]), config, batch=batch, rows=slice(1))
        return images_B1HW
    draws = _Draws(batch=images_B1HW.shape[0] if batch is None else batch, rows=rows, device=images_B1HW.device)
    images_B1HW = _move(images_B1HW, config, draws)
    if config.blur:
        share_B111 = draws.uniform(1, 1, 1) * config.blur
        images_B1HW = torch.lerp(images_B1HW, functional.avg_pool2d(images_B1HW, 3, stride=1, padding=1), share_B111)
    if config.speckle:
        deviation_B111 = draws.uniform(1, 1, 1) * config.speckle
        grain_B1HW = 2 * functional.avg_pool2d(
            draws.normal(*images_B1HW.shape[1:]), 3, stride=1, padding=1
        )  # deviation about 2/3
        images_B1HW = images_B1HW * (1 + deviation_B111 * grain_B1HW)
    if config.attenuation:
        slope_B111 = (2 * draws.uniform(1, 1, 1) - 1) * config.attenuation
        depth_11H1 = torch.linspace(0, 1, images_B1HW.shape[2], device=draws.device).view(1, 1, -1, 1)
        images_B1HW = images_B1HW * (1 - torch.where(slope_B111 > 0, slope_B111 * depth_11H1, -slope_B111 * (1 - depth_11H1)))
    images_B1HW = images_B1HW.clamp(0, 1)
    if config.gamma:
        images_B1HW = images_B1HW.clamp_min(1e-4) ** draws.factors(config.gamma).view(-1, 1, 1, 1)
    return images_B1HW


def _move(images_B1HW: torch.Tensor, config: AugmentConfig, draws: _Draws) -> torch.Tensor:
    zoom_B, stretch_B = draws.factors(config.zoom), draws.factors(config.stretch)
    sign_B = torch.where(draws.uniform() < config.flip, -1.0, 1.0)
    theta_B23 = torch.zeros(images_B1HW.shape[0], 2, 3, device=draws.device)
    theta_B23[:, 0, 0], theta_B23[:, 1, 1] = sign_B * zoom_B * stretch_B, zoom_B / stretch_B
    theta_B23[:, :, 2] = (2 * draws.uniform(2) - 1) * 2 * config.shift
    grid_BHW2 = functional.affine_grid(theta_B23, list(images_B1HW.shape), align_corners=False)
    return functional.grid_sample(images_B1HW, grid_BHW2, align_corners=False, padding_mode="zeros")
