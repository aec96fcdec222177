"""Whether a network trains in bfloat16: told by the device, on a processor by a short measurement of both.

Weights, losses, averages and the optimiser stay float32; convolutions and what autocast adds to them are bfloat16
(Kalamkar et al. 2019, "A study of bfloat16 for deep learning training").
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from wsus.nets.cam_net import CamNet
from wsus.nets.config import NetConfig, UNetConfig
from wsus.nets.unet import UNet
from wsus.training.config import Precision
from wsus.training.memory import keep_freed_memory

WORTH = 1.2  # times as fast: less is not worth the digits
_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}  # Intel, Intel and AMD, Arm, as /proc/cpuinfo calls them
_BATCH, _STEPS = 8, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """use: what is to be trained in.  The others: images per second of processor time, None where nothing was measured."""

    use: Precision
    float32_images_s: float | None = None
    bfloat16_images_s: float | None = None


def mixed_precision(precision: Precision, device: torch.device) -> torch.autocast:
    """The context of a forward pass. "auto" is bfloat16 on a GPU and float32 on a processor."""
    wanted = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware; False where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return not _FLAGS.isdisjoint(line.partition(":")[2].split())
    return False


def is_narrow(config: NetConfig | UNetConfig) -> bool:
    """Whether a network is float32 on processors without a measurement: it has little to gain, and repeats without a clock."""
    if isinstance(config, NetConfig):
        return config.width < 1
    return config.base_channels < UNetConfig().base_channels


def calibrate(config: NetConfig | UNetConfig, size_px: int, device: torch.device) -> Calibration:
    """Measure steps of a network on a processor, both ways, where there is something to choose."""
    if device.type == "cuda":
        return Calibration(use="bfloat16")
    if is_narrow(config) or not multiplies_bfloat16():
        return Calibration(use="float32")
    return _measure(CamNet(config) if isinstance(config, NetConfig) else UNet(config), size_px)


def _measure(net: nn.Module, size_px: int) -> Calibration:
    """The faster one by the fastest of a few steps each, taken by turns; processor time, so that a busy machine says the same."""
    keep_freed_memory()
    net = net.to(memory_format=torch.channels_last).train()
    images_B1HW = torch.rand(_BATCH, 1, size_px, size_px).contiguous(memory_format=torch.channels_last)
    taken: dict[Precision, list[float]] = {"float32": [], "bfloat16": []}
    for _ in range(_STEPS):
        for precision, times in taken.items():
            start = time.process_time()
            with mixed_precision(precision, torch.device("cpu")):
                output = net(images_B1HW)
            logits = output if isinstance(output, torch.Tensor) else output.logits_BC
            logits.float().square().mean().backward()
            times.append(time.process_time() - start)
    images_s = {precision: _BATCH / min(times) for precision, times in taken.items()}
    faster = images_s["bfloat16"] >= WORTH * images_s["float32"]
    return Calibration(
        use="bfloat16" if faster else "float32",
        float32_images_s=images_s["float32"],
        bfloat16_images_s=images_s["bfloat16"],
    )
