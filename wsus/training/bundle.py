"""A trained model as files that can be trusted: weights without pickle, a card that says what they are, digests.

    model.safetensors       the CamNet's weights
    segmenter.safetensors   the U-Net's, where the mode is auto_roi
    card.json               architecture, preprocessing, thresholds, training, figures, intended use and limits
    SHA256SUMS              of all of them

Loading verifies the digests first, and refuses a schema or a setting that it does not know.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from wsus.data.roi import CropConfig
from wsus.errors import BundleError, ConfigError
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.nets.unet import UNet, UNetConfig
from wsus.storage import SUMS, folder_built_beside, parse_sums, sums_of
from wsus.training.segmenter import SegmenterConfig
from wsus.types import CLASS_NAMES, Mode

SCHEMA_VERSION = 1
_REQUIRED = ("model.safetensors", "card.json")
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
class ModelCard:
    """What a bundle says of itself; JSON on disk.

    operating_point: an image is called malignant where POM >= operating_point.
    training: study, manifest digest, seed, hyperparameters, best epoch, versions.  figures: results with their intervals.
    """

    name: str
    net: NetConfig
    mode: Mode
    crop: CropConfig
    cam_threshold: float = 0.3
    operating_point: float = 0.5
    segmenter: SegmenterConfig | None = None
    classes: tuple[str, ...] = CLASS_NAMES
    training: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    intended_use: str = INTENDED_USE
    limits: tuple[str, ...] = LIMITS

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any], name: str) -> ModelCard:
        """Raises BundleError where the schema or a setting is not known here."""
        version = value.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{name}: schema_version {version!r}; this version reads {SCHEMA_VERSION}; use the wsus that wrote it"
            )
        try:
            rest = {key: item for key, item in value.items() if key != "schema_version"}
            segmenter = rest.pop("segmenter")
            return cls(
                **{
                    **rest,
                    "net": NetConfig(**rest["net"]),
                    "mode": Mode(rest["mode"]),
                    "crop": CropConfig(**rest["crop"]),
                    "classes": tuple(rest["classes"]),
                    "limits": tuple(rest["limits"]),
                },
                segmenter=_segmenter_from_json(segmenter) if segmenter else None,
            )
        except (TypeError, KeyError, ValueError, ConfigError) as error:
            raise BundleError(f"{name}: the card holds a setting that this version does not know ({error})") from error


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded model. digest: SHA-256 of SHA256SUMS, which names the weights and the card together."""

    card: ModelCard
    net: CamNet
    unet: UNet | None
    digest: str

    @property
    def model_id(self) -> str:
        """Short name for logs, tables and answers."""
        return f"{self.card.name}@{self.digest[:12]}"


def write_bundle(folder: Path, card: ModelCard, net: CamNet, unet: UNet | None = None) -> None:
    """Write a bundle into a folder that does not exist yet; it appears whole or not at all."""
    if (unet is None) != (card.mode is not Mode.AUTO_ROI):
        raise ValueError(f"a bundle holds a U-Net exactly where its mode is auto_roi; got mode {card.mode.value}")
    with folder_built_beside(folder) as building:
        (building / "model.safetensors").write_bytes(_weights(net))
        if unet is not None:
            (building / "segmenter.safetensors").write_bytes(_weights(unet))
        (building / "card.json").write_text(json.dumps(card.to_json(), indent=1, sort_keys=True) + "\n")
        (building / SUMS).write_text(sums_of(building))


def with_figures(source: Path, folder: Path, *, name: str, figures: dict[str, Any]) -> None:
    """Copy a bundle into a new folder under another name, with figures added to its card. Raises as `read_bundle`."""
    card = read_card(source)
    with folder_built_beside(folder) as building:
        for path in source.glob("*.safetensors"):
            (building / path.name).write_bytes(path.read_bytes())
        changed = replace(card, name=name, figures={**card.figures, **figures})
        (building / "card.json").write_text(json.dumps(changed.to_json(), indent=1, sort_keys=True) + "\n")
        (building / SUMS).write_text(sums_of(building))


def read_card(folder: Path) -> ModelCard:
    """The card of a bundle, without its weights. Raises as `read_bundle`."""
    verify_sums(folder, _REQUIRED)
    return _card(folder)


def read_bundle(folder: Path) -> Bundle:
    """Load a bundle onto the CPU.

    Raises:
        BundleError: it is none, a digest does not match, the schema is unknown, or the weights do not fit the card.
    """
    digest = verify_sums(folder, _REQUIRED)
    card = _card(folder)
    net = CamNet(card.net)
    _load(net, folder / "model.safetensors")
    unet = UNet(card.segmenter.net) if card.segmenter is not None else None
    if unet is not None:
        _load(unet, folder / "segmenter.safetensors")
    return Bundle(card=card, net=net.eval(), unet=unet.eval() if unet is not None else None, digest=digest)


def verify_sums(folder: Path, required: tuple[str, ...]) -> str:
    """Check every file that a folder's SHA256SUMS names, and that it names the required ones.

    Returns:
        the SHA-256 of SHA256SUMS itself.
    Raises:
        BundleError: a file is missing, damaged or not named.
    """
    if not (folder / SUMS).is_file():
        raise BundleError(f"{folder}: no {SUMS}, so this is not complete, or not what this project wrote")
    content = (folder / SUMS).read_bytes()
    sums = parse_sums(content, str(folder))
    for name in required:
        if name not in sums:
            raise BundleError(f"{folder}: {SUMS} does not name {name}; it is incomplete")
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path}: missing, although {SUMS} names it; fetch the bundle again")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            raise BundleError(
                f"{path}: SHA-256 is {found[:12]}..., expected {expected[:12]}...; damaged or changed: do not use it"
            )
    return hashlib.sha256(content).hexdigest()


def _card(folder: Path) -> ModelCard:
    path = folder / "card.json"
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path}: not a model card; expected a JSON object, found a {type(value).__name__}")
    return ModelCard.from_json(value, str(path))


def _segmenter_from_json(value: dict[str, Any]) -> SegmenterConfig:
    return SegmenterConfig(**{**value, "net": UNetConfig(**value["net"]), "crop": CropConfig(**value["crop"])})


def _weights(module: torch.nn.Module) -> bytes:
    return save_safetensors({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()})


def _load(module: torch.nn.Module, path: Path) -> None:
    try:
        module.load_state_dict(load_safetensors(path.read_bytes()))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise BundleError(f"{path}: the weights do not fit the card's architecture ({str(error)[:200]})") from error
