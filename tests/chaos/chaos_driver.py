"""The driver of a small study, as a process that tests kill: `chaos_driver.py STORE KIND`.

KIND:
    local   a Ray of its own
    once    the same, and a trial that fails is tried once more
    nodes   a cluster of two worker nodes, of which one dies and another joins
    drain   the same, and the node is announced to go NOTICE_S before it does, as a spot machine's
    full    the same two nodes, and the disk of the first one's temporary files, TMPDIR_OF_FIRST, fills while trials train
    HOST:PORT   a cluster that runs
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from cluster.session import ray_session
from tune_jobs.run import run_study
from tune_jobs.study import DataConfig, SourceConfig, StudyConfig
from wsus.data.roi import CropConfig
from wsus.data.splits import SplitConfig
from wsus.storage import open_store
from wsus.training.config import NO_AUGMENTATION, TrainConfig
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


NOTICE_S = 10


def main(address: str, kind: str) -> None:
    if kind in ("local", "once"):
        with ray_session(num_cpus=2):
            say(run_study(STUDY if kind == "local" else replace(STUDY, max_failures=1), address))
        return
    if ":" in kind:
        with ray_session(kind):
            say(run_study(STUDY, address))
        return
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    own = {"env_vars": {"TMPDIR": os.environ["TMPDIR_OF_FIRST"]}} if kind == "full" else {}
    first = nodes.add_node(num_cpus=1, **own)
    nodes.add_node(num_cpus=1)
    with ray_session(nodes.address), ThreadPoolExecutor(1) as beside:  # Ray starts nodes in the main thread alone
        study = beside.submit(run_study, STUDY, address)
        wait_for_checkpoints(address)
        if kind == "nodes":
            lose_a_node_and_add_one(nodes, first)
        elif kind == "drain":
            drain_a_node_and_add_one(nodes, first)
        else:
            fill(Path(os.environ["TMPDIR_OF_FIRST"]), seconds=20)
        say(study.result())
    nodes.shutdown()


def wait_for_checkpoints(address: str) -> None:
    """Until both trials have one."""
    store = open_store(address)
    deadline = time.monotonic() + 120
    while len({key.split("/")[3] for key in store.keys("studies/chaos/tune") if "/checkpoint_" in key}) < 2:
        if time.monotonic() > deadline:
            return
        time.sleep(0.3)


def lose_a_node_and_add_one(nodes: Cluster, victim: Any) -> None:
    """A node dies without notice; then another joins."""
    nodes.remove_node(victim, allow_graceful=False)
    print("a node was killed", flush=True)  # noqa: T201  the test reads it
    nodes.add_node(num_cpus=1)
    print("a node was added", flush=True)  # noqa: T201


def drain_a_node_and_add_one(nodes: Cluster, victim: Any) -> None:
    """What a spot machine does: Ray is told that it goes, another joins, and it is gone at the end of its notice."""
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the spot machine is taken back"]
    notice = ["--node-id", victim.node_id, "--deadline-remaining-seconds", str(NOTICE_S)]
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", nodes.address]
    subprocess.run([*command, *notice, *reason], check=True)
    gone = time.monotonic() + NOTICE_S
    print("a node is drained", flush=True)  # noqa: T201
    nodes.add_node(num_cpus=1)
    time.sleep(max(0.0, gone - time.monotonic()))
    nodes.remove_node(victim, allow_graceful=False)
    print("a node was killed", flush=True)  # noqa: T201


def fill(disk: Path, seconds: float) -> None:
    """No room on a node's disk for a while: what is deleted there meanwhile is taken, too."""
    ballast, end = disk / "ballast", 0.0
    with ballast.open("wb", buffering=0) as file:
        while not end or time.monotonic() < end:
            try:
                file.write(bytes(4096))
            except OSError as error:
                if not end:
                    end = time.monotonic() + seconds
                    print(f"the disk of a node is full ({error.strerror})", flush=True)  # noqa: T201
                time.sleep(0.01)
    ballast.unlink()
    print("there is room again", flush=True)  # noqa: T201


def say(outcome: Any) -> None:
    print("outcome", json.dumps({"cells": outcome.cells, "failures": outcome.failures}), flush=True)  # noqa: T201


if __name__ == "__main__":
    assert ray.__version__
    main(sys.argv[1], sys.argv[2])
