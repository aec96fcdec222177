"""Feature extractors by name: the stock networks without their ends, at either stride and any width."""

import pytest
import torch
from torch import nn
from torchvision import models

from wsus.errors import ConfigError, UnknownNameError
from wsus.nets.backbones import backbone_names, get_backbone
from wsus.nets.features import build_features

CHANNELS = {
    "vgg16": 512,
    "resnet34": 512,
    "googlenet": 1024,
    "efficientnet_lite0": 1280,
    "efficientnet_lite1": 1280,
    "efficientnet_lite2": 1280,
}


def test_all_of_the_papers_networks_are_there() -> None:
    assert {"vgg16", "resnet34", "googlenet"} <= set(backbone_names())
    assert set(backbone_names()) == set(CHANNELS)


@pytest.mark.parametrize("stride", [16, 32])
@pytest.mark.parametrize("name", CHANNELS)
def test_maps_have_the_asked_stride(name: str, stride: int) -> None:
    features, count = build_features(get_backbone(name), stride=stride)
    with torch.inference_mode():
        maps = features.eval()(torch.zeros(1, 3, 64, 96))
    assert maps.shape == (1, CHANNELS[name], 64 // stride, 96 // stride)
    assert count == CHANNELS[name]


@pytest.mark.parametrize("name", ["resnet34", "googlenet"])
def test_stride_32_computes_what_the_stock_network_does(name: str) -> None:
    torch.manual_seed(0)
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    stock = getattr(models, name)(weights=None, **extra).eval()
    seen: list[torch.Tensor] = []
    stock.avgpool.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    features = build_features(get_backbone(name))[0].eval()
    features.load_state_dict(stock.state_dict(), strict=False)
    x = torch.rand(2, 3, 64, 64)

    with torch.inference_mode():
        stock(x)
        ours = features(x)

    assert torch.allclose(ours, seen[0], atol=1e-5)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg16_has_the_stock_networks_tensors(batch_norm: bool) -> None:
    with torch.device("meta"):
        stock = models.vgg16_bn() if batch_norm else models.vgg16()
    features = get_backbone("vgg16").build(batch_norm, 32)
    expected = {name.removeprefix("features."): v.shape for name, v in stock.state_dict().items() if name.startswith("features.")}
    assert {name: value.shape for name, value in features.state_dict().items()} == expected


def test_stride_16_needs_no_other_weights_than_stride_32() -> None:
    for name in CHANNELS:
        shapes = [{k: v.shape for k, v in get_backbone(name).build(True, stride).state_dict().items()} for stride in (16, 32)]
        assert shapes[0] == shapes[1], name


@pytest.mark.parametrize("name", ["vgg16", "resnet34", "googlenet"])
@pytest.mark.parametrize("width", [0.5, 0.125])
def test_width_scales_every_channel_count(name: str, width: float) -> None:
    full, (scaled, _) = get_backbone(name).build(True, 32), build_features(get_backbone(name), width=width)
    for before, after in zip(full.modules(), scaled.modules(), strict=True):
        if isinstance(before, nn.Conv2d) and isinstance(after, nn.Conv2d):
            assert after.out_channels == before.out_channels * width
            assert after.in_channels == (3 if before.in_channels == 3 else before.in_channels * width)
    with torch.inference_mode():
        assert scaled.eval()(torch.rand(1, 3, 64, 64)).shape[1] == CHANNELS[name] * width


@pytest.mark.parametrize("name", CHANNELS)
def test_first_weights_are_hes_and_normalisation_the_identity(name: str) -> None:
    torch.manual_seed(0)
    features, _ = build_features(get_backbone(name), width=0.5)

    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]  # as torch counts it, groups or not
            tolerance = 4 / (2 * layer.weight.numel()) ** 0.5  # four standard errors of a standard deviation
            assert layer.weight.detach().std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=tolerance)
            assert layer.bias is None or not layer.bias.any()
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.running_var == 1).all()
            assert not layer.bias.any()
            assert not layer.running_mean.any()
            assert layer.num_batches_tracked == 0
    assert not any(tensor.is_meta for tensor in (*features.parameters(), *features.buffers()))


def test_depthwise_layers_stay_depthwise() -> None:
    features, _ = build_features(get_backbone("efficientnet_lite0"), width=0.5)
    layers = [layer for layer in features.modules() if isinstance(layer, nn.Conv2d)]
    assert sum(layer.groups > 1 for layer in layers) == 16  # one in each of its blocks
    assert all(layer.groups in (1, layer.in_channels) for layer in layers)


def test_width_that_divides_a_channel_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"width 0\.3 makes .* channels; use 1, 0\.5, 0\.25 or 0\.125"):
        build_features(get_backbone("resnet34"), width=0.3)


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("resnet43", "resnet34"), ("VGG-16", "vgg16"), ("efficientnet_lite_0", "efficientnet_lite0")]
)
def test_unknown_backbone_suggests_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown backbone '{wrong}'. Did you mean '{nearest}'.*Known: .*timm:NAME"):
        get_backbone(wrong)


def test_timm_network_by_name() -> None:
    pytest.importorskip("timm", reason="the extra `timm` is not installed")
    with torch.inference_mode():
        for stride in (16, 32):
            features, count = build_features(get_backbone("timm:resnet10t"), stride=stride)
            assert count == 512
            assert features.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 64 // stride, 64 // stride)


def test_unknown_timm_network_suggests_the_nearest() -> None:
    pytest.importorskip("timm", reason="the extra `timm` is not installed")
    with pytest.raises(UnknownNameError, match=r"unknown timm network 'resnet10tt'\. Did you mean 'resnet10t'"):
        get_backbone("timm:resnet10tt")


def test_timm_network_without_maps_is_refused() -> None:
    pytest.importorskip("timm", reason="the extra `timm` is not installed")
    features = get_backbone("timm:vit_tiny_patch16_224").build(True, 32)
    with pytest.raises(ConfigError, match=r"features of shape .*, no maps; choose another"):
        features(torch.zeros(1, 3, 224, 224))


def test_timm_network_without_timm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ConfigError, match=r"needs timm; install it with `pip install 'wsus\[timm\]'`"):
        get_backbone("timm:resnet10t")


def features_at_both_strides(name: str, width: float, side: int, *, dilated: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of one network at stride 32, and every second place of those at stride 16, from the same weights."""
    torch.manual_seed(0)
    coarse, fine = (build_features(get_backbone(name), stride=s, width=width, dilated=dilated)[0].eval() for s in (32, 16))
    fine.load_state_dict(coarse.state_dict())
    x = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        return coarse(x), fine(x)[:, :, ::2, ::2]


@pytest.mark.parametrize(
    ("name", "width", "side"),
    [("resnet34", 0.125, 96), ("googlenet", 0.125, 160), ("efficientnet_lite0", 0.5, 96), ("efficientnet_lite2", 1.0, 64)],
)
def test_dilated_a_network_of_stride_16_sees_what_it_sees_at_32(name: str, width: float, side: int) -> None:
    coarse, fine = features_at_both_strides(name, width, side, dilated=True)
    assert torch.allclose(fine, coarse, rtol=1e-4, atol=1e-4 * float(coarse.abs().max()))

    coarse, fine = features_at_both_strides(name, width, side, dilated=False)
    assert not torch.allclose(fine, coarse, rtol=0.1, atol=0.1 * float(coarse.abs().max()))
