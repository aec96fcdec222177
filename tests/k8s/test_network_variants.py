"""Components that fit the policies to a cluster's network: each, on the overlay `full`, changes what it says alone."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from manifests import K8S, kubectl, one

from cluster.manifests.rules import RULES, pods

Rendered = Mapping[str, list[dict[str, Any]]]
Documents = list[dict[str, Any]]
COMPONENTS = (
    "dns-node-local", "dns-openshift", "gateway-here", "pod-identity", "ipv6", "kube-prometheus-stack", "pull-secret",
)  # fmt: skip


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Documents]:
    """Component -> the objects of `full` with it."""
    copy = tmp_path_factory.mktemp("variants") / "k8s"
    shutil.copytree(K8S, copy)
    return {name: built(copy, name) for name in COMPONENTS}


def built(copy: Path, component: str) -> Documents:
    folder = copy / "overlays" / f"with-{component}"
    folder.mkdir()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../full"],
        "components": [f"../../components/{component}"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


def changed(variant: Documents, before: Documents) -> set[tuple[str, str]]:
    old = {(d["kind"], d["metadata"]["name"]): d for d in before}
    return {key for d in variant if old.get(key := (d["kind"], d["metadata"]["name"])) != d}


CHANGES: dict[str, set[tuple[str, str]]] = {
    "dns-node-local": {("NetworkPolicy", "names")},
    "dns-openshift": {("NetworkPolicy", "names")},
    "gateway-here": {("NetworkPolicy", "gateway-in"), ("NetworkPolicy", "gateway-here")},
    "pod-identity": {
        ("NetworkPolicy", "pod-identity-out"), ("ServiceAccount", "wsus"), ("ServiceAccount", "wsus-autoscaler"),
    },
    "ipv6": {("NetworkPolicy", "store-out"), ("NetworkPolicy", "store-out-of-batch")},
    "kube-prometheus-stack": {("PodMonitor", "wsus-ray"), ("PrometheusRule", "wsus")},
    "pull-secret": {("ServiceAccount", "wsus"), ("ServiceAccount", "wsus-autoscaler")},
}  # fmt: skip


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_changes_what_it_says_and_stays_valid(
    name: str, variants: Mapping[str, Documents], rendered: Rendered
) -> None:
    assert changed(variants[name], rendered["full"]) == CHANGES[name]
    for document in variants[name]:
        assert [line for rule in RULES.values() for line in rule(document)] == []
        if (document["kind"], document["metadata"]["name"]) in CHANGES[name] and "coreos" not in document["apiVersion"]:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def egress(documents: Documents, name: str) -> Any:
    return one(documents, "NetworkPolicy", name)["spec"]["egress"]


def names_are_asked_of_the_nodes_cache_too(documents: Documents) -> None:
    peers = egress(documents, "names")[0]["to"]
    assert [peer.get("ipBlock", {}).get("cidr") for peer in peers] == [None, "169.254.20.10/32"]
    assert {port["port"] for port in egress(documents, "names")[0]["ports"]} == {53}


def names_are_asked_on_the_port_of_openshifts_pods(documents: Documents) -> None:
    (rule,) = egress(documents, "names")
    assert {port["port"] for port in rule["ports"]} == {5353}
    assert rule["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "openshift-dns"}


def the_gateways_pods_reach_serving(documents: Documents) -> None:
    gateway = one(documents, "NetworkPolicy", "gateway-here")["spec"]
    labels = gateway["podSelector"]["matchLabels"]
    service = one(documents, "RayService")["metadata"]["name"]
    assert labels == {"gateway.networking.k8s.io/gateway-name": f"{service}-gateway"}, "the operator's name for it"
    allowed = one(documents, "NetworkPolicy", "gateway-in")["spec"]["ingress"][0]["from"]
    assert {"podSelector": {"matchLabels": labels}} in allowed
    assert [rule["ports"][0]["port"] for rule in gateway["egress"]] == [8000, 15012]


def the_agent_of_identities_is_reached_and_no_role_is_named(documents: Documents) -> None:
    (rule,) = egress(documents, "pod-identity-out")
    assert {peer["ipBlock"]["cidr"] for peer in rule["to"]} == {"169.254.170.23/32", "fd00:ec2::23/128"}
    accounts = [d for d in documents if d["kind"] == "ServiceAccount"]
    assert not [a for a in accounts if "eks.amazonaws.com/role-arn" in a["metadata"].get("annotations", {})]


def metadata_stays_closed_in_ipv6(documents: Documents) -> None:
    for name in ("store-out", "store-out-of-batch"):
        four, six = (peer["ipBlock"] for peer in egress(documents, name)[0]["to"])
        assert (four["cidr"], six["cidr"]) == ("0.0.0.0/0", "::/0")
        assert six["except"] == ["fe80::/10", "fd00:ec2::254/128"]


def monitors_carry_the_release(documents: Documents) -> None:
    monitors = [d for d in documents if d["apiVersion"].startswith("monitoring.coreos.com/")]
    assert [d["metadata"]["labels"] for d in monitors] == [{"release": "kube-prometheus-stack"}] * 2


def every_account_names_the_registrys_secret(documents: Documents) -> None:
    used = {pod.spec["serviceAccountName"] for document in documents for pod in pods(document)}
    for name in used:
        assert one(documents, "ServiceAccount", name)["imagePullSecrets"] == [{"name": "wsus-registry"}]


SAYS: dict[str, Callable[[Documents], None]] = {
    "dns-node-local": names_are_asked_of_the_nodes_cache_too,
    "dns-openshift": names_are_asked_on_the_port_of_openshifts_pods,
    "gateway-here": the_gateways_pods_reach_serving,
    "pod-identity": the_agent_of_identities_is_reached_and_no_role_is_named,
    "ipv6": metadata_stays_closed_in_ipv6,
    "kube-prometheus-stack": monitors_carry_the_release,
    "pull-secret": every_account_names_the_registrys_secret,
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_does_what_it_says(name: str, variants: Mapping[str, Documents]) -> None:
    SAYS[name](variants[name])
