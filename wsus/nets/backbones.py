"""The feature extractors, by name: an image batch in, feature maps out, nothing pooled.

The paper's three are torchvision's (VGG16: Simonyan & Zisserman 2015; ResNet34: He et al. 2016; GoogLeNet: Szegedy et
al. 2015). EfficientNet-Lite0 (Tan & Le 2019) brings its ImageNet weights in a package, so it starts pretrained
without a network. `timm:NAME` reaches every convolutional network of timm where that extra is installed.

The registered networks are drawn up on the meta device, where a tensor has a shape and no numbers: classifiers that are
cut off and widths that are scaled down cost no time. torchvision is imported where it is used: it takes 1.5 s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from wsus.errors import ConfigError, UnknownNameError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TIMM_PREFIX = "timm:"
_META = torch.device("meta")


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """How one feature extractor is made.

    build: (batch_norm, stride) -> module from (B, 3, H, W) to (B, K, H / stride, W / stride), its tensors still without
        numbers where they lie on the meta device. batch_norm concerns VGG alone.
    prefixes: (theirs, ours) pairs that turn the names of a published classifier's state dict into those of the module.
    published: file name of the ImageNet weights as their publisher gives it.
    mean, std: of the three input channels in [0, 1], as the published weights expect them.
    """

    name: str
    build: Callable[[bool, int], nn.Module]
    published: Callable[[bool], str]
    prefixes: tuple[tuple[str, str], ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def _vgg16(batch_norm: bool, stride: int) -> nn.Module:
    from torchvision.models import vgg

    with _META:
        features = vgg.make_layers(vgg.cfgs["D"], batch_norm=batch_norm)
    return features if stride == 32 else features[:-1]  # the last pooling is dropped


def _resnet34(batch_norm: bool, stride: int) -> nn.Module:
    from torchvision.models import resnet34

    with _META:
        net = resnet34(weights=None)
    if stride == 16:
        net.layer4[0].conv1.stride = net.layer4[0].downsample[0].stride = (1, 1)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(OrderedDict((name, getattr(net, name)) for name in names))


def _googlenet(batch_norm: bool, stride: int) -> nn.Module:
    from torchvision.models import googlenet

    with _META:
        net = googlenet(weights=None, aux_logits=False, init_weights=False)
    dropped = {"avgpool", "dropout", "fc", "aux1", "aux2"} | ({"maxpool4"} if stride == 16 else set())
    return nn.Sequential(OrderedDict((name, child) for name, child in net.named_children() if name not in dropped))


class _EfficientNetLite0(nn.Module):
    def __init__(self, stride: int) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__()
        with _META:
            self.net = EfficientNet.from_name("efficientnet-lite0")
        del self.net._fc
        if stride == 16:
            last = [block for block in self.net._blocks if block._depthwise_conv.stride[0] == 2][-1]
            last._depthwise_conv.stride = (1, 1)
            last._depthwise_conv.static_padding = nn.ZeroPad2d(last._depthwise_conv.kernel_size[0] // 2)

    def forward(self, x_B3HW: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.net.extract_features(x_B3HW)
        return features


_REGISTRY = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            name="vgg16",
            build=_vgg16,
            published=lambda batch_norm: "vgg16_bn-6c64b313.pth" if batch_norm else "vgg16-397923af.pth",
            prefixes=(("features.", ""),),
        ),
        Backbone(name="resnet34", build=_resnet34, published=lambda _: "resnet34-b627a593.pth", prefixes=(("", ""),)),
        Backbone(name="googlenet", build=_googlenet, published=lambda _: "googlenet-1378be20.pth", prefixes=(("", ""),)),
        Backbone(
            name="efficientnet_lite0",
            build=lambda _, stride: _EfficientNetLite0(stride),
            published=lambda _: "efficientnet-lite0-57934424.pth",
            prefixes=(("", "net."),),
            mean=(0.498, 0.498, 0.498),
            std=(0.502, 0.502, 0.502),
        ),
    )
}


def backbone_names() -> tuple[str, ...]:
    """The registered names; `timm:NAME` comes on top."""
    return tuple(_REGISTRY)


def get_backbone(name: str) -> Backbone:
    """Look a backbone up.

    Raises:
        UnknownNameError: no such name; the nearest is suggested.
        ConfigError: a timm network without timm, or one that timm does not know.
    """
    if name.startswith(TIMM_PREFIX):
        return _timm_backbone(name)
    if name not in _REGISTRY:
        raise UnknownNameError("backbone", name, [*_REGISTRY, f"{TIMM_PREFIX}NAME"])
    return _REGISTRY[name]


class _TimmFeatures(nn.Module):
    def __init__(self, name: str, stride: int) -> None:
        import timm

        super().__init__()
        options = {} if stride == 32 else {"output_stride": stride}
        self.net = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **options)

    def forward(self, x_B3HW: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.net.forward_features(x_B3HW)
        if features.ndim != 4:
            raise ConfigError(f"this timm network gives features of shape {tuple(features.shape)}, no maps; choose another")
        return features


def _timm_backbone(name: str) -> Backbone:
    try:
        import timm
    except ImportError:
        raise ConfigError(f"backbone {name!r} needs timm; install it with `pip install 'wsus[timm]'`") from None
    short = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(short):
        raise UnknownNameError("timm network", short, timm.list_models())
    return Backbone(
        name=name,
        build=lambda _, stride: _TimmFeatures(short, stride),
        published=lambda _: f"{short}.safetensors",
        prefixes=(("", "net."),),
    )


def build_features(backbone: Backbone, *, batch_norm: bool = True, stride: int = 32, width: float = 1.0) -> tuple[nn.Module, int]:
    """A feature extractor on the CPU with first weights, and the number K of its maps.

    Raises:
        ConfigError: the width does not fit the network.
    """
    features = backbone.build(batch_norm, stride)
    if width != 1.0:
        _scale_width(features, width)
    _init_weights(features)
    return features, _count_maps(features)


def _count_maps(features: nn.Module) -> int:
    training = features.training
    with torch.no_grad():
        count = features.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
    features.train(training)
    return int(count)


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
