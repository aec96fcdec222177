"""The U-Net gives one logit per pixel, and every level takes part."""

import pytest
import torch

from wsus.errors import ConfigError
from wsus.nets.unet import UNet, UNetConfig


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_one_logit_per_pixel(depth: int) -> None:
    net = UNet(UNetConfig(base_channels=2, depth=depth)).eval()
    with torch.inference_mode():
        assert net(torch.rand(3, 1, 32, 48)).shape == (3, 32, 48)


def test_channels_double_at_each_halving() -> None:
    net = UNet(UNetConfig(base_channels=4, depth=3))
    assert [encoder[0].out_channels for encoder in net.encoders] == [4, 8, 16, 32]  # type: ignore[index]
    assert [decoder[0].in_channels for decoder in net.decoders] == [32, 16, 8]  # type: ignore[index]


def test_order_weight_moves_the_result() -> None:
    torch.manual_seed(0)
    net = UNet(UNetConfig(base_channels=2, depth=3))
    net(torch.rand(2, 1, 32, 32)).square().sum().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in still if "up_convs" not in name or "bias" not in name] == []  # normalised away: a bias


def test_skips_carry_detail_to_full_resolution() -> None:
    torch.manual_seed(0)
    net = UNet(UNetConfig(base_channels=4, depth=3)).eval()
    x = torch.rand(1, 1, 32, 32, requires_grad=True)
    net(x)[0, 16, 16].backward()
    assert x.grad is not None
    assert x.grad[0, 0, 15:18, 15:18].abs().min() > 0


@pytest.mark.parametrize("settings", [{"base_channels": 0}, {"depth": 0}, {"depth": 7}])
def test_impossible_sizes_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(
        ConfigError, match="base_channels >= 1, a depth of 1 to 6 and at most 4096 channels there; got UNetConfig"
    ):
        UNetConfig(**settings)
