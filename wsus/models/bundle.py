"""A trained model as files that can be trusted: weights without pickle, a card that says what they are, digests.

    model.safetensors       the network's weights, of all members where it is an ensemble
    segmenter.safetensors   the U-Net's, where the mode is auto_roi
    guard.safetensors       what the training images looked like, as means and covariances (`wsus.inference.guard`)
    model.onnx              the same network as a graph for ONNX Runtime; added at publishing
    self_test.safetensors   made images with the answers that they must get; added at publishing
    seen.txt                digests of the images that it was trained on and chosen by (`wsus.models.seen`)
    card.json               architecture, preprocessing, thresholds, training, figures, intended use and limits
    SHA256SUMS              of all of them

Reading verifies the digests first, and refuses a schema or a setting that it does not know. It does not load torch:
the networks are built when they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wsus.errors import BundleError
from wsus.models.card import CARD, ModelCard, dump_card, parse_card
from wsus.storage import SUMS, folder_built_beside, parse_sums, sums_of
from wsus.types import Mode, model_id

if TYPE_CHECKING:
    from torch import nn

    from wsus.nets.cam_net import CamNet
    from wsus.nets.ensemble import Ensemble
    from wsus.nets.unet import UNet

WEIGHTS, SEGMENTER_WEIGHTS = "model.safetensors", "segmenter.safetensors"
ONNX, SELF_TEST, GUARD = "model.onnx", "self_test.safetensors", "guard.safetensors"
_REQUIRED = (WEIGHTS, CARD)
_MOST_FILES, _MOST_CARD_BYTES, _MOST_SUMS_BYTES, _MOST_FILE_BYTES = 32, 4 * 2**20, 64 * 2**10, 4 * 2**30


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle in a folder; what is large is read when it is asked for, while the folder is still there.

    sums: file name -> SHA-256.  digest: SHA-256 of SHA256SUMS, which names the weights and the card together.
    """

    card: ModelCard
    folder: Path
    sums: Mapping[str, str]
    digest: str

    @property
    def model_id(self) -> str:
        """Short name for logs, tables and answers."""
        return model_id(self.card.name, self.digest)

    def read_bytes(self, name: str) -> bytes:
        """The content of one file, as its digest says. Raises BundleError where it has changed or is gone."""
        return _verified(self.folder, name, self.sums[name])

    @cached_property
    def net(self) -> CamNet | Ensemble:
        """The network on the CPU, ready for inference. Raises BundleError where the weights do not fit the card."""
        from wsus.nets.ensemble import build_net

        net = build_net(self.card.net)
        self._load(net, WEIGHTS)
        return net.eval()

    @cached_property
    def unet(self) -> UNet | None:
        """The U-Net on the CPU, where the mode is auto_roi. Raises as `net`."""
        from wsus.nets.unet import UNet

        if self.card.segmenter is None:
            return None
        unet = UNet(self.card.segmenter.net)
        self._load(unet, SEGMENTER_WEIGHTS)
        return unet.eval()

    def _load(self, module: nn.Module, name: str) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            module.load_state_dict(load(self.read_bytes(name)))
        except (SafetensorError, RuntimeError) as error:
            path = self.folder / name
            raise BundleError(f"{path}: the weights do not fit the card's architecture ({str(error)[:200]})") from error


def write_bundle(
    folder: Path, card: ModelCard, net: CamNet | Ensemble, unet: UNet | None = None, *, more: Mapping[str, bytes] | None = None
) -> None:
    """Write a bundle, with `more` files if there are, into a folder that does not exist yet; it appears whole or not at all."""
    if (unet is None) != (card.mode is not Mode.AUTO_ROI):
        raise ValueError(f"a bundle holds a U-Net exactly where its mode is auto_roi; got mode {card.mode.value}")
    files = {**(more or {}), WEIGHTS: _weights(net)}
    if unet is not None:
        files[SEGMENTER_WEIGHTS] = _weights(unet)
    _write(folder, card, files)


