"""What the networks of a study train in: measured once, on a worker, before the first trial; then the study keeps to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from tune_jobs.compute import device_name, use_device
from tune_jobs.keys import study_key
from tune_jobs.study import StudyConfig
from wsus.nets.config import NetConfig, UNetConfig
from wsus.storage import Store
from wsus.training.config import Precision
from wsus.training.precision import Calibration, calibrate, is_narrow, multiplies_bfloat16
from wsus.types import Mode

UNET = "unet"  # beside the names of backbones


def settle_precision(
    config: StudyConfig, store: Store, measure: Callable[[], dict[str, Any]], say: Callable[[str], None]
) -> Mapping[str, Precision]:
    """The precision of each backbone and of U-Nets: as `study.json` notes it, or as `measure` finds it now, which is then noted.

    Args:
        measure: `measure_precision` on a worker of a trial.
    """
    if config.train.precision != "auto":
        return {UNET: config.train.precision}  # what a backbone has of its own stands in its training configuration
    key = study_key(config.name, "study.json")
    study = store.read_json(key)
    noted: dict[str, Any] | None = study.get("precision")
    if noted is None:
        noted = measure()
        store.write_json(key, {**study, "precision": noted})
    say(f"precision: {_in_words(noted)}")
    return {name: network["use"] for name, network in noted["networks"].items()}


def needs_measuring(config: StudyConfig) -> bool:
    """Whether a processor has a choice: narrow networks, as those of `quick`, have none."""
    return not all(is_narrow(network) for network, _ in _networks(config).values())


def measure_precision(config: StudyConfig, *, cpus: float, gpus: float) -> dict[str, Any]:
    """JSON values: the device, and what each network is to be trained in, with images per second both ways where measured."""
    device = use_device(cpus=cpus, gpus=gpus)
    found = {name: calibrate(network, size_px, device) for name, (network, size_px) in _networks(config).items()}
    return _note(found, device_name(device), device.type == "cuda" or multiplies_bfloat16())


def all_float32(config: StudyConfig) -> dict[str, Any]:
    """What `measure_precision` finds on processors where nothing needs measuring."""
    return _note({name: Calibration(use="float32") for name in _networks(config)}, "no device: the networks are narrow", None)


def _note(found: Mapping[str, Calibration], device: str, bfloat16_in_hardware: bool | None) -> dict[str, Any]:
    networks = {name: asdict(calibration) for name, calibration in found.items()}
    return {"device": device, "bfloat16_in_hardware": bfloat16_in_hardware, "networks": networks}


def _networks(config: StudyConfig) -> dict[str, tuple[NetConfig | UNetConfig, int]]:
    """The networks whose precision is open, with the side of their inputs; supervision modes change images, not networks."""
    networks: dict[str, tuple[NetConfig | UNetConfig, int]] = {
        cell.backbone: (config.net_config(cell, {}), config.crop.size_px)
        for cell in config.cells()
        if config.train_config(cell, {}).precision == "auto"
    }
    if Mode.AUTO_ROI in config.modes:
        networks[UNET] = (config.segmenter.net, config.segmenter.crop.size_px)
    return networks


def _in_words(noted: Mapping[str, Any]) -> str:
    parts = []
    for name, network in sorted(noted["networks"].items()):
        both = (network["bfloat16_images_s"], network["float32_images_s"])
        ratio = f" ({both[0] / both[1]:.1f} times float32)" if all(both) else ""
        parts.append(f"{name} {network['use']}{ratio}")
    return f"{', '.join(parts)}; decided on {noted['device']}, and kept wherever the study goes on"
