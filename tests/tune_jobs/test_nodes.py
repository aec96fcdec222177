"""A study on two Ray nodes that share no folder: its images lie in S3, or are made, and each node brings its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import ray
from ray.cluster_utils import Cluster
from tiny_study import TINY_DATA, tiny

from cluster.session import ray_session
from tune_jobs.run import run_study
from tune_jobs.study import DataConfig, SourceConfig, StudyConfig
from wsus.data.sources.phantom import PhantomConfig
from wsus.data.sources.phantom_set import MANIFEST, make_phantom_set
from wsus.storage import open_store
from wsus.types import Mode

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.s3]


@pytest.fixture
def caches(s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The cache folders of two nodes with one CPU each; this process is connected, and has a third one."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("WSUS_CACHE_DIR", str(tmp_path / "driver"))
    ray._raylet.Config.initialize("")
    places = [tmp_path / "one", tmp_path / "two"]
    one, two = ({"num_cpus": 1, "env_vars": {"WSUS_CACHE_DIR": str(place)}} for place in places)
    both = Cluster(initialize_head=True, head_node_args={**one, "include_dashboard": False})
    both.add_node(**two)
    with ray_session(both.address):
        yield places
    both.shutdown()
    ray._raylet.Config.initialize("")


def study(manifest: str) -> StudyConfig:
    """Internal images from a manifest, external ones made."""
    data = DataConfig(internal=SourceConfig(kind="manifest", path=manifest), external=TINY_DATA.external, splits=TINY_DATA.splits)
    return tiny("spread", data=data, modes=(Mode.WEAK,), seeds=(0, 1))


def test_each_node_brings_the_images_and_a_copy_of_them_continues_the_study(
    s3_address: str, caches: list[Path], tmp_path: Path
) -> None:
    local = tmp_path / "phantoms"
    make_phantom_set(local, [PhantomConfig(patients_per_class=16)])
    store = open_store(s3_address)
    for path in local.rglob("*"):
        if path.is_file():
            store.upload(path, f"phantoms/{path.relative_to(local).as_posix()}")

    outcome = run_study(study(f"{s3_address}/phantoms/{MANIFEST}"), str(tmp_path / "store"))

    assert outcome.failures == ()
    table = pd.read_parquet(tmp_path / "store/studies/spread/cells/resnet34-weak/predictions.parquet")
    assert {"internal", "external"} <= set(table["split"])
    for place in caches:
        assert len(list(place.glob("sets/*/landed.json"))) == 1
        assert len(list(place.glob("phantoms/B-*/manifest.csv"))) == 1
    again = run_study(study(str(local / MANIFEST)), str(tmp_path / "store"))
    assert again.new == ()
    assert again.cells == outcome.cells
