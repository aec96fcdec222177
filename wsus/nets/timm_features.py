"""Every convolutional network of timm as a feature extractor, where that extra is installed."""

from __future__ import annotations

import torch
from torch import nn

from wsus.errors import ConfigError


class TimmFeatures(nn.Module):
    """Maps of a timm network's last stage, (B, 3, H, W) -> (B, K, H / stride, W / stride)."""

    def __init__(self, name: str, stride: int) -> None:
        import timm

        super().__init__()
        options = {} if stride == 32 else {"output_stride": stride}
        self.net = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **options)

    def forward(self, x_B3HW: torch.Tensor) -> torch.Tensor:
        """Extract features. Raises ConfigError where they are no maps."""
        features: torch.Tensor = self.net.forward_features(x_B3HW)
        if features.ndim != 4:
            raise ConfigError(f"this timm network gives features of shape {tuple(features.shape)}, no maps; choose another")
        return features
