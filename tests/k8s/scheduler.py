"""The scheduler's rules that decide where a pod of ours goes: selectors, taints, resources, and topology spread.

After Kubernetes' own words for `PodTopologySpread` (DoNotSchedule): domains are those of the machines that the pod could use
(`nodeAffinityPolicy: Honor`, the default; `nodeTaintsPolicy: Ignore` by default), and pods count that match the selector and
share the values of `matchLabelKeys`; count of the domain + 1 - the smallest count must not exceed maxSkew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PodSpec = Mapping[str, Any]


@dataclass
class Node:
    """A machine. free: what no pod has asked for yet; pods: the labels of those that it runs."""

    name: str
    zone: str
    free: dict[str, float]
    taints: Sequence[Mapping[str, str]] = ()
    pods: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        return {
            "kubernetes.io/hostname": self.name,
            "topology.kubernetes.io/zone": self.zone,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
        }


def place(spec: PodSpec, labels: Mapping[str, str], nodes: Sequence[Node]) -> Node | None:
    """Bind a pod to the first machine that every rule allows; None: it stays Pending."""
    needs = requests(spec)
    for node in nodes:
        fits = all(node.free.get(kind, 0.0) >= amount for kind, amount in needs.items())
        if fits and _selected(spec, node) and _tolerated(spec, node) and _spread(spec, labels, node, nodes):
            node.pods.append(labels)
            for kind, amount in needs.items():
                node.free[kind] -= amount
            return node
    return None


def requests(spec: PodSpec) -> dict[str, float]:
    """What the containers of a pod ask for: cores, bytes, GPUs."""
    total: dict[str, float] = {}
    for container in spec["containers"]:
        for kind, text in container["resources"]["requests"].items():
            total[kind] = total.get(kind, 0.0) + quantity(text)
    return total


def quantity(text: str) -> float:
    """Kubernetes' notation as a number."""
    for suffix, factor in (("Ki", 2**10), ("Mi", 2**20), ("Gi", 2**30), ("Ti", 2**40), ("m", 1e-3)):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


def _selected(spec: PodSpec, node: Node) -> bool:
    return spec.get("nodeSelector", {}).items() <= node.labels.items()


def _tolerated(spec: PodSpec, node: Node) -> bool:
    return all(any(_tolerates(toleration, taint) for toleration in spec.get("tolerations", [])) for taint in node.taints)


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    same = toleration["key"] == taint["key"] and toleration.get("effect", taint["effect"]) == taint["effect"]
    return same and (toleration.get("operator") == "Exists" or toleration.get("value") == taint.get("value"))


def _spread(spec: PodSpec, labels: Mapping[str, str], candidate: Node, nodes: Sequence[Node]) -> bool:
    for constraint in spec.get("topologySpreadConstraints", []):
        if constraint["whenUnsatisfiable"] != "DoNotSchedule":
            continue
        key = constraint["topologyKey"]
        honoured = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
        same = {name: labels[name] for name in constraint.get("matchLabelKeys", []) if name in labels}
        wanted = constraint["labelSelector"]["matchLabels"].items() | same.items()

        counts: dict[str, int] = {}
        for node in nodes:
            if _selected(spec, node) and (not honoured or _tolerated(spec, node)):
                counts[node.labels[key]] = counts.get(node.labels[key], 0) + sum(wanted <= pod.items() for pod in node.pods)
        if counts[candidate.labels[key]] + 1 - min(counts.values()) > constraint["maxSkew"]:
            return False
    return True
