"""The settings of training: what changes the images, how a classifier and a U-Net train. Read without loading torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from wsus.data.roi import CropConfig
from wsus.errors import ConfigError
from wsus.nets.config import UNetConfig

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """How far images are changed. 0 turns a change off.

    flip: probability of a left-right flip (up-down would turn depth around).
    zoom: scale factors are drawn from [1 / (1 + zoom), 1 + zoom].
    stretch: the same for the ratio of width to height.
    shift: largest shift as a share of the side.
    gamma: exponents are drawn from [1 / (1 + gamma), 1 + gamma] (gain and dynamic range of the scanner).
    attenuation: largest loss of brightness at the bottom, or at the top, as a share (time gain compensation).
    speckle: largest standard deviation of multiplicative noise, blurred to a grain of about two pixels.
    blur: largest share of a 3 x 3 mean that is mixed in (resolution of the transducer).

    What follows is off by default (`wsus.training.scanner_changes`):
    turn: largest rotation, as a share of a right angle.
    window: probability of another field of view, up to 15 % of each side black.
    soften, sharpen: largest share of a coarser copy that is mixed in, or taken away.
    gain: amplitude of a smooth random field of gain.
    reject, saturate: how far the levels that are drawn black and white move.
    unmark, marks: probability that small bright things are flattened, and that calipers and strokes of text are burnt in.
    erase: probability of one grey box.
    """

    flip: float = 0.5
    zoom: float = 0.2
    stretch: float = 0.1
    shift: float = 0.08
    gamma: float = 0.4
    attenuation: float = 0.3
    speckle: float = 0.2
    blur: float = 0.7
    turn: float = 0.0
    window: float = 0.0
    soften: float = 0.0
    sharpen: float = 0.0
    gain: float = 0.0
    reject: float = 0.0
    saturate: float = 0.0
    unmark: float = 0.0
    marks: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if not 0 <= value <= 1:
                raise ConfigError(f"augmentation {setting.name} must lie in [0, 1]; got {value!r}")


NO_AUGMENTATION = AugmentConfig(flip=0, zoom=0, stretch=0, shift=0, gamma=0, attenuation=0, speckle=0, blur=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a network is trained.

    lr: peak learning rate.  schedule: "cosine" (after a twentieth of warm-up), "one_cycle" (Smith 2018) or "constant".
    class_weights: weigh the classes by the inverse of their frequency.
    ema_decay: of an exponential moving average of the weights, which then is the network that is scored and kept; 0 for none.
    precision: of the arithmetic: "float32", "bfloat16" (weights stay float32), or "auto": bfloat16 on a GPU, float32 on a
        processor; a study measures which is faster on its processors before it begins, and keeps to it.
    small_px, small_share: in this share of the epochs, the first ones, inputs are scaled to this side, at half of the work.
    frozen_layers: the first convolutions of a pretrained backbone, with their normalisation, that keep their weights; 0 for none.
    auxiliary_weight: of the cross entropy of the branch that says where, in networks that pool by attention.
    smooth_epochs: the mean of the development AUCs of so many epochs, the last one that of the weights, chooses the weights that
        are kept; 1 for the best epoch by its own AUC, which on few development images is often a lucky one.
    patience: epochs without a better development AUC after which training stops; None to go on to the end.
    """

    epochs: int = 18
    batch_size: int = 32
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    label_smoothing: float = 0.0
    class_weights: bool = False
    ema_decay: float = 0.0
    precision: Precision = "auto"
    small_px: int = 160
    small_share: float = 0.0
    frozen_layers: int = 0
    auxiliary_weight: float = 0.5
    smooth_epochs: int = 1
    patience: int | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ConfigError(f"epochs must be >= 1 and batch_size >= 2; got {self.epochs} and {self.batch_size}")
        if not self.lr > 0 or self.weight_decay < 0:
            raise ConfigError(f"lr must be > 0 and weight_decay >= 0; got {self.lr!r} and {self.weight_decay!r}")
        if not 0 <= self.label_smoothing < 1 or not 0 <= self.ema_decay < 1:
            raise ConfigError(f"label_smoothing and ema_decay lie in [0, 1); got {self.label_smoothing!r}, {self.ema_decay!r}")
        if self.optimizer not in ("adamw", "sgd") or self.schedule not in ("cosine", "one_cycle", "constant"):
            raise ConfigError(f"unknown optimizer or schedule: {self.optimizer!r}, {self.schedule!r}")
        if self.precision not in get_args(Precision):
            raise ConfigError(f"precision is one of {', '.join(get_args(Precision))}; got {self.precision!r}")
        if self.small_px < 32 or not 0 <= self.small_share <= 1:
            raise ConfigError(f"small_px must be >= 32 and small_share lie in [0, 1]; got {self.small_px}, {self.small_share!r}")
        if self.frozen_layers < 0:
            raise ConfigError(f"frozen_layers must not be negative; got {self.frozen_layers!r}")
        if not self.auxiliary_weight >= 0:
            raise ConfigError(f"auxiliary_weight must not be negative; got {self.auxiliary_weight!r}")
        if self.smooth_epochs < 1:
            raise ConfigError(f"smooth_epochs must be >= 1; got {self.smooth_epochs}")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"patience must be >= 1 or None; got {self.patience!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmenterConfig:
    """How a U-Net is trained and read.

    crop: geometry of its inputs, always of whole images.
    min_area: a component smaller than this share of the input is no lesion.
    whole_image_share: of the training images, in [0, 1), whose classifiers see them whole, as where a U-Net finds nothing.
    """

    net: UNetConfig = field(default_factory=UNetConfig)
    crop: CropConfig = field(default_factory=lambda: CropConfig(size_px=128))
    epochs: int = 30
    batch_size: int = 16
    lr: float = 2e-3
    min_area: float = 0.002
    whole_image_share: float = 0.1

    def __post_init__(self) -> None:
        if self.crop.size_px % 2**self.net.depth:
            raise ConfigError(f"a U-Net of depth {self.net.depth} needs sides that are multiples of {2**self.net.depth}")
        if self.epochs < 1 or self.batch_size < 2 or not self.lr > 0:
            raise ConfigError(f"epochs >= 1, batch_size >= 2 and lr > 0 are needed; got {self}")
        if not 0 <= self.whole_image_share < 1:
            raise ConfigError(f"whole_image_share lies in [0, 1); got {self.whole_image_share!r}")
