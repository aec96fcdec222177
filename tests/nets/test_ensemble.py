"""Networks read as one: means of scores and maps, features side by side, weights that come back from a bundle."""

from pathlib import Path

import pytest
import torch
from torch import nn

from wsus.data.roi import CropConfig
from wsus.errors import ConfigError
from wsus.inference.onnx_export import export_onnx
from wsus.models.bundle import ModelCard, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.nets.config import AttentionConfig
from wsus.nets.ensemble import Ensemble, build_net, join_nets
from wsus.types import Mode


def member(seed: int, **settings: object) -> CamNet:
    torch.manual_seed(seed)
    net = CamNet(NetConfig(backbone="resnet34", width=0.125, **settings))  # type: ignore[arg-type]
    nn.init.normal_(net.linear.weight, std=0.1)
    return net.eval()


@pytest.mark.parametrize("settings", [{}, {"pooling": "attention", "attention": AttentionConfig(channels=8, own_share=0.5)}])
def test_scores_and_maps_are_the_means_of_the_members(settings: dict[str, object]) -> None:
    nets = [member(seed, **settings) for seed in range(3)]
    x_B1HW = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        alone, together = [net(x_B1HW) for net in nets], join_nets(nets).eval()(x_B1HW)
    torch.testing.assert_close(together.logits_BC, sum(one.logits_BC for one in alone) / 3)
    torch.testing.assert_close(together.cam_BChw, sum(one.cam_BChw for one in alone) / 3)
    torch.testing.assert_close(together.features_BK, torch.cat([one.features_BK for one in alone], dim=1))


def test_class_score_is_the_mean_of_the_map_as_of_each_member() -> None:
    with torch.inference_mode():
        output = join_nets([member(0), member(1)]).eval()(torch.rand(2, 1, 64, 96))
    torch.testing.assert_close(output.logits_BC, output.cam_BChw.mean(dim=(2, 3)))


def test_ensemble_comes_back_from_its_bundle(tmp_path: Path) -> None:
    ensemble = join_nets([member(0), member(1)]).eval()
    card = ModelCard(name="both", net=ensemble.config, mode=Mode.WEAK, crop=CropConfig(size_px=64))
    write_bundle(tmp_path / "bundle", card, ensemble)

    read = read_bundle(tmp_path / "bundle")

    assert read.card.net.members == 2
    assert isinstance(read.net, Ensemble)
    x_B1HW = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(read.net(x_B1HW).logits_BC, ensemble(x_B1HW).logits_BC)


@pytest.mark.slow
def test_ensemble_becomes_one_graph() -> None:
    inputs_BHW = torch.randint(1, 256, (3, 64, 64), dtype=torch.uint8).numpy()
    assert max(export_onnx(join_nets([member(0), member(1)]), inputs_BHW).max_difference.values()) < 1e-4


def test_networks_of_two_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match="of two or more networks of one architecture; got 2 of 2"):
        join_nets([member(0), member(1, stride=16)])
    with pytest.raises(ValueError, match="got 1 of 1"):
        join_nets([member(0)])


@pytest.mark.parametrize("members", [0, 65, 1.5])
def test_impossible_number_of_members_is_refused(members: float) -> None:
    with pytest.raises(ConfigError, match="members must be a whole number"):
        NetConfig(backbone="resnet34", members=members)  # type: ignore[arg-type]


def test_one_member_is_a_plain_network() -> None:
    assert isinstance(build_net(NetConfig(backbone="resnet34", width=0.125)), CamNet)
