"""What a model bundle says of itself: `card.json`. Read and written without loading torch."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wsus.data.roi import CropConfig
from wsus.errors import BundleError, ConfigError
from wsus.models.gate import GateNote
from wsus.nets.config import MapConfig, NetConfig, UNetConfig
from wsus.training.config import SegmenterConfig
from wsus.types import CLASS_NAMES, Mode

CARD = "card.json"
SCHEMA_VERSION = 2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,127}")
_MOST_SELF_TEST_IMAGES = 64
_READ = (1, 2)  # 1 had no guard, onnx or self_test_images
INTENDED_USE = (
    "Research on breast ultrasound: probability of malignancy of one B-mode image that shows a mass, and a map of where "
    "the network looked. Not a medical device; not for decisions about patients."
)
LIMITS = (
    "Trained on images that show a mass: an image without one still gets a probability.",
    "Other scanners, settings and populations than those of the training images can change the figures.",
    "A class activation map shows what moved the score, which need not be the lesion.",
)


@dataclass(frozen=True, kw_only=True)
class OnnxNote:
    """How `model.onnx` was made, and how far it lay from torch then (`wsus.inference.onnx_export.max_differences`)."""

    opset: int
    torch: str
    onnxruntime: str
    max_difference: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class GuardNote:
    """How the guard was fitted (`wsus.inference.guard`): above `threshold` an image is unlike the training images.

    share: of the development images that stay within the threshold.
    """

    @property
    def confidence(self) -> float:
        """How sure it is that at least `share` of all images like the development images stay within the threshold.

        The threshold is their ceil(share n)-th smallest distance; whatever its distribution, the share of all images below
        follows a beta distribution (Wilks 1941, "Determination of sample sizes for setting tolerance limits").
        """
        count, share = self.development_images, self.share
        least = math.ceil(share * count - 1e-9)
        all_ways = math.lgamma(count + 1)

        def probability(inside: int) -> float:
            ways = all_ways - math.lgamma(inside + 1) - math.lgamma(count - inside + 1)
            return math.exp(ways + inside * math.log(share) + (count - inside) * math.log1p(-share))

        return 1 - math.fsum(probability(inside) for inside in range(least, count + 1))

    threshold: float
    share: float
    training_images: int
    development_images: int

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if not (0 < self.threshold < math.inf and 0 < self.share < 1):
            raise ConfigError(f"a guard has a positive threshold and a share in (0, 1); got {self.threshold!r}, {self.share!r}")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a bundle says of itself; JSON on disk.

    map: how the network is read; a card without it is an older one's, and reads as the paper does.
    cam_threshold_from: where the threshold comes from: set beforehand, or chosen on development masks.
    operating_point: an image is called malignant where POM >= operating_point.
    training: study, manifest digest, seed, hyperparameters, best epoch, versions.  figures: results with their intervals.
    guard: against images unlike the training images; None where there is none.
    onnx, self_test_images: of what publishing added; None and 0 where it did not.
    gate: what was asked before it might go into production; None where nothing was, as in earlier versions.
    """

    name: str
    net: NetConfig
    mode: Mode
    crop: CropConfig
    map: MapConfig = field(default_factory=MapConfig)
    cam_threshold: float = 0.3
    cam_threshold_from: str = "set beforehand"
    operating_point: float = 0.5
    segmenter: SegmenterConfig | None = None
    classes: tuple[str, ...] = CLASS_NAMES
    training: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    intended_use: str = INTENDED_USE
    limits: tuple[str, ...] = LIMITS
    guard: GuardNote | None = None
    onnx: OnnxNote | None = None
    self_test_images: int = 0
    gate: GateNote | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if not 0 < self.cam_threshold < 1:
            raise ConfigError(f"cam_threshold must lie in (0, 1); got {self.cam_threshold!r}")
        if not 0 <= self.operating_point <= 1:
            raise ConfigError(f"operating_point must lie in [0, 1]; got {self.operating_point!r}")
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"a card's name has letters, digits and -_.@+ alone, at most 128 of them; got {self.name[:140]!r}")
        if not 0 <= self.self_test_images <= _MOST_SELF_TEST_IMAGES:
            raise ConfigError(f"self_test_images must lie in 0 to {_MOST_SELF_TEST_IMAGES}; got {self.self_test_images!r}")

    def serving_lines(self) -> list[str]:
        """What publishing added, for a person."""
        onnx = "none: torch runs the network"
        if self.onnx is not None:
            onnx = f"opset {self.onnx.opset}; POM differs from torch's by at most {self.onnx.max_difference['pom']:.1g}"
        guard = "none: fitted with the cell's training, which was an older version's or had too few images"
        if self.guard is not None:
            share, images = f"{100 * self.guard.share:g} %", self.guard.development_images
            guard = (
                f"threshold {self.guard.threshold:.3g} at {share} of {images} development images (with a confidence of "
                f"{100 * self.guard.confidence:.0f} % it holds for {share} of all like them), "
                f"fitted to {self.guard.training_images} training images"
            )
        lines = [f"model.onnx  {onnx}", f"self-test   {self.self_test_images} made images", f"guard       {guard}"]
        return lines if self.gate is None else [*lines, f"gate        {self.gate.why_not or 'passed'}"]

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values."""
        gate = self.gate.to_json() if self.gate is not None else None
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "gate": gate}

    @classmethod
    def from_json(cls, value: dict[str, Any], name: str) -> ModelCard:
        """Raises BundleError where the schema or a setting is not known here."""
        version = value.get("schema_version")
        if version not in _READ:
            read = " and ".join(map(str, _READ))
            raise BundleError(f"{name}: schema_version {version!r}; this version reads {read}; use the wsus that wrote it")
        try:
            rest = {key: item for key, item in value.items() if key != "schema_version"}
            segmenter, onnx, guard = rest.pop("segmenter"), rest.pop("onnx", None), rest.pop("guard", None)
            gate = rest.pop("gate", None)
            return cls(
                **{
                    **rest,
                    "net": NetConfig.from_json(rest["net"]),
                    "mode": Mode(rest["mode"]),
                    "crop": CropConfig(**rest["crop"]),
                    "map": MapConfig(**rest.get("map", {})),
                    "classes": tuple(rest["classes"]),
                    "limits": tuple(rest["limits"]),
                },
                segmenter=_segmenter_from_json(segmenter) if segmenter else None,
                onnx=OnnxNote(**onnx) if onnx else None,
                guard=GuardNote(**guard) if guard else None,
                gate=GateNote.from_json(gate) if gate else None,
            )
        except (TypeError, KeyError, ValueError, AttributeError, ConfigError) as error:
            raise BundleError(f"{name}: the card holds a setting that this version does not know ({error})") from error


def dump_card(card: ModelCard) -> bytes:
    """The content of `card.json`."""
    return (json.dumps(card.to_json(), indent=1, sort_keys=True) + "\n").encode()


def parse_card(content: bytes, path: Path) -> ModelCard:
    """The card of the content of `card.json`; `path` stands in error messages. Raises BundleError."""
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path}: not a model card; expected a JSON object, found a {type(value).__name__}")
    return ModelCard.from_json(value, str(path))


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number; a card holds null where a figure is not known")


def _segmenter_from_json(value: dict[str, Any]) -> SegmenterConfig:
    before = {"whole_image_share": 0.0}  # of cards that do not say
    return SegmenterConfig(**{**before, **value, "net": UNetConfig(**value["net"]), "crop": CropConfig(**value["crop"])})