def extend_bundle(source: Bundle, folder: Path, card: ModelCard, files: Mapping[str, bytes] | None = None) -> None:
    """Copy a bundle into a new folder with another card and, maybe, more files. Raises BundleError as `Bundle.read_bytes`."""
    kept = {name: source.read_bytes(name) for name in source.sums if name != CARD}
    _write(folder, card, {**kept, **(files or {})})


def read_card(folder: Path) -> ModelCard:
    """The card of a bundle, without its weights. Raises as `read_bundle`."""
    return read_bundle(folder).card


def read_bundle(folder: Path) -> Bundle:
    """Verify a bundle and read its card. Its networks are built when they are asked for.

    Raises:
        BundleError: it is none, a digest does not match, the schema is unknown, or it names what no bundle has.
    """
    _check_files(folder)
    sums, digest = _verified_sums(folder, _REQUIRED)
    card = parse_card(_verified(folder, CARD, sums[CARD]), folder / CARD)
    return Bundle(card=card, folder=folder, sums=sums, digest=digest)


def _check_files(folder: Path) -> None:
    """What is read is a file of the folder itself and of a bounded size. Raises BundleError."""
    sums = folder / SUMS
    if not sums.is_file():
        return  # `_verified_sums` says so
    if sums.stat().st_size > _MOST_SUMS_BYTES:
        raise BundleError(f"{sums}: {sums.stat().st_size:,} bytes; a bundle's has at most {_MOST_SUMS_BYTES:,}")
    names = parse_sums(sums.read_bytes(), str(folder))
    if len(names) > _MOST_FILES:
        raise BundleError(f"{folder}: {SUMS} names {len(names)} files; a bundle has at most {_MOST_FILES}")
    for name in names:
        path, most = folder / name, _MOST_CARD_BYTES if name == CARD else _MOST_FILE_BYTES
        if "/" in name or not name.isprintable():
            raise BundleError(f"{folder}: {SUMS} names {name!r}; a bundle's files lie in its folder itself")
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise BundleError(f"{path}: a link, or no file; a bundle holds files alone: copy what it points at, if you trust it")
        if path.exists() and path.stat().st_size > most:
            raise BundleError(f"{path}: {path.stat().st_size:,} bytes; at most {most:,} are read")


def verify_sums(folder: Path, required: tuple[str, ...]) -> str:
    """Check every file that a folder's SHA256SUMS names, and that it names the required ones.

    Returns:
        the SHA-256 of SHA256SUMS itself.
    Raises:
        BundleError: a file is missing, damaged or not named.
    """
    return _verified_sums(folder, required)[1]


def _verified_sums(folder: Path, required: tuple[str, ...]) -> tuple[dict[str, str], str]:
    if not (folder / SUMS).is_file():
        raise BundleError(f"{folder}: no {SUMS}, so this is not complete, or not what this project wrote")
    content = (folder / SUMS).read_bytes()
    sums = parse_sums(content, str(folder))
    for name in required:
        if name not in sums:
            raise BundleError(f"{folder}: {SUMS} does not name {name}; it is incomplete")
    for name, expected in sums.items():
        _verified(folder, name, expected)
    return sums, hashlib.sha256(content).hexdigest()


def _verified(folder: Path, name: str, expected: str) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{path}: missing, although {SUMS} names it; fetch the bundle again") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}); fetch the bundle again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BundleError(f"{path}: SHA-256 is {found[:12]}..., expected {expected[:12]}...; damaged or changed: do not use it")
    return content


def _write(folder: Path, card: ModelCard, files: Mapping[str, bytes]) -> None:
    with folder_built_beside(folder) as building:
        for name, content in {**files, CARD: dump_card(card)}.items():
            (building / name).write_bytes(content)
        (building / SUMS).write_text(sums_of(building))


def _weights(module: nn.Module) -> bytes:
    from safetensors.torch import save

    return save({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()})
