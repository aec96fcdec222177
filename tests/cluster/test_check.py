"""A cluster of two nodes is checked node by node; what is wrong on one is told with what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from cluster import check
from cluster.check import CheckLimits, check_cluster
from cluster.nodes import ask_nodes, versions_of_nodes
from cluster.session import ray_session
from cluster.token import asks_for_token
from wsus.versions import own_versions

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two Ray nodes on this machine, connected to; their address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_AUTH_MODE", raising=False)
        ray._raylet.Config.initialize("")
        two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        two.add_node(num_cpus=1)
        with ray_session(two.address):
            yield two.address
        two.shutdown()
    ray._raylet.Config.initialize("")


def errors(found: list[check.Check]) -> list[str]:
    return [str(item) for item in found if item.level == "error"]


def test_two_nodes_in_order(address: str) -> None:
    found = check_cluster(store=lambda: "written and read", data=lambda: "d" * 64)
    lines = "\n".join(map(str, found))
    assert errors(found) == []
    assert "2 nodes answer" in lines
    assert "read and written from 2 nodes" in lines
    assert "the same digest on every node" in lines


def test_actors_live_on_a_cluster_without_a_token_though_this_user_has_one(address: str) -> None:
    """A driver that shows a token to a cluster without one is taken for dead, and its actors are killed."""
    assert not asks_for_token(address)
    assert os.environ.get("RAY_AUTH_MODE") is None

    class Counter:
        def up(self) -> int:
            return 1

    counter = ray.remote(Counter).options(num_cpus=1).remote()  # an actor ends with the last reference to it
    assert ray.get(counter.up.remote(), timeout=60) == 1


def test_order_node_is_asked_on_itself(address: str) -> None:
    answers = ask_nodes(lambda: ray.get_runtime_context().get_node_id())
    assert {answer.value for answer in answers} == {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    assert all(abs(answer.clock_s) < 1 and answer.error is None for answer in answers)


def test_what_differs_between_nodes_is_told(address: str) -> None:
    def digest() -> str:
        return ray.get_runtime_context().get_node_id()

    (line,) = errors(check_cluster(data=digest))
    assert "data: digests differ" in line
    assert "copy the same images to every node" in line


def test_store_that_one_node_cannot_write_is_told(address: str, tmp_path: Path) -> None:
    marker = tmp_path / "first"

    def probe() -> str:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))  # the second node finds it there
        return "written and read"

    (line,) = errors(check_cluster(store=probe))
    assert "store: FileExistsError" in line
    assert "every node needs the address and the credentials" in line


def test_limits_are_told_as_warnings(address: str) -> None:
    found = check_cluster(limits=CheckLimits(min_shm_gib=1e9, min_disk_gib=1e9))
    warnings = [str(item) for item in found if item.level == "warning"]
    assert len(warnings) == 4
    assert any("give the container --shm-size" in line for line in warnings)


def test_other_versions_on_the_cluster_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(map(str, versions_of_nodes().values())) == {str(own_versions())}
    monkeypatch.setattr(check, "own_versions", lambda: {**own_versions(), "torch": "1.0"})
    assert any("torch 1.0 here" in line for line in errors(check_cluster()))
