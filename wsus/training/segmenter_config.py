"""The settings of the U-Net's training, apart from it: a model's card is read without loading torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from wsus.data.roi import CropConfig
from wsus.errors import ConfigError
from wsus.nets.config import UNetConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmenterConfig:
    """How a U-Net is trained and read.

    crop: geometry of its inputs, always of whole images.
    min_area: a component smaller than this share of the input is no lesion.
    """

    net: UNetConfig = field(default_factory=UNetConfig)
    crop: CropConfig = field(default_factory=lambda: CropConfig(size_px=128))
    epochs: int = 30
    batch_size: int = 16
    lr: float = 2e-3
    min_area: float = 0.002

    def __post_init__(self) -> None:
        if self.crop.size_px % 2**self.net.depth:
            raise ConfigError(f"a U-Net of depth {self.net.depth} needs sides that are multiples of {2**self.net.depth}")
        if self.epochs < 1 or self.batch_size < 2 or not self.lr > 0:
            raise ConfigError(f"epochs >= 1, batch_size >= 2 and lr > 0 are needed; got {self}")
