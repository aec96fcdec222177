"""Batch statistics that lag behind the weights are taken anew: of the inputs, without dropout, and only while they lag."""

import pytest
import torch
from torch import nn

from wsus.training.batch_statistics import recompute_statistics, statistics_lag


def test_statistics_become_the_mean_over_the_batches_and_the_rest_stays() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1, momentum=0.01))
    norm = net[1]
    assert isinstance(norm, nn.BatchNorm2d)
    batches = [torch.randn(6, 1, 4, 4) * 3 + 5 for _ in range(4)]

    recompute_statistics(net, batches)

    assert float(norm.running_mean) == pytest.approx(float(torch.stack([b.mean() for b in batches]).mean()), rel=1e-5)
    assert float(norm.running_var) == pytest.approx(float(torch.stack([b.var() for b in batches]).mean()), rel=1e-5)
    assert norm.momentum == 0.01
    assert not net.training
    assert not norm.training
    assert norm.weight.grad is None


@pytest.mark.parametrize(
    ("momentum", "ema_decay", "last"), [(0.1, 0.0, 50), (0.1, 0.9, 100), (0.01, 0.0, 500), (0.01, 0.98, 750)]
)
def test_they_lag_for_five_time_constants_of_both_averages(momentum: float, ema_decay: float, last: int) -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1, momentum=momentum))
    assert statistics_lag(net, last - 2, ema_decay)
    assert not statistics_lag(net, last + 1, ema_decay)


def test_a_network_without_them_has_none_that_lag() -> None:
    assert not statistics_lag(nn.Sequential(nn.Conv2d(1, 1, 3)), 0, 0.9)


def test_frozen_normalisation_keeps_its_statistics() -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1))
    net[0].requires_grad_(requires_grad=False)
    recompute_statistics(net, [torch.randn(6, 1, 4, 4) + 5])
    assert float(net[0].running_mean) == 0  # type: ignore[arg-type]
    assert float(net[1].running_mean) == pytest.approx(5, abs=0.5)  # type: ignore[arg-type]
