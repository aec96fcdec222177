"""What a piece of work took: processors x time, memory, and on what device."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What some work took.

    seconds: of work, side by side or not.  cpu_hours, gpu_hours: what was reserved for it x time, whether it was used or not.
    peak_memory_mb: resident, of one process at most.  peak_gpu_memory_mb: allocated on a GPU, 0 without one.
    devices: names of the processors or GPUs that did the work.
    """

    seconds: float = 0.0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    peak_memory_mb: float = 0.0
    peak_gpu_memory_mb: float = 0.0
    devices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Compute:
        """The inverse of `to_json`."""
        return cls(**{**value, "devices": tuple(value["devices"])})


def together(parts: Iterable[Compute]) -> Compute:
    """Times added up, memory at its highest, every device once."""
    parts = list(parts)
    return Compute(
        seconds=sum(part.seconds for part in parts),
        cpu_hours=sum(part.cpu_hours for part in parts),
        gpu_hours=sum(part.gpu_hours for part in parts),
        peak_memory_mb=max((part.peak_memory_mb for part in parts), default=0.0),
        peak_gpu_memory_mb=max((part.peak_gpu_memory_mb for part in parts), default=0.0),
        devices=tuple(dict.fromkeys(device for part in parts for device in part.devices)),
    )


def use_device(*, cpus: float, gpus: float) -> torch.device:
    """The device for a worker that has so much reserved, which then computes with as many threads, and repeatably."""
    torch.set_num_threads(max(1, int(cpus)))
    torch.backends.cudnn.deterministic = True  # the same seed gives the same weights on the same machine
    return torch.device("cuda" if gpus and torch.cuda.is_available() else "cpu")


class Meter:
    """Measures from its making on. cpus, gpus: what is reserved for the work."""

    def __init__(self, device: torch.device, *, cpus: float, gpus: float) -> None:
        self._device, self._cpus, self._gpus = device, cpus, gpus
        self._start = time.perf_counter()
        forget_peaks(device)

    def lap(self) -> Compute:
        """What was taken since the last lap; peaks are those since the meter was made."""
        now = time.perf_counter()
        seconds, self._start = now - self._start, now
        return Compute(
            seconds=seconds,
            cpu_hours=seconds * self._cpus / 3600,
            gpu_hours=seconds * self._gpus / 3600,
            peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
            peak_gpu_memory_mb=torch.cuda.max_memory_allocated(self._device) / 2**20 if self._device.type == "cuda" else 0.0,
            devices=(device_name(self._device),),
        )


def forget_peaks(device: torch.device) -> None:
    """Count peak memory from now on: a worker process does one trial after the other."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # not Linux, or not allowed in this container: the peak is then that of all work of this process
        Path("/proc/self/clear_refs").write_text("5")


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's model where the system tells it, else its architecture."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
