"""U-Net: a mask of the lesion from a grey image (Ronneberger, Fischer, Brox 2015), with batch normalisation."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from wsus.nets.config import UNetConfig


class UNet(nn.Module):
    """Grey images in [0, 1], shape (B, 1, H, W) with sides that are multiples of 2**depth -> mask logits (B, H, W)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = [config.base_channels * 2**level for level in range(config.depth + 1)]
        self.encoders = nn.ModuleList(_double_conv(before, after) for before, after in pairwise([1, *channels]))
        self.up_convs = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, kernel_size=2, stride=2) for c in reversed(channels[:-1]))
        self.decoders = nn.ModuleList(_double_conv(2 * c, c) for c in reversed(channels[:-1]))
        self.to_logit = nn.Conv2d(channels[0], 1, kernel_size=1)

    def forward(self, x_B1HW: torch.Tensor) -> torch.Tensor:
        skips: list[torch.Tensor] = []
        x = x_B1HW
        for level, encode in enumerate(self.encoders):
            x = encode(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for up_conv, decode in zip(self.up_convs, self.decoders, strict=True):
            x = decode(torch.cat([skips.pop(), up_conv(x)], dim=1))
        logits_BHW: torch.Tensor = self.to_logit(x).squeeze(1).float()
        return logits_BHW


def _double_conv(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels_in in (before, after):
        layers += [nn.Conv2d(channels_in, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
