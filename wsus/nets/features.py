"""A backbone as a module: the stock network without its end, at any width, with first weights.

The registered networks are drawn up on the meta device, where a tensor has a shape and no numbers: classifiers that are
cut off and widths that are scaled down cost no time.
"""

from __future__ import annotations

import torch
from torch import nn

from wsus.errors import ConfigError
from wsus.nets.backbones import Backbone

_SIDE = 64  # of an input that only shapes are read from


def build_features(
    backbone: Backbone, *, batch_norm: bool = True, stride: int = 32, width: float = 1.0, dilated: bool = False
) -> tuple[nn.Module, int]:
    """A feature extractor on the CPU with first weights, and the number K of its maps.

    Args:
        dilated: at stride 16, let it see what it sees at stride 32.
    Raises:
        ConfigError: the width does not fit the network, or what it builds has not the stride.
    """
    features = backbone.build(batch_norm, stride)
    if dilated and stride == 16 and backbone.dilate is not None:
        features = backbone.dilate(features)
    if width != 1.0:
        _scale_width(features, width)
    _init_weights(features)
    return features, _count_maps(features, backbone.name, stride)


def _count_maps(features: nn.Module, name: str, stride: int) -> int:
    training = features.training
    with torch.no_grad():
        shape = tuple(features.eval()(torch.zeros(1, 3, _SIDE, _SIDE)).shape)
    features.train(training)
    if len(shape) != 4 or shape[2:] != (_SIDE // stride, _SIDE // stride):
        raise ConfigError(
            f"backbone {name!r} makes maps of shape {shape} from an input of shape (1, 3, {_SIDE}, {_SIDE}); with "
            f"stride={stride} they are (1, K, {_SIDE // stride}, {_SIDE // stride}): its `build` is given the stride"
        )
    return shape[1]


def count_tapped_maps(features: nn.Module, backbone: str, stride: int) -> int:
    """The number J of maps that attention over places looks at. Raises ConfigError where the backbone cannot be tapped."""
    if not hasattr(features, "tapped"):
        raise ConfigError(f"backbone {backbone!r} has no early maps to attend to; use pooling='average' with it")
    training = features.training
    with torch.no_grad():
        early_BJhw, _ = features.eval().tapped(torch.zeros(1, 3, _SIDE, _SIDE), stride)  # type: ignore[operator]
    features.train(training)
    return int(early_BJhw.shape[1])


def _scale_width(module: nn.Module, width: float) -> None:
    """Multiply every channel count of a convolutional network but the three of the image, in place; weights are made anew.

    Written for tiny nets that train on a laptop's processor. The channel counts of the registered networks are
    multiples of 8, so widths 1/2, 1/4 and 1/8 keep every sum and concatenation consistent.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            is_depthwise = layer.groups > 1 and layer.groups == layer.in_channels
            layer.in_channels = 3 if layer.in_channels == 3 else _scaled(layer.in_channels, width)
            layer.out_channels = _scaled(layer.out_channels, width)
            layer.groups = layer.in_channels if is_depthwise else layer.groups
            shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
            layer.weight = nn.Parameter(layer.weight.new_empty(shape))
            layer.bias = None if layer.bias is None else nn.Parameter(layer.bias.new_empty(layer.out_channels))
        elif isinstance(layer, nn.BatchNorm2d):
            fresh = nn.BatchNorm2d(_scaled(layer.num_features, width), device=layer.weight.device)
            layer.num_features = fresh.num_features
            layer.weight, layer.bias = fresh.weight, fresh.bias
            layer.running_mean, layer.running_var = fresh.running_mean, fresh.running_var


def _init_weights(module: nn.Module) -> None:
    """He initialisation of every convolution, as for a network that is trained from scratch (He et al. 2015).

    Layers on the meta device are made on the CPU first; normalisation made so starts as the identity.
    """
    for layer in module.modules():
        is_new = any(tensor.is_meta for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)))
        if is_new:
            layer.to_empty(device="cpu", recurse=False)
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d) and is_new:
            layer.reset_parameters()
        elif is_new:
            raise TypeError(f"the first weights of a {type(layer).__name__} are not known here; build its network on the CPU")


def _scaled(channels: int, width: float) -> int:
    scaled = channels * width
    if scaled != int(scaled) or scaled < 1:
        raise ConfigError(f"width {width} makes {scaled} of {channels} channels; use 1, 0.5, 0.25 or 0.125")
    return int(scaled)
