"""Rules that hold for every object of every overlay; each rule is also shown an object that breaks it."""

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import pytest
import ray
from manifests import K8S, OVERLAYS, one

from cluster.manifests.kuberay_rules import KUBERAY_RULES
from cluster.manifests.rules import RAY_KINDS, RULES, clusters, pods
from serve_app.proxy import PROXY_ENVIRONMENT

Rendered = Mapping[str, list[dict[str, Any]]]
ALL_RULES = {**RULES, **KUBERAY_RULES}
OPERATOR = "kuberay-system"


@pytest.mark.parametrize("name", ALL_RULES)
def test_a_rule_holds_everywhere(name: str, rendered: Rendered) -> None:
    documents = [(overlay, document) for overlay in OVERLAYS for document in rendered[overlay]]
    wrong = [f"{overlay}: {line}" for overlay, document in documents for line in ALL_RULES[name](document)]
    assert wrong == []
    print(f"rule {name}: {len(documents)} objects of {len(OVERLAYS)} overlays")  # noqa: T201  the counts belong in the log


def _head(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = next(iter(clusters(document)))["headGroupSpec"]["template"]["spec"]  # type: ignore[assignment]
    return spec


def _container(document: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = _head(document)["containers"][0]
    return container


def _rules(document: dict[str, Any]) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = document["spec"]["deletionStrategy"]["deletionRules"]
    return rules


BREAKS: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("names", lambda d: d["metadata"].update(name="a" * 48)),
    ("names", lambda d: d["metadata"].update(name="1study")),
    ("quantities", lambda d: _container(d).update(resources={})),
    ("quantities", lambda d: _container(d)["resources"]["limits"].update(memory="8 GB")),
    ("quantities", lambda d: _container(d)["resources"]["limits"].update({"nvidia.com/gpu": "1"})),
    ("images", lambda d: _container(d).update(image="wsus:latest")),
    ("images", lambda d: _container(d).update(image="wsus")),
    ("secrets", lambda d: _container(d)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"})),
    ("secrets", lambda d: d["spec"].update(entrypoint="wsus study --out s3://AKIAABCDEFGHIJKLMNOP@bucket")),
    ("restricted", lambda d: _container(d)["securityContext"].update(privileged=True)),
    ("restricted", lambda d: _container(d)["securityContext"].update(readOnlyRootFilesystem=False)),
    ("restricted", lambda d: _head(d)["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ("restricted", lambda d: _head(d).update(hostNetwork=True)),
    ("restricted", lambda d: _head(d)["securityContext"].update(runAsUser=0)),
    ("no_token", lambda d: _head(d).pop("automountServiceAccountToken")),
    ("no_token", lambda d: _head(d).pop("serviceAccountName")),
    ("machines", lambda d: _head(d).pop("nodeSelector")),
    ("machines", lambda d: d["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"].pop("annotations")),
    ("managed_by", lambda d: d["spec"].update(managedBy="me")),
    ("deletion_forms", lambda d: d["spec"]["deletionStrategy"].update(onSuccess={"policy": "DeleteSelf"})),
    ("deletion_forms", lambda d: d["spec"]["deletionStrategy"].update(deletionRules=[])),
    ("deletion_forms", lambda d: _rules(d)[0]["condition"].update(jobDeploymentStatus="Failed")),
    ("deletion_forms", lambda d: _rules(d)[0].update(condition={})),
    ("deletion_order", lambda d: d["spec"].update(shutdownAfterJobFinishes=True)),
    ("deletion_order", lambda d: _rules(d)[0]["condition"].update(ttlSeconds=10**9)),
    ("deletion_order", lambda d: _rules(d).append(_rules(d)[0])),
    ("suspending", lambda d: d["spec"].update(suspend=True)),
    ("job_limits", lambda d: d["spec"].pop("activeDeadlineSeconds")),
    ("job_limits", lambda d: d["spec"].pop("backoffLimit")),
    ("job_limits", lambda d: d["spec"].pop("deletionStrategy")),
    ("job_limits", lambda d: d["spec"]["submitterConfig"].update(backoffLimit=0)),
    ("job_limits", lambda d: _rules(d).pop()),
    ("token_mode", lambda d: d["spec"]["rayClusterSpec"].pop("authOptions")),
    ("token_mode", lambda d: d["spec"]["rayClusterSpec"].update(rayVersion="2.9.3")),
    ("autoscaling", lambda d: d["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].update(replicas=9)),
    ("autoscaling", lambda d: _head(d).update(restartPolicy="Always")),
    ("autoscaling", lambda d: _rules(d)[0].update(policy="DeleteWorkers")),
    ("start_params", lambda d: d["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0})),
    ("start_params", lambda d: d["spec"]["rayClusterSpec"]["headGroupSpec"].update(resources={"CPU": "1"})),
    ("fault_tolerance", lambda d: _container(d)["env"].append({"name": "RAY_REDIS_ADDRESS", "value": "redis"})),
    ("spread", lambda d: _head(d).update(topologySpreadConstraints=[{"nodeTaintsPolicy": "Honor"}])),
    ("spread", lambda d: _head(d).update(topologySpreadConstraints=[{"matchLabelKeys": ["ray.io/cluster"]}])),
]  # fmt: skip
NIGHTLY_BREAKS: list[Callable[[dict[str, Any]], Any]] = [
    lambda s: s.update(concurrencyPolicy="Allow"),
    lambda s: s.pop("startingDeadlineSeconds"),
    lambda s: s.pop("failedJobsHistoryLimit"),
    lambda s: s["jobTemplate"]["spec"].pop("activeDeadlineSeconds"),
    lambda s: s["jobTemplate"]["spec"].pop("ttlSecondsAfterFinished"),
    lambda s: s["jobTemplate"]["spec"].update(backoffLimit=6),
]


@pytest.mark.parametrize(("name", "break_it"), BREAKS)
def test_a_rule_sees_what_breaks_it(name: str, break_it: Callable[[dict[str, Any]], Any], rendered: Rendered) -> None:
    study = deepcopy(one(rendered["gpu-autoscale/jobs"], "RayJob", "wsus-study"))
    assert ALL_RULES[name](study) == []
    break_it(study)
    assert ALL_RULES[name](study) != []


@pytest.mark.parametrize("break_it", NIGHTLY_BREAKS)
def test_a_nightly_job_is_bounded(break_it: Callable[[dict[str, Any]], Any], rendered: Rendered) -> None:
    nightly = deepcopy(one(rendered["gpu"], "CronJob"))
    assert ALL_RULES["batch_limits"](nightly) == []
    break_it(nightly["spec"])
    assert ALL_RULES["batch_limits"](nightly) != []


INCREMENTAL = "NewClusterWithIncrementalUpgrade"
OPTIONS = {"gatewayClassName": "gateway", "stepSizePercent": 10, "intervalSeconds": 30, "maxSurgePercent": 50}


@pytest.mark.parametrize(
    "change",
    [
        {"upgradeStrategy": {"type": "Rolling"}},
        {"upgradeStrategy": {"type": INCREMENTAL}},
        {"upgradeStrategy": {"type": INCREMENTAL, "clusterUpgradeOptions": {**OPTIONS, "maxSurgePercent": 5}}},
        {"upgradeStrategy": {"type": INCREMENTAL, "clusterUpgradeOptions": {**OPTIONS, "gatewayClassName": ""}}},
        {"serviceUnhealthySecondThreshold": 60},
    ],
)
def test_upgrades_are_checked(change: dict[str, Any], rendered: Rendered) -> None:
    service = deepcopy(one(rendered["gateway"], "RayService"))
    assert ALL_RULES["upgrades"](service) == []
    service["spec"].update(change)
    assert ALL_RULES["upgrades"](service) != []


def test_order_rule_has_an_object_that_breaks_it() -> None:
    assert {name for name, _ in BREAKS} | {"upgrades", "batch_limits"} == set(ALL_RULES)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_is_the_pinned_one_everywhere(overlay: str, rendered: Rendered) -> None:
    pinned = [line for line in (K8S.parent / "constraints.txt").read_text().splitlines() if line.startswith("ray==")]
    assert pinned == [f"ray=={ray.__version__}"]
    for document in rendered[overlay]:
        if document["kind"] in RAY_KINDS:
            assert [cluster["rayVersion"] for cluster in clusters(document)] == [ray.__version__]
            tags = {c["image"].rpartition(":")[2] for pod in pods(document) for c in pod.containers()}
            assert len(tags) == 1, f"one image for all roles; found {tags}"
            assert f"ray{ray.__version__}" in tags.pop().split("-")


def policies(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from (document for document in documents if document["kind"] == "NetworkPolicy")


def selects(selector: dict[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector picks a pod."""
    matched = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return matched and all(labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))


def open_ports(documents: list[dict[str, Any]], labels: Mapping[str, str]) -> set[int]:
    """The ports that some policy lets into a pod."""
    found = set()
    for policy in policies(documents):
        if selects(policy["spec"]["podSelector"], labels):
            for rule in policy["spec"].get("ingress", []):
                for port in rule["ports"]:
                    found |= set(range(port["port"], port.get("endPort", port["port"]) + 1))
    return found


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if "/" not in name])
def test_order_port_is_in_a_network_policy(overlay: str, rendered: Rendered) -> None:
    documents = rendered[overlay]
    assert one(documents, "NetworkPolicy", "default-deny")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for document in documents:
        for pod in pods(document):
            labels = {**pod.labels, "ray.io/is-ray-node": "yes"} if document["kind"] in RAY_KINDS else pod.labels
            allowed = open_ports(documents, labels)
            assert {p["containerPort"] for c in pod.containers() for p in c.get("ports", [])} <= allowed
        for cluster in clusters(document):
            allowed = open_ports(documents, {"ray.io/is-ray-node": "yes"})
            for group in [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]:
                params = group["rayStartParams"]
                named = {int(value) for key, value in params.items() if key.endswith("-port")}
                assert named <= allowed
                assert set(range(int(params["min-worker-port"]), int(params["max-worker-port"]) + 1)) <= allowed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_dashboard_and_gcs_are_closed_to_other_namespaces(overlay: str, rendered: Rendered) -> None:
    for policy in policies(rendered[overlay]):
        for rule in policy["spec"].get("ingress", []):
            outside = [peer for peer in rule["from"] if "namespaceSelector" in peer or "ipBlock" in peer]
            ports = {port["port"] for port in rule["ports"]}
            if outside and ports & {6379, 8265, 10001}:
                (peer,) = outside
                assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": OPERATOR}
                assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}
                assert 6379 not in ports
            assert rule["from"], "a rule without `from` lets everybody in"


def test_requests_come_from_the_gateway_alone(rendered: Rendered) -> None:
    for policy in policies(rendered["full"]):
        for rule in policy["spec"].get("ingress", []):
            if policy["metadata"]["name"] not in ("ray-in", "operator-in") and 8000 in {port["port"] for port in rule["ports"]}:
                assert policy["metadata"]["name"] == "gateway-in"


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "airgapped", "full"])
def test_serving_has_the_proxy_of_the_settings(overlay: str, rendered: Rendered) -> None:
    for pod in pods(one(rendered[overlay], "RayService")):
        environment = {variable["name"]: variable.get("value") for variable in pod.spec["containers"][0]["env"]}
        assert PROXY_ENVIRONMENT.items() <= environment.items()


def test_the_autoscaler_alone_has_a_token(rendered: Rendered) -> None:
    for overlay in OVERLAYS:
        for document in rendered[overlay]:
            for pod in pods(document):
                mounts = json.dumps([container.get("volumeMounts", []) for container in pod.containers()])
                assert "serviceaccount" not in mounts
    (cluster,) = clusters(one(rendered["full"], "RayService"))
    assert "kubernetes-api" in {mount["name"] for mount in cluster["autoscalerOptions"]["volumeMounts"]}
    role = one(rendered["full"], "Role")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} <= {"get", "list", "watch", "patch"}


def test_the_namespace_enforces_what_the_pods_keep(rendered: Rendered) -> None:
    labels = one(rendered["cpu"], "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
