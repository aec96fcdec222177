"""Train the U-Net that finds automatic regions of interest, and ask it for boxes.

So that the classifier is never trained on masks that are better than those it will meet, the training patients are
cross-fitted: the mask of a training image comes from a U-Net that saw neither that patient's images nor masks. All
other images are masked by a U-Net of all training patients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from wsus.data.roi import CropGeometry, mask_box
from wsus.errors import TrainingDivergedError
from wsus.nets.cam_net import scale_to_unit
from wsus.nets.unet import UNet
from wsus.training.augment import augment_with_masks
from wsus.training.config import AugmentConfig, Precision, SegmenterConfig
from wsus.training.memory import keep_freed_memory
from wsus.training.precision import mixed_precision
from wsus.types import BoxXyxyPx


def train_segmenter(
    images_NHW: NDArray[np.uint8],
    masks_NHW: NDArray[np.uint8],
    config: SegmenterConfig,
    *,
    seed: int,
    device: torch.device,
    precision: Precision = "auto",
    augment: AugmentConfig | None = None,
) -> UNet:
    """Train a U-Net on masks (0 or 1) with cross entropy plus soft Dice (Milletari et al. 2016).

    Args:
        augment: how images are changed, and masks moved with them; as for a classifier by default.
    Raises:
        TrainingDivergedError: the loss is no longer a number.
    """
    keep_freed_memory()
    augment = AugmentConfig() if augment is None else augment
    torch.manual_seed(seed)
    net = UNet(config.net).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=1e-4, fused=True)
    images, masks = torch.from_numpy(images_NHW).to(device), torch.from_numpy(masks_NHW).to(device)
    steps_per_epoch = -(-len(images) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=config.lr, total_steps=config.epochs * steps_per_epoch)
    for epoch in range(config.epochs):
        net.train()
        for rows in torch.randperm(len(images)).to(device).split(config.batch_size):
            inputs_B1HW, targets_BHW = augment_with_masks(scale_to_unit(images[rows]), masks[rows].float(), augment)
            inputs_B1HW = inputs_B1HW.contiguous(memory_format=torch.channels_last)
            with mixed_precision(precision, device):
                logits_BHW = net(inputs_B1HW)
            loss = functional.binary_cross_entropy_with_logits(logits_BHW, targets_BHW) + _soft_dice_loss(logits_BHW, targets_BHW)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if not torch.isfinite(loss):
            raise TrainingDivergedError(f"the U-Net's loss in epoch {epoch + 1} is {loss.item()}; lower its learning rate")
    return net.cpu().to(memory_format=torch.contiguous_format).eval()  # as it is read from a bundle


def predict_masks(net: UNet, images_NHW: NDArray[np.uint8], *, device: torch.device, batch_size: int = 32) -> NDArray[np.bool_]:
    """Masks of network inputs, shape (N, H, W), in the inputs' pixels."""
    net = net.to(device).eval()
    with torch.inference_mode():
        parts = [(net(scale_to_unit(part.to(device))) > 0).cpu() for part in torch.from_numpy(images_NHW).split(batch_size)]
    return torch.cat(parts).numpy()


def box_in_source(mask_HW: NDArray[np.bool_], geometry: CropGeometry, min_area: float) -> BoxXyxyPx | None:
    """The box of a mask's largest component in the original's pixels; None where nothing large enough was found."""
    box = mask_box(mask_HW, largest_only=True)
    if box is None or (box[2] - box[0]) * (box[3] - box[1]) < min_area * mask_HW.size:
        return None
    x0, y0 = geometry.to_source_xy(box[0], box[1])
    x1, y1 = geometry.to_source_xy(box[2], box[3])
    height, width = geometry.source_hw
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(width, int(np.ceil(x1))), min(height, int(np.ceil(y1)))
    return (left, top, right, bottom) if left < right and top < bottom else None


def find_boxes(
    net: UNet, images_NHW: NDArray[np.uint8], geometries: Sequence[CropGeometry], config: SegmenterConfig, *, device: torch.device
) -> list[BoxXyxyPx | None]:
    """Automatic ROIs in original pixels, one per input; None where the U-Net found nothing."""
    masks_NHW = predict_masks(net, images_NHW, device=device)
    return [box_in_source(mask_HW, g, config.min_area) for mask_HW, g in zip(masks_NHW, geometries, strict=True)]


def _soft_dice_loss(logits_BHW: torch.Tensor, targets_BHW: torch.Tensor) -> torch.Tensor:
    shares_BHW = logits_BHW.sigmoid()
    overlap_B = (shares_BHW * targets_BHW).sum(dim=(1, 2))
    total_B = shares_BHW.sum(dim=(1, 2)) + targets_BHW.sum(dim=(1, 2))
    return (1 - (2 * overlap_B + 1) / (total_B + 1)).mean()
