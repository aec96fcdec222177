"""Freed memory is kept between steps and given back on demand; counted by the kernel, in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from wsus.training.memory import keep_freed_memory

MEASURE = """
import json, resource, sys
import numpy as np
from wsus.training.memory import give_back_memory, keep_freed_memory

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

def faults_of_steps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step = [np.ones(40 * 2**20, dtype=np.uint8) for _ in range(5)]
        del step
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    assert keep_freed_memory()
faults_of_steps()
faults, kept = faults_of_steps(), resident_mib()
give_back_memory()
print(json.dumps({"faults": faults, "given_back_mib": kept - resident_mib()}))
"""


def measured(how: str) -> dict[str, float]:
    small_pages = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # so that each page is counted
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, how], env=small_pages, capture_output=True, text=True, check=True, timeout=120
    )
    return dict(json.loads(result.stdout))


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_freed_memory_is_kept_between_steps_and_given_back_after_them() -> None:
    usual, keeping = measured("leave"), measured("keep")
    assert keeping["faults"] < 0.05 * usual["faults"]  # 1,000 MiB of pages in five steps, or next to none
    assert keeping["given_back_mib"] > 190  # a step's 200 MiB
    assert usual["given_back_mib"] < 10


def test_it_may_be_asked_for_again_in_a_process_that_runs() -> None:
    assert keep_freed_memory() == keep_freed_memory()
