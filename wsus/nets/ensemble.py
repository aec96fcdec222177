"""Networks of one architecture read as one: an ensemble of a cell's seeds (Lakshminarayanan et al. 2017, "Deep ensembles").

Engines, the guard, the server and the tables see one network, whose card says how many there are.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from wsus.nets.cam_net import CamNet
from wsus.nets.config import NetConfig
from wsus.types import CamOutput


class Ensemble(nn.Module):
    """Class scores and class activation maps are the means of the members'; their pooled features stand one after the other.

    So a class score stays the mean of its map where the members' are (Zhou et al. 2016). For inference alone.
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(CamNet(replace(config, members=1)) for _ in range(config.members))

    def forward(self, x_B1HW: torch.Tensor) -> CamOutput:
        """Score a batch of grey images in [0, 1], shape (B, 1, H, W)."""
        outputs = [member(x_B1HW) for member in self.members]
        return CamOutput(
            logits_BC=torch.stack([output.logits_BC for output in outputs]).mean(dim=0),
            cam_BChw=torch.stack([output.cam_BChw for output in outputs]).mean(dim=0),
            features_BK=torch.cat([output.features_BK for output in outputs], dim=1),
        )


def build_net(config: NetConfig) -> CamNet | Ensemble:
    """The network of a card, with new weights."""
    return CamNet(config) if config.members == 1 else Ensemble(config)


def join_nets(nets: list[CamNet]) -> Ensemble:
    """An ensemble of trained networks, which it holds. Raises ValueError where they are no two, or not of one architecture."""
    configs = {replace(net.config, dropout=0.0) for net in nets}
    if len(nets) < 2 or len(configs) != 1:
        raise ValueError(f"an ensemble is of two or more networks of one architecture; got {len(nets)} of {len(configs)}")
    ensemble = Ensemble(replace(configs.pop(), members=len(nets)))
    for member, net in zip(ensemble.members, nets, strict=True):
        member.load_state_dict(net.state_dict())
    return ensemble
