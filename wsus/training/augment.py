"""Random changes of a batch of training images, on the batch's device: what makes an image look like another scanner's.

All images of a batch are changed at once, each in its own way. Random numbers come from torch's generator of the
device, so a seeded epoch repeats; a part of a batch is changed as it would be within the whole.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from wsus.training.config import NO_AUGMENTATION, AugmentConfig
from wsus.training.draws import Draws
from wsus.training.scanner_changes import (
    burn_marks,
    change_contrast,
    change_gain,
    change_resolution,
    cut_window,
    erase_box,
    flatten_marks,
)

_DARKEST = 1 / 255  # a maximum below one level is no picture


def augment(
    images_B1HW: torch.Tensor, config: AugmentConfig, *, batch: int | None = None, rows: slice = slice(None)
) -> torch.Tensor:
    """Change images in [0, 1], shape (B, 1, H, W); each is then scaled to a maximum of 1, as the inputs of inference are.

    Args:
        batch, rows: the images are these rows of a batch of so many; by default they are the batch.
    """
    if config == NO_AUGMENTATION:
        return images_B1HW
    if len(images_B1HW) == 0:  # the generator must go on as it does for those who hold the rest
        augment(images_B1HW.new_zeros(1, *images_B1HW.shape[1:]), config, batch=batch, rows=slice(1))
        return images_B1HW
    draws = Draws(batch=images_B1HW.shape[0] if batch is None else batch, rows=rows, device=images_B1HW.device)
    return _look(_moved(images_B1HW, _places(images_B1HW, config, draws)), config, draws)


def augment_with_masks(
    images_B1HW: torch.Tensor, masks_BHW: torch.Tensor, config: AugmentConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change images as `augment` does, and move their masks with them; masks, in [0, 1], keep their values but for edges."""
    if config == NO_AUGMENTATION:
        return images_B1HW, masks_BHW
    draws = Draws(batch=images_B1HW.shape[0], rows=slice(None), device=images_B1HW.device)
    places_BHW2 = _places(images_B1HW, config, draws)
    moved_BHW = _moved(masks_BHW.unsqueeze(1), places_BHW2).squeeze(1)
    return _look(_moved(images_B1HW, places_BHW2), config, draws), moved_BHW


def _look(images_B1HW: torch.Tensor, config: AugmentConfig, draws: Draws) -> torch.Tensor:
    """All that changes grey levels and leaves everything where it is."""
    if config.window:
        images_B1HW = cut_window(images_B1HW, config.window, draws)
    if config.unmark:
        images_B1HW = flatten_marks(images_B1HW, config.unmark, draws)
    if config.soften or config.sharpen:
        images_B1HW = change_resolution(images_B1HW, config.soften, config.sharpen, draws)
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
    if config.gain:
        images_B1HW = change_gain(images_B1HW, config.gain, draws)
    images_B1HW = images_B1HW.clamp(0, 1)
    if config.reject or config.saturate:
        images_B1HW = change_contrast(images_B1HW, config.reject, config.saturate, draws)
    if config.gamma:
        images_B1HW = images_B1HW.clamp_min(1e-4) ** draws.factors(config.gamma).view(-1, 1, 1, 1)
    if config.marks:
        images_B1HW = burn_marks(images_B1HW, config.marks, draws)
    if config.erase:
        images_B1HW = erase_box(images_B1HW, config.erase, draws)
    return images_B1HW / images_B1HW.amax(dim=(2, 3), keepdim=True).clamp_min(_DARKEST)


def _places(images_B1HW: torch.Tensor, config: AugmentConfig, draws: Draws) -> torch.Tensor:
    """Where each pixel of the changed images comes from, shape (B, H, W, 2), as torch's `grid_sample` takes it."""
    zoom_B, stretch_B = draws.factors(config.zoom), draws.factors(config.stretch)
    sign_B = torch.where(draws.uniform() < config.flip, -1.0, 1.0)
    theta_B23 = torch.zeros(images_B1HW.shape[0], 2, 3, device=draws.device)
    wide_B, high_B = zoom_B * stretch_B, zoom_B / stretch_B
    theta_B23[:, 0, 0], theta_B23[:, 1, 1] = sign_B * wide_B, high_B
    if config.turn:
        angle_B = draws.uniform(low=-1.0) * config.turn * (math.pi / 2)
        theta_B23[:, 0, 0], theta_B23[:, 0, 1] = sign_B * wide_B * angle_B.cos(), -wide_B * angle_B.sin()
        theta_B23[:, 1, 0], theta_B23[:, 1, 1] = sign_B * high_B * angle_B.sin(), high_B * angle_B.cos()
    theta_B23[:, :, 2] = (2 * draws.uniform(2) - 1) * 2 * config.shift
    return functional.affine_grid(theta_B23, list(images_B1HW.shape), align_corners=False)


def _moved(images_B1HW: torch.Tensor, places_BHW2: torch.Tensor) -> torch.Tensor:
    return functional.grid_sample(images_B1HW, places_BHW2, align_corners=False, padding_mode="zeros")
