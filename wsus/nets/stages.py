"""A feature extractor whose maps can be tapped on the way: deep maps for what, earlier ones with a short field for where."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import torch
from torch import nn


class TappedFeatures(Protocol):
    """What a backbone's module offers where attention over places is asked for."""

    def tapped(self, x_B3HW: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Earlier maps of this stride, (B, J, H / stride, W / stride), and the deep ones that `forward` gives."""


class Stages(nn.Sequential):
    """Named stages, one after the other. taps: stride -> the stage whose maps have it, the last before the next halving."""

    def __init__(self, stages: OrderedDict[str, nn.Module], taps: dict[int, str]) -> None:
        super().__init__(stages)
        self.taps = taps

    def tapped(self, x_B3HW: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See `TappedFeatures`."""
        tap, early_BJhw, maps = self.taps[stride], x_B3HW, x_B3HW
        for name, stage in self.named_children():
            maps = stage(maps)
            if name == tap:
                early_BJhw = maps
        return early_BJhw, maps
