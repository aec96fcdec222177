"""A cluster is divided between trials as Ray will place them: a worker on one node, a trial's workers on any."""

from __future__ import annotations

from typing import Any

import pytest

from tune_jobs.placement import place
from tune_jobs.study import Resources
from wsus.errors import ConfigError, StudyError

GIB = 2**30
LAPTOP = {"CPU": 2.0, "memory": 4.0 * GIB}
HEAD, GPU_NODE = {"CPU": 16.0}, {"CPU": 9.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("wanted", "nodes", "worker", "slots"),
    [
        ({}, [LAPTOP], {"CPU": 1}, 2),
        ({"max_concurrent_trials": 1}, [LAPTOP], {"CPU": 1}, 1),
        ({"cpus_per_trial": 2}, [LAPTOP, LAPTOP], {"CPU": 2}, 2),
        ({"cpus_per_trial": 0.5}, [LAPTOP], {"CPU": 0.5}, 4),
        ({"memory_mb_per_trial": 3 * 1024}, [LAPTOP, LAPTOP], {"CPU": 1, "memory": 3 * GIB}, 2),
        ({}, [HEAD, GPU_NODE], {"CPU": 4, "GPU": 1}, 2),  # the head has no GPU, hence its CPUs do not count
        ({}, [GPU_NODE, {"CPU": 4.0, "GPU": 2.0}], {"CPU": 2, "GPU": 1}, 4),
        ({"gpus_per_trial": 0.4}, [GPU_NODE], {"CPU": 2, "GPU": 0.4}, 4),  # a part of a GPU is that of one GPU
        ({"gpus_per_trial": 0}, [GPU_NODE], {"CPU": 1}, 9),
        ({"workers_per_trial": 2}, [LAPTOP, LAPTOP], {"CPU": 1}, 2),
        ({"workers_per_trial": 3}, [LAPTOP, LAPTOP], {"CPU": 1}, 1),
        ({"workers_per_trial": 2, "cpus_per_trial": 4}, [LAPTOP, LAPTOP], {"CPU": 2}, 1),
        ({"workers_per_trial": 2}, [HEAD, GPU_NODE, GPU_NODE], {"CPU": 4, "GPU": 1}, 2),
        ({"workers_per_trial": 2, "gpus_per_trial": 1}, [GPU_NODE], {"CPU": 2, "GPU": 0.5}, 2),
        ({"workers_per_trial": 2, "memory_mb_per_trial": 1024}, [LAPTOP], {"CPU": 1, "memory": GIB / 2}, 1),
    ],
)
def test_a_cluster_is_divided(
    wanted: dict[str, Any], nodes: list[dict[str, float]], worker: dict[str, float], slots: int
) -> None:
    found = place(Resources(**wanted), nodes)
    assert (dict(found.worker), found.workers, found.slots) == (worker, wanted.get("workers_per_trial", 1), slots)
    assert found.trial == {name: amount * found.workers for name, amount in worker.items()}


def test_a_cluster_that_grows_is_not_asked() -> None:
    wanted = Resources(scaling=True, workers_per_trial=4, cpus_per_trial=8, gpus_per_trial=4, max_concurrent_trials=3)
    found = place(wanted, [])
    assert (dict(found.worker), found.slots) == ({"CPU": 2, "GPU": 1}, 3)
    assert str(found) == "3 at a time, 4 workers each"


@pytest.mark.parametrize(
    ("wanted", "nodes", "message"),
    [
        (
            {"cpus_per_trial": 3},
            [LAPTOP, LAPTOP],
            r"wants 3 CPU; .*room for 0 \(2 CPU, 4096 MiB.*lower resources\.cpus_per_trial",
        ),
        ({"gpus_per_trial": 1}, [LAPTOP], r"wants 1 CPU, 1 GPU; .*lower resources\.cpus_per_trial, resources\.gpus_per_trial"),
        ({"memory_mb_per_trial": 5000}, [LAPTOP], r"5000 MiB of memory; .*resources\.memory_mb_per_trial"),
        ({"workers_per_trial": 3}, [LAPTOP], r"1 CPU for each of 3 workers; .*room for 2 .*lower resources\.workers_per_trial"),
        ({"workers_per_trial": 2}, [GPU_NODE | {"GPU": 1.0}], r"1 GPU for each of 2 workers; .*room for 1 \(9 CPU, 1 GPU\)"),
        ({}, [], r"room for 0 \(no node\)"),
    ],
)
def test_a_trial_without_room_is_refused(wanted: dict[str, Any], nodes: list[dict[str, float]], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        place(Resources(**wanted), nodes)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"workers_per_trial": 0}, r"resources\.workers_per_trial must be >= 1; got 0"),
        ({"workers_per_trial": 2, "gpus_per_trial": 3}, r"gpus_per_trial=3 among 2 workers is 1\.5 GPUs each; .*whole number"),
    ],
)
def test_impossible_resources_are_refused(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Resources(**wanted)
