"""A study on two Ray nodes with a cache folder each, as a process of its own: `two_nodes.py STORE ONE TWO MANIFEST COPY`.

A process that was connected to a Ray with a token shows it to every other one, which takes it for dead; hence a fresh process.
"""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster
from tiny_study import TINY_DATA, tiny

from cluster.session import ray_session
from tune_jobs.run import run_study
from tune_jobs.study import DataConfig, SourceConfig, StudyConfig
from wsus.types import Mode


def main(store: str, one: str, two: str, manifest: str, copy: str) -> None:
    """Run the study with the images of MANIFEST, then again with those of COPY."""
    first, second = ({"num_cpus": 1, "env_vars": {"WSUS_CACHE_DIR": cache}} for cache in (one, two))
    nodes = Cluster(initialize_head=True, head_node_args={**first, "include_dashboard": False})
    nodes.add_node(**second)
    with ray_session(nodes.address):
        for address in (manifest, copy):
            outcome = run_study(study(address), store)
            told = {"cells": outcome.cells, "new": outcome.new, "failures": outcome.failures}
            print("outcome", json.dumps(told), flush=True)  # noqa: T201  the test reads it
    nodes.shutdown()


def study(manifest: str) -> StudyConfig:
    """Internal images from a manifest, external ones made."""
    internal = SourceConfig(kind="manifest", path=manifest)
    data = DataConfig(internal=internal, external=TINY_DATA.external, splits=TINY_DATA.splits)
    return tiny("spread", data=data, modes=(Mode.WEAK,), seeds=(0, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
