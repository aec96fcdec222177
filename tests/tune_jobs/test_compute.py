"""What work took adds up, and a peak is that of the work, not of what the process did before."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tune_jobs.compute import Compute, Meter, device_name, together
from wsus.training.memory import give_back_memory

CPU = torch.device("cpu")


def test_hours_are_what_is_reserved_times_time() -> None:
    meter = Meter(CPU, cpus=4, gpus=0.5)
    time.sleep(0.05)

    first, second = meter.lap(), meter.lap()

    assert 0.05 <= first.seconds < 1
    assert first.cpu_hours == pytest.approx(4 * first.seconds / 3600)
    assert first.gpu_hours == pytest.approx(0.5 * first.seconds / 3600)
    assert second.seconds < first.seconds  # since the lap before
    assert first.devices == (device_name(CPU),)
    assert first.peak_gpu_memory_mb == 0.0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux lets a process forget its peak")
def test_peak_is_that_of_the_work_and_not_of_what_came_before() -> None:
    large = np.ones(40_000_000)  # 305 MiB
    before = Meter(CPU, cpus=1, gpus=0).lap().peak_memory_mb
    del large
    give_back_memory()  # an earlier test may have let this process keep what it frees

    after = Meter(CPU, cpus=1, gpus=0).lap().peak_memory_mb

    assert after < before - 200


def test_parts_add_up_but_for_peaks_and_names() -> None:
    one = Compute(seconds=1, cpu_hours=2, gpu_hours=0, peak_memory_mb=30, devices=("a",))
    two = Compute(seconds=10, cpu_hours=20, gpu_hours=5, peak_memory_mb=10, peak_gpu_memory_mb=7, devices=("b", "a"))

    assert together([one, two]) == Compute(
        seconds=11, cpu_hours=22, gpu_hours=5, peak_memory_mb=30, peak_gpu_memory_mb=7, devices=("a", "b")
    )
    assert together([]) == Compute()
    assert Compute.from_json(two.to_json()) == two
