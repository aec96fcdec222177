"""The driver of a small study, as a process that tests kill: `chaos_driver.py STORE KIND`.

KIND: local (a Ray of its own), once (the same, and a trial that fails is tried once more), or nodes (a cluster of two worker
nodes, of which one dies and another joins).
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import ray
from ray.cluster_utils import Cluster

from cluster.session import ray_session
from tune_jobs.run import run_study
from tune_jobs.study import DataConfig, SourceConfig, StudyConfig
from wsus.data.augment import NO_AUGMENTATION
from wsus.data.roi import CropConfig
from wsus.data.splits import SplitConfig
from wsus.storage import open_store
from wsus.training.classifier import TrainConfig
from wsus.types import Mode

STUDY = StudyConfig(
    name="chaos",
    recipe="test",
    data=DataConfig(
        internal=SourceConfig(kind="phantom", patients_per_class=16),
        external=SourceConfig(kind="phantom", patients_per_class=5, institution="B"),
        splits=SplitConfig(train_per_class=12, internal_per_class=5, external_per_class=5, development_fraction=0.3, folds=2),
    ),
    backbones=("resnet34",),
    modes=(Mode.WEAK, Mode.MANUAL_ROI),
    width=0.25,
    crop=CropConfig(size_px=64),
    train=TrainConfig(epochs=100, batch_size=4, augment=NO_AUGMENTATION),
    bootstrap=50,
    max_failures=100,
)


def main(address: str, kind: str) -> None:
    if kind != "nodes":
        with ray_session(num_cpus=2):
            say(run_study(STUDY if kind == "local" else replace(STUDY, max_failures=1), address))
        return
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    first = nodes.add_node(num_cpus=1)
    nodes.add_node(num_cpus=1)
    with ray_session(nodes.address), ThreadPoolExecutor(1) as beside:  # Ray starts nodes in the main thread alone
        study = beside.submit(run_study, STUDY, address)
        lose_a_node_and_add_one(nodes, first, address)
        say(study.result())
    nodes.shutdown()


def lose_a_node_and_add_one(nodes: Cluster, victim: Any, address: str) -> None:
    """Once both trials have a checkpoint, a node dies without notice; then another joins."""
    store = open_store(address)
    deadline = time.monotonic() + 120
    while len({key.split("/")[3] for key in store.keys("studies/chaos/tune") if "/checkpoint_" in key}) < 2:
        if time.monotonic() > deadline:
            return
        time.sleep(0.3)
    nodes.remove_node(victim, allow_graceful=False)
    print("a node was killed", flush=True)  # noqa: T201  the test reads it
    nodes.add_node(num_cpus=1)
    print("a node was added", flush=True)  # noqa: T201


def say(outcome: Any) -> None:
    print("outcome", json.dumps({"cells": outcome.cells, "failures": outcome.failures}), flush=True)  # noqa: T201


if __name__ == "__main__":
    assert ray.__version__
    main(sys.argv[1], sys.argv[2])
