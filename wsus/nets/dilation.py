"""Networks whose last halving was dropped, made to see what their weights were trained on: later layers reach twice as far.

Without this, a layer behind the dropped halving sees half of the surroundings that its ImageNet weights expect. With it, every
second place of the finer maps is, to rounding, what the stock network gives (Yu & Koltun 2016, "Multi-scale context aggregation
by dilated convolutions"). From random weights nothing needs it, and the larger field points less well.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

from wsus.nets.efficientnet import EfficientNetLite
from wsus.nets.stages import Stages


def dilate_resnet(features: nn.Module) -> nn.Module:
    """A ResNet without the stride of `layer4`: all its 3 x 3 convolutions but the one that had the stride."""
    first, *others = features.get_submodule("layer4").children()
    for module in (first.get_submodule("conv2"), *others):
        _double_reach(module)
    return features


def dilate_googlenet(features: nn.Module) -> nn.Module:
    """A GoogLeNet without `maxpool4`, which comes back with a stride of 1."""
    children: list[tuple[str, nn.Module]] = []
    for name, child in features.named_children():
        if name.startswith("inception5"):
            _double_reach(child)
        if name == "inception5a":  # the maps are positive: zeros at the border do not count, as beyond it in the stock network
            children.append(("maxpool4", nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, stride=1))))
        children.append((name, child))
    assert isinstance(features, Stages)
    return Stages(OrderedDict(children), features.taps)


def dilate_efficientnet_lite(features: nn.Module) -> nn.Module:
    """An EfficientNet-Lite whose last halving, that of a depthwise convolution, was dropped."""
    blocks = list(features.get_submodule("net._blocks").children())
    halving = [number for number, block in enumerate(blocks) if _stride_of(block) == 2][-1]
    for block in blocks[halving + 1 :]:
        convolution = block.get_submodule("_depthwise_conv")
        assert isinstance(convolution, nn.Conv2d)
        reach = convolution.kernel_size[0] // 2
        convolution.dilation = (2, 2)
        convolution.static_padding = nn.ZeroPad2d(2 * reach)
    convolution = blocks[halving].get_submodule("_depthwise_conv")
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(features, EfficientNetLite)
    before = features.dropped_padding_px
    after = convolution.kernel_size[0] - 1 - before
    convolution.static_padding = nn.ZeroPad2d((before, after, before, after))
    return features


def _stride_of(block: nn.Module) -> int:
    """That of the published network, whatever its convolution has now."""
    stride: Any = block._block_args.stride
    return int(stride[0] if isinstance(stride, list | tuple) else stride)


def _double_reach(module: nn.Module) -> None:
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
            height, width = (2 * int(size) for size in layer.padding)
            layer.dilation, layer.padding = (2, 2), (height, width)
        for name, child in layer.named_children():
            if isinstance(child, nn.MaxPool2d):  # of 3 x 3 positive values: torch itself pads by half of the kernel at most
                setattr(layer, name, nn.Sequential(nn.ZeroPad2d(2), nn.MaxPool2d(3, stride=1, dilation=2)))
