"""The settings of the networks and of how their maps are read, apart from both: a card is read without loading torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from wsus.errors import ConfigError

Head = Literal["cam", "class_maps"]
Pooling = Literal["average", "attention"]
_MOST_MEMBERS = 64
_MOST_CHANNELS = 4096  # a bundle says them, and memory goes with their product


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """Attention over places (`wsus.nets.place_attention`), where `pooling` asks for it.

    stride: of the early maps that it looks at, 8 or 16.
    channels, gate: of the branch, and of its gate.
    mix: share of the attended mean in the class score, the rest being the average, in [0, 1]; training draws it anew per image.
    own_share: weight of the branch's own class scores beside 1 of the deep ones, in their mean at inference; 0 for none.
    place_dropout: share of places that are left out in a training step, in [0, 1).
    """

    stride: int = 16
    channels: int = 256
    gate: int = 64
    mix: float = 0.5
    own_share: float = 0.0
    place_dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.stride not in (8, 16):
            raise ConfigError(f"attention.stride must be 8 or 16; got {self.stride!r}")
        if not 1 <= self.channels <= _MOST_CHANNELS or not 1 <= self.gate <= _MOST_CHANNELS:
            raise ConfigError(f"attention needs channels and gate of 1 to {_MOST_CHANNELS}; got {self.channels} and {self.gate}")
        if not 0 <= self.own_share <= 1000:
            raise ConfigError(f"attention.own_share must lie in [0, 1000]; got {self.own_share!r}")
        if not 0 <= self.mix <= 1 or not 0 <= self.place_dropout < 1:
            raise ConfigError(
                f"attention.mix lies in [0, 1], place_dropout in [0, 1); got {self.mix!r} and {self.place_dropout!r}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class NetConfig:
    """The architecture of a CamNet; what a bundle's card says of it.

    head: "cam" keeps all maps of the backbone (Zhou et al.); "class_maps" first makes one map per class by a 1 x 1
        convolution (the paper's "the number of the feature maps is same as that of classes").
    stride: of the map against the input; 16 drops the last halving of the stock network.
    width: multiplier of every channel count; 1 for the published networks.
    batch_norm: of VGG16 alone; needed to train it from scratch.
    dropout: share of feature maps left out in training, in [0, 1).
    pooling: "average" over all places (the paper), or "attention": early maps say where, the deep ones what.
    attention: its settings.
    dilated: at stride 16 the layers behind the dropped halving reach twice as far, as published weights need it to see what they
        were trained on. Networks of timm always do.
    published_scale: of GoogLeNet alone: inputs in -1 .. 1, as its published weights expect them, not ImageNet's mean and
        deviation, as in bundles whose card does not say.
    members: networks that are read as one (`wsus.nets.ensemble`); 1 for a single one.
    """

    backbone: str
    head: Head = "cam"
    stride: int = 32
    width: float = 1.0
    batch_norm: bool = True
    dropout: float = 0.0
    pooling: Pooling = "average"
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    dilated: bool = False
    published_scale: bool = False
    members: int = 1

    def __post_init__(self) -> None:
        if self.head not in ("cam", "class_maps"):
            raise ConfigError(f"head must be 'cam' or 'class_maps'; got {self.head!r}")
        if self.pooling not in ("average", "attention"):
            raise ConfigError(f"pooling must be 'average' or 'attention'; got {self.pooling!r}")
        if self.stride not in (16, 32):
            raise ConfigError(f"stride must be 16 or 32; got {self.stride!r}")
        if not 0 < self.width <= 1:
            raise ConfigError(f"width must lie in (0, 1]; got {self.width!r}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must lie in [0, 1); got {self.dropout!r}")
        if type(self.members) is not int or not 1 <= self.members <= _MOST_MEMBERS:
            raise ConfigError(f"members must be a whole number of 1 to {_MOST_MEMBERS}; got {self.members!r}")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> NetConfig:
        """From a card's values; what an older version did not know is at its default."""
        return cls(**{**value, "attention": AttentionConfig(**value.get("attention", {}))})


@dataclass(frozen=True, kw_only=True, slots=True)
class MapConfig:
    """How a network is read at inference; what a bundle's card says of it.

    floor_percentile: of a map, over what the network saw: it becomes 0 and the maximum 1. 0 is the minimum, as in the paper;
        higher ones free the threshold from how much of the image lies low (Kim et al. 2021, ICCV, "Normalization matters in
        weakly supervised object localization").
    mirror: class scores and maps are the means of the image's and its mirror image's, at twice the work.
    """

    floor_percentile: float = 0.0
    mirror: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.floor_percentile < 100:
            raise ConfigError(f"floor_percentile must lie in [0, 100); got {self.floor_percentile!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig:
    """Size of a U-Net: `base_channels` at full resolution, doubled at each of `depth` halvings."""

    base_channels: int = 16
    depth: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.base_channels <= _MOST_CHANNELS // 2**self.depth or not 1 <= self.depth <= 6:
            raise ConfigError(
                f"a U-Net needs base_channels >= 1, a depth of 1 to 6 and at most {_MOST_CHANNELS} channels there; got {self}"
            )
