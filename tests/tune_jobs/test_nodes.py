"""A study on two Ray nodes that share no folder: its images lie in S3, or are made, and each node brings its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from wsus.data.sources.phantom import PhantomConfig
from wsus.data.sources.phantom_set import MANIFEST, make_phantom_set
from wsus.storage import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.s3]
DRIVER = Path(__file__).with_name("two_nodes.py")


def test_each_node_brings_the_images_and_a_copy_of_them_continues_the_study(s3_address: str, tmp_path: Path) -> None:
    local = tmp_path / "phantoms"
    make_phantom_set(local, [PhantomConfig(patients_per_class=16)])
    bucket = open_store(s3_address)
    for path in local.rglob("*"):
        if path.is_file():
            bucket.upload(path, f"phantoms/{path.relative_to(local).as_posix()}")
    store, caches = tmp_path / "store", [tmp_path / "one", tmp_path / "two"]
    addresses = [f"{s3_address}/phantoms/{MANIFEST}", str(local / MANIFEST)]

    first, again = drive(store, *caches, *addresses, cache=tmp_path / "driver")

    assert first == {"cells": ["resnet34-weak"], "new": ["resnet34-weak"], "failures": []}
    assert again == {"cells": ["resnet34-weak"], "new": [], "failures": []}
    table = pd.read_parquet(store / "studies/spread/cells/resnet34-weak/predictions.parquet")
    assert {"internal", "external"} <= set(table["split"])
    for cache in caches:
        assert len(list(cache.glob("sets/*/landed.json"))) == 1
        assert len(list(cache.glob(f"phantoms/B-*/{MANIFEST}"))) == 1


def drive(*arguments: object, cache: Path) -> list[dict[str, object]]:
    """What the driver said of its two runs; it has a third cache folder."""
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}  # a Ray before set it
    environment = {**inherited, "WSUS_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(DRIVER), *map(str, arguments)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [json.loads(line.removeprefix("outcome ")) for line in ended.stdout.splitlines() if line.startswith("outcome ")]
