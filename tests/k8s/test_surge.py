"""An upgrade of serving on a cluster of GPU and CPU machines, by the scheduler's own rules: the new workers find places."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from manifests import one
from scheduler import Node, place

from cluster.manifests.rules import clusters

Rendered = Mapping[str, list[dict[str, Any]]]
GIB = 2.0**30


def machines(gpu_machines: int, gpus: int) -> list[Node]:
    """Machines with GPUs, whose taint keeps others away, and as many for CPUs, closed to us by a taint of their own."""
    room = {"cpu": 96.0, "memory": 768 * GIB, "ephemeral-storage": 2000 * GIB}
    gpu = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    closed = [{"key": "team", "value": "another", "effect": "NoSchedule"}]
    made = []
    for number in range(gpu_machines):
        zone = f"zone-{number % 3}"
        made.append(Node(name=f"gpu-{number}", zone=zone, free={**room, "nvidia.com/gpu": float(gpus)}, taints=gpu))
        made.append(Node(name=f"cpu-{number}", zone=zone, free=dict(room), taints=closed))
    return made


def placed(template: Mapping[str, Any], cluster: str, count: int, nodes: list[Node]) -> list[Node | None]:
    """Where the workers of one Ray cluster go; the operator gives its pods these labels."""
    labels = {**template["metadata"]["labels"], "ray.io/node-type": "worker", "ray.io/cluster": cluster}
    return [place(template["spec"], labels, nodes) for _ in range(count)]


def worker(rendered: Rendered, overlay: str) -> tuple[dict[str, Any], int]:
    (group,) = next(clusters(one(rendered[overlay], "RayService")))["workerGroupSpecs"]
    return deepcopy(group["template"]), group["maxReplicas"]


@pytest.mark.parametrize("overlay", ["gpu", "gpu-autoscale", "full", "gateway", "airgapped", "tenant"])
@pytest.mark.parametrize("gpu_machines", [2, 4])
def test_an_upgrade_surges_beside_the_cluster_that_serves(overlay: str, gpu_machines: int, rendered: Rendered) -> None:
    template, count = worker(rendered, overlay)
    count = min(count, gpu_machines)
    nodes = machines(gpu_machines, 8)
    old, new = (placed(template, cluster, count, nodes) for cluster in ("old", "new"))
    for workers in (old, new):
        assert None not in workers, "a worker stays Pending beside free GPUs"
        assert len({node.name for node in workers if node}) == count, "each worker of a cluster has a machine of its own"


def without(template: dict[str, Any], *fields: str) -> dict[str, Any]:
    """A pod whose constraints lack these fields."""
    for constraint in template["spec"]["topologySpreadConstraints"]:
        for name in fields:
            del constraint[name]
    return template


def test_without_both_fields_the_upgrade_stays_pending_as_it_was_seen_to(rendered: Rendered) -> None:
    template, count = worker(rendered, "gpu")
    nodes = machines(2, 8)
    without(template, "matchLabelKeys", "nodeTaintsPolicy")
    assert None not in placed(template, "old", count, nodes)
    assert placed(template, "new", count, nodes) == [None, None]
    assert sum(node.free.get("nvidia.com/gpu", 0) for node in nodes) == 14


def test_a_machine_that_a_taint_closes_is_no_empty_place(rendered: Rendered) -> None:
    template, _ = worker(rendered, "gpu-autoscale")
    assert None not in placed(template, "one", 4, machines(2, 8))
    assert None in placed(without(template, "nodeTaintsPolicy"), "one", 4, machines(2, 8))


def test_old_workers_do_not_decide_where_new_ones_go(rendered: Rendered) -> None:
    template, _ = worker(rendered, "gpu")
    for nodes, expected in ((machines(3, 8), "gpu-0"), (machines(3, 8), "gpu-2")):
        placed(template, "old", 2, nodes)
        (first,) = placed(template if expected == "gpu-0" else without(template, "matchLabelKeys"), "new", 1, nodes)
        assert first is not None
        assert first.name == expected


def test_a_second_worker_of_the_same_cluster_needs_a_second_machine(rendered: Rendered) -> None:
    template, _ = worker(rendered, "gpu")
    nodes = machines(2, 8)
    first, second, third = placed(template, "one", 3, nodes)
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.name != second.name
    spread = {node.name: len(node.pods) for node in nodes if node.pods}
    assert sorted(spread.values()) == [1, 2]
