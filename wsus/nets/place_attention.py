"""Gated attention over places: where, from maps whose cells see little of the image.

A cell of a deep network sees all of a breast-ultrasound image, so nothing in its training asks it to be at the lesion. Maps from
further down see a part each; attention over them has to be where the evidence is.

Source: Ilse, Tomczak and Welling 2018, ICML, "Attention-based deep multiple instance learning", equation 9.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from wsus.nets.config import AttentionConfig

_NOWHERE = 1e4  # taken from the gate of a place that is left out


class Places(NamedTuple):
    """attention_B1hw: sums to 1 over the places.  scores_BC: class scores of what is attended, sum_ij a_ij m_c(ij).

    cam_BChw: the class maps m_c behind these scores.
    """

    attention_B1hw: torch.Tensor
    scores_BC: torch.Tensor
    cam_BChw: torch.Tensor


class PlaceAttention(nn.Module):
    """Early maps (B, J, h, w) in, `Places` out."""

    def __init__(self, channels: int, classes: int, config: AttentionConfig, dropout: float) -> None:
        super().__init__()
        self.config = config
        self.project = nn.Sequential(
            nn.Conv2d(channels, config.channels, kernel_size=1, bias=False), nn.BatchNorm2d(config.channels), nn.ReLU6()
        )
        self.tanh = nn.Conv2d(config.channels, config.gate, kernel_size=1)
        self.sigmoid = nn.Conv2d(config.channels, config.gate, kernel_size=1)
        self.to_gate = nn.Conv2d(config.gate, 1, kernel_size=1, bias=False)
        self.dropout = nn.Dropout2d(dropout)
        self.linear = nn.Conv2d(config.channels, classes, kernel_size=1, bias=False)
        nn.init.normal_(self.linear.weight, std=0.01)

    def forward(self, maps_BJhw: torch.Tensor) -> Places:
        """Attend. In training a share of the places is left out, so that the attention covers all of a lesion."""
        maps_BUhw = self.project(maps_BJhw)
        gate_B1hw = self.to_gate(torch.tanh(self.tanh(maps_BUhw)) * torch.sigmoid(self.sigmoid(maps_BUhw))).float()
        if self.training and self.config.place_dropout:
            left_out_B1hw = torch.rand_like(gate_B1hw) < self.config.place_dropout
            gate_B1hw = gate_B1hw - _NOWHERE * left_out_B1hw
        attention_B1hw = gate_B1hw.flatten(1).softmax(dim=1).view_as(gate_B1hw)
        cam_BChw = self.linear(self.dropout(maps_BUhw)).float()
        return Places(attention_B1hw=attention_B1hw, scores_BC=(attention_B1hw * cam_BChw).sum(dim=(2, 3)), cam_BChw=cam_BChw)
