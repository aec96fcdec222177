"""Where a backbone's first weights come from: none, ImageNet, a file, or a folder or bucket of files.

On a machine without a network (`weights_dir`), a folder or s3://bucket/prefix holds the published files under their
published names, or any `<backbone>.safetensors`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load as load_safetensors

from wsus.errors import ConfigError
from wsus.nets.backbones import TIMM_PREFIX, Backbone, ImageNetWeights, get_backbone
from wsus.nets.cam_net import CamNet
from wsus.storage import open_store

logger = logging.getLogger(__name__)


def load_initial_weights(net: CamNet, weights: str, weights_dir: str | None = None) -> None:
    """Fill a network's backbone.

    Args:
        weights: "none" (as initialised), "imagenet", or the path of a .safetensors or .pth file.
        weights_dir: a folder or s3://bucket/prefix that is asked for ImageNet weights before the hub is.
    Raises:
        ConfigError: the weights cannot be had, or belong to another network.
    """
    if weights == "none":
        return
    config = net.config
    if config.width != 1.0 and weights == "imagenet":
        raise ConfigError(f"ImageNet weights are for width 1; got width {config.width} for {config.backbone}; set weights='none'")
    backbone = get_backbone(config.backbone)
    if weights == "imagenet":
        state, source = _imagenet_state(backbone, config.batch_norm, weights_dir)
    else:
        state, source = _parse_state(_read(Path(weights)), weights), weights
    _load_into(net, backbone, state, source)
    logger.info("%s starts from %s", config.backbone, source)


def _imagenet_state(backbone: Backbone, batch_norm: bool, weights_dir: str | None) -> tuple[dict[str, Any], str]:
    official = backbone.imagenet
    if official is None:
        raise ConfigError(f"{backbone.name} has no ImageNet weights; set weights='none', or name a file of its own")
    if weights_dir is not None:
        store = open_store(weights_dir)
        names = (official.file(batch_norm), f"{backbone.name.removeprefix(TIMM_PREFIX)}.safetensors")
        for name in names:
            if store.exists(name):
                return _parse_state(store.read_bytes(name), store.url(name)), store.url(name)
        raise ConfigError(f"{weights_dir}: holds none of {', '.join(names)}; put ImageNet weights of {backbone.name} there")
    if official.package is not None:
        path, package = official.package()
        return _parse_state(path.read_bytes(), str(path)), f"the package {package}"
    return _hub_state(backbone, official, batch_norm)


def _hub_state(backbone: Backbone, official: ImageNetWeights, batch_norm: bool) -> tuple[dict[str, Any], str]:
    try:
        if backbone.name.startswith(TIMM_PREFIX):
            import timm

            name = backbone.name.removeprefix(TIMM_PREFIX)
            return timm.create_model(name, pretrained=True, num_classes=0).state_dict(), f"timm's hub ({name})"
        if official.hub is None:
            raise ConfigError(
                f"ImageNet weights of {backbone.name} are on no hub; name the folder or bucket that holds "
                f"{official.file(batch_norm)} as weights_dir, or set weights='none'"
            )
        from torchvision.models import get_weight

        weights = get_weight(official.hub(batch_norm))
        return dict(weights.get_state_dict(progress=False, check_hash=True)), weights.url
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"ImageNet weights of {backbone.name} cannot be downloaded ({error}); on a machine without network put the file "
            f"{official.file(batch_norm)} into a folder or bucket and name it as weights_dir, or set weights='none'"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"weights {path}: cannot be read ({error.strerror}); expected 'none', 'imagenet' or a .safetensors or .pth file"
        ) from error


def _parse_state(content: bytes, name: str) -> dict[str, Any]:
    import io
    import pickle

    try:
        if name.endswith(".safetensors"):
            return dict(load_safetensors(content))
        return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))  # never unpickles code
    except (RuntimeError, ValueError, pickle.UnpicklingError, EOFError, TypeError) as error:
        raise ConfigError(f"weights {name}: not a state dict that can be read ({error})") from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":
            raise ConfigError(f"weights {name}: not a safetensors file ({error})") from error
        raise


def _load_into(net: CamNet, backbone: Backbone, state: dict[str, Any], source: str) -> None:
    ours = net.features.state_dict()
    renamed = {}
    for theirs_prefix, ours_prefix in backbone.imagenet.prefixes if backbone.imagenet else ():
        for name, value in state.items():
            if name.startswith(theirs_prefix):
                renamed[ours_prefix + name.removeprefix(theirs_prefix)] = value
    if not set(ours) <= set(renamed):  # a file that this project wrote carries our own names
        renamed |= {name.removeprefix("features."): value for name, value in state.items()}
    absent = sorted(name for name, value in ours.items() if name not in renamed or renamed[name].shape != value.shape)
    if absent:
        raise ConfigError(
            f"weights {source}: {len(absent)} of {len(ours)} tensors of {backbone.name} are missing or of another shape, "
            f"the first is {absent[0]!r}; they belong to another network"
        )
    net.features.load_state_dict({name: renamed[name] for name in ours})
