"""Attention over places: a weighted sum that says where, trained by its own branch alone."""

import pytest
import torch
from torch.nn import functional

from wsus.errors import ConfigError
from wsus.nets.backbones import backbone_names
from wsus.nets.cam_net import CamNet
from wsus.nets.config import AttentionConfig, NetConfig
from wsus.nets.place_attention import PlaceAttention

SMALL = AttentionConfig(channels=8, gate=4)


def attending(backbone: str = "googlenet", **settings: object) -> CamNet:
    torch.manual_seed(0)
    attention = AttentionConfig(**{"channels": 8, "gate": 4, **settings})  # type: ignore[arg-type]
    width = 1.0 if backbone.startswith("efficientnet") else 0.125
    return CamNet(NetConfig(backbone=backbone, width=width, pooling="attention", attention=attention))


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("backbone", ["vgg16", "resnet34", "googlenet", "efficientnet_lite0"])
def test_map_has_the_stride_of_the_early_maps(backbone: str, stride: int) -> None:
    with torch.inference_mode():
        output = attending(backbone, stride=stride).eval()(torch.rand(2, 1, 64, 64))
    assert output.cam_BChw.shape == (2, 2, 64 // stride, 64 // stride)
    assert torch.allclose(output.cam_BChw.sum((2, 3)), torch.ones(2, 2), atol=1e-5)


@pytest.mark.parametrize("backbone", backbone_names())
def test_tapped_maps_end_in_those_of_the_whole_network(backbone: str) -> None:
    features = attending(backbone).features.eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(features.tapped(x, 16)[1], features(x), atol=1e-5)  # type: ignore[operator]


def test_early_maps_see_less_of_the_image_than_the_deep_ones() -> None:
    """A pixel far from a cell does not move it."""
    features = attending("vgg16").features.eval()
    x = torch.rand(1, 3, 256, 256, requires_grad=True)
    early, deep = features.tapped(x, 8)  # type: ignore[operator]
    reach = []
    for maps in (early, deep):
        middle = maps.shape[2] // 2
        (slope,) = torch.autograd.grad(maps[0, :, middle, middle].sum(), x, retain_graph=True)
        seen = torch.nonzero(slope[0].abs().sum(0))
        reach.append(int(seen[:, 0].max() - seen[:, 0].min()))
    assert reach[0] < 100 < reach[1]


def test_hand_worked_scores() -> None:
    """One map that is 1 at one place: the attention there is e^g / (e^g + 3 e^h), and the score its share of the class map."""
    attention = PlaceAttention(1, 2, AttentionConfig(channels=1, gate=1, place_dropout=0.0), dropout=0.0).eval()
    with torch.no_grad():
        for layer in (attention.project[0], attention.tanh, attention.sigmoid, attention.to_gate):
            torch.nn.init.ones_(layer.weight)  # type: ignore[arg-type]
        torch.nn.init.zeros_(attention.tanh.bias)  # type: ignore[arg-type]
        torch.nn.init.zeros_(attention.sigmoid.bias)  # type: ignore[arg-type]
        attention.linear.weight.copy_(torch.tensor([2.0, -1.0]).view(2, 1, 1, 1))
        maps = torch.zeros(1, 1, 2, 2)
        maps[0, 0, 0, 1] = 1.0
        places = attention(maps)
    value = 1.0 / (1.0 + attention.project[1].eps) ** 0.5  # type: ignore[operator]
    gate = torch.tanh(torch.tensor(value)) * torch.sigmoid(torch.tensor(value))
    share = float(gate.exp() / (gate.exp() + 3))
    assert places.attention_B1hw[0, 0, 0, 1] == pytest.approx(share, abs=1e-5)
    assert places.scores_BC[0].tolist() == pytest.approx([2 * share * value, -share * value], abs=1e-5)


def test_class_score_is_a_weighted_sum_over_places() -> None:
    net = attending("vgg16", mix=0.25).eval()
    x = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        output = net(x)
        deep = net.linear(net.features((x.expand(-1, 3, -1, -1) - net.mean_1311) / net.std_1311))
        where = 4 * functional.avg_pool2d(output.cam_BChw[:, :1], 2)
    expected = 0.75 * deep.mean((2, 3)) + 0.25 * (where * deep).sum((2, 3))
    assert torch.allclose(output.logits_BC, expected, atol=1e-5)


def test_the_deep_score_does_not_train_the_attention() -> None:
    net = attending().train()
    output = net(torch.rand(4, 1, 64, 64))
    output.logits_BC.sum().backward()
    assert net.places is not None
    assert all(parameter.grad is None for parameter in net.places.parameters())
    net(torch.rand(4, 1, 64, 64)).auxiliary_BC.sum().backward()
    assert net.places.to_gate.weight.grad is not None


def test_in_training_places_are_left_out_and_at_inference_none() -> None:
    attention = PlaceAttention(4, 2, AttentionConfig(channels=8, gate=4, place_dropout=0.5), dropout=0.0)
    maps = torch.rand(8, 4, 8, 8)
    left_out = (attention.train()(maps).attention_B1hw == 0).float().mean()
    assert 0.35 < float(left_out) < 0.65
    assert (attention.eval()(maps).attention_B1hw > 0).all()


def test_network_that_cannot_be_tapped_is_refused() -> None:
    pytest.importorskip("timm", reason="the extra `timm` is not installed")
    with pytest.raises(ConfigError, match="no early maps to attend to; use pooling='average'"):
        CamNet(NetConfig(backbone="timm:resnet18", pooling="attention", attention=SMALL))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stride": 32}, "attention.stride must be 8 or 16; got 32"),
        ({"mix": 1.5}, r"attention.mix lies in \[0, 1\]"),
        ({"gate": 0}, "channels and gate of 1 to 4096; got 256 and 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AttentionConfig(**settings)  # type: ignore[arg-type]


def test_own_scores_have_their_weight_at_inference() -> None:
    x = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        plain, own = attending().eval(), attending(own_share=0.5).eval()
        early, _ = plain.features.tapped((x.expand(-1, 3, -1, -1) - plain.mean_1311) / plain.std_1311, 16)  # type: ignore[operator]
        assert plain.places is not None
        expected = (plain(x).logits_BC + 0.5 * plain.places(early).scores_BC) / 1.5
        assert torch.allclose(own(x).logits_BC, expected, atol=1e-5)
