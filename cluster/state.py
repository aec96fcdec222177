"""What a connected Ray cluster consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """One node. resources: name -> amount, as Ray counts them (CPU, GPU, memory in bytes)."""

    address: str
    alive: bool
    resources: dict[str, float]


def cluster_nodes() -> list[NodeState]:
    """The nodes of the cluster that this process is connected to."""
    import ray

    return [
        NodeState(address=node["NodeManagerAddress"], alive=node["Alive"], resources=dict(node["Resources"]))
        for node in ray.nodes()
    ]
