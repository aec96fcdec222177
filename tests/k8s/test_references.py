"""What one object names, another one is, or the operations page says how to make it; the operator has the features it needs."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import pytest
import yaml
from manifests import K8S, OVERLAYS, ROOT, one

from cluster.manifests.rules import RAY_KINDS, clusters, job_specs, pods

Rendered = Mapping[str, list[dict[str, Any]]]
INSTALLS = [name for name in OVERLAYS if "/" not in name]
PAGE = (ROOT / "docs/operations.md").read_text()


def installed(overlay: str, rendered: Rendered) -> set[tuple[str, str]]:
    """Kind and name of what stands when the jobs of an overlay are applied; `kueue` has jobs alone and stands on `gpu`."""
    documents = rendered.get(overlay.partition("/")[0], rendered["gpu"])
    return {(document["kind"], document["metadata"]["name"]) for document in documents}


def named_by_pods(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind and name of what the pods of an object cannot start without, Secrets left out."""
    for pod in pods(document):
        yield "ServiceAccount", pod.spec["serviceAccountName"]
        if "priorityClassName" in pod.spec:
            yield "PriorityClass", pod.spec["priorityClassName"]
        for volume in pod.spec.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        for container in pod.containers():
            yield from (("ConfigMap", s["configMapRef"]["name"]) for s in container.get("envFrom", []) if "configMapRef" in s)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_names_is_installed(overlay: str, rendered: Rendered) -> None:
    claims = {
        ("PersistentVolumeClaim", c["metadata"]["name"])
        for document in rendered[overlay]
        for c in document.get("spec", {}).get("volumeClaimTemplates", [])
    }
    wanted = {pair for document in rendered[overlay] for pair in named_by_pods(document)}
    assert len(wanted) >= 2
    assert wanted - installed(overlay, rendered) - claims == set()


def secrets_named(node: Any) -> Iterator[tuple[str, str | None]]:
    """Name and key (None for all) of each Secret that a document names."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "secretKeyRef":
                yield value["name"], value["key"]
            elif key == "secretRef":
                yield value["name"], None
            elif key == "secretName":
                yield value, None
            else:
                yield from secrets_named(value)
    elif isinstance(node, list):
        for value in node:
            yield from secrets_named(value)


def test_order_secret_is_made_on_the_page_with_its_key(rendered: Rendered) -> None:
    made = {
        name: set(re.findall(r"--from-(?:literal|file)=([\w.-]+)", options))
        for name, options in re.findall(r"create secret (?:generic|tls) ([\w-]+)([^\n]*)", PAGE)
    }
    named = {pair for overlay in OVERLAYS for pair in secrets_named(rendered[overlay])}
    assert {name for name, _ in named} == {"wsus-api-tokens", "wsus-s3", "wsus-redis", "wsus-tls"} == set(made)
    assert [(name, key) for name, key in named if key is not None and key not in made[name]] == []
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} == made["wsus-s3"]
    tokens = yaml.safe_load(one(rendered["gpu"], "RayService")["spec"]["serveConfigV2"])["applications"][0]["args"]["tokens_file"]
    assert made["wsus-api-tokens"] == {tokens.rpartition("/")[2]}


def broken_backends(documents: list[dict[str, Any]]) -> list[str]:
    """Services that an Ingress names and nobody makes: KubeRay makes NAME-serve-svc, but not with the incremental upgrade."""
    made = {
        f"{document['metadata']['name']}-serve-svc"
        for document in documents
        if document["kind"] == "RayService" and document["spec"]["upgradeStrategy"]["type"] == "NewCluster"
    }
    named = {
        path["backend"]["service"]["name"]
        for document in documents
        if document["kind"] == "Ingress"
        for rule in document["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    return sorted(named - made)


@pytest.mark.parametrize("overlay", INSTALLS)
def test_an_ingress_leads_to_a_service_that_the_operator_makes(overlay: str, rendered: Rendered) -> None:
    assert broken_backends(rendered[overlay]) == []


def test_an_ingress_and_an_incremental_upgrade_exclude_each_other(rendered: Rendered) -> None:
    assert one(rendered["full"], "Ingress")
    documents = [deepcopy(one(rendered["gateway"], "RayService")), one(rendered["full"], "Ingress")]
    assert broken_backends(documents) == ["wsus-serve-serve-svc"]


def test_the_operator_has_the_features_that_the_objects_need(rendered: Rendered) -> None:
    values = yaml.safe_load((K8S / "operator-values.yaml").read_text())
    on = {gate["name"] for gate in values["featureGates"] if gate["enabled"]}
    needed = set()
    for document in (document for overlay in OVERLAYS for document in rendered[overlay]):
        needed |= {"RayJobDeletionPolicy" for spec in job_specs(document) if "deletionRules" in spec.get("deletionStrategy", {})}
        if document["kind"] == "RayService" and "Incremental" in document["spec"]["upgradeStrategy"]["type"]:
            needed.add("RayServiceIncrementalUpgrade")
    assert on == needed
    assert "--values k8s/operator-values.yaml" in PAGE


def test_the_nightly_comparison_is_that_of_the_job(rendered: Rendered) -> None:
    for overlay in INSTALLS:
        if f"{overlay}/jobs" in OVERLAYS:
            nightly = one(rendered[overlay], "CronJob")["spec"]["jobTemplate"]["spec"]
            assert one(rendered[f"{overlay}/jobs"], "Job", "wsus-compare")["spec"] == nightly, overlay


def test_accounts_carry_a_web_identity_and_pods_no_token(rendered: Rendered) -> None:
    for overlay in INSTALLS:
        accounts = {d["metadata"]["name"]: d["metadata"] for d in rendered[overlay] if d["kind"] == "ServiceAccount"}
        used = {pod.spec["serviceAccountName"] for document in rendered[overlay] for pod in pods(document)}
        for name in used:
            assert "eks.amazonaws.com/role-arn" in accounts[name]["annotations"], name
        assert ("default" in accounts) == (overlay != "tenant"), "what names no account gets no token either"


def test_logs_are_json_in_every_ray_container(rendered: Rendered) -> None:
    for document in (document for overlay in OVERLAYS for document in rendered[overlay]):
        for cluster in clusters(document):
            for group in [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]:
                (container,) = group["template"]["spec"]["containers"]
                assert {"name": "RAY_LOGGING_CONFIG_ENCODING", "value": "JSON"} in container["env"]
        if document["kind"] == "RayService":
            assert yaml.safe_load(document["spec"]["serveConfigV2"])["logging_config"] == {"encoding": "JSON"}


def flows(documents: list[dict[str, Any]], way: str, peers: str) -> dict[str, set[tuple[int, int]]]:
    """Policies of one way whose peers are Ray's pods of this namespace: name -> port ranges."""
    found: dict[str, set[tuple[int, int]]] = {}
    for policy in (document for document in documents if document["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get(way, []):
            if {"podSelector": {"matchLabels": {"ray.io/is-ray-node": "yes"}}} in rule[peers]:
                ranges = {(port["port"], port.get("endPort", port["port"])) for port in rule["ports"]}
                found.setdefault(policy["metadata"]["name"], set()).update(ranges)
    return found


@pytest.mark.parametrize("overlay", INSTALLS)
def test_what_goes_out_between_ray_pods_comes_in(overlay: str, rendered: Rendered) -> None:
    assert flows(rendered[overlay], "egress", "to")["ray-out"] == flows(rendered[overlay], "ingress", "from")["ray-in"]


def test_a_budget_is_never_that_of_a_single_pod(rendered: Rendered) -> None:
    assert not [document for document in rendered["cpu"] if document["kind"] == "PodDisruptionBudget"]
    for overlay in ("gpu", "gpu-autoscale", "full", "gateway", "airgapped", "tenant"):
        budget = one(rendered[overlay], "PodDisruptionBudget")["spec"]
        (group,) = next(clusters(one(rendered[overlay], "RayService")))["workerGroupSpecs"]
        labels = {**group["template"]["metadata"]["labels"], "ray.io/node-type": "worker"}
        assert budget["selector"]["matchLabels"].items() <= labels.items()
        assert group["minReplicas"] > budget["minAvailable"]


def test_order_ray_object_is_in_the_namespace_of_the_policies(rendered: Rendered) -> None:
    for overlay in OVERLAYS:
        own = "team-ultrasound" if overlay.startswith("tenant") else "wsus"
        assert {d["metadata"]["namespace"] for d in rendered[overlay] if d["kind"] in (*RAY_KINDS, "NetworkPolicy")} == {own}


def test_a_tenant_makes_nothing_outside_its_namespace(rendered: Rendered) -> None:
    for overlay in ("tenant", "tenant/jobs"):
        assert {document["metadata"].get("namespace") for document in rendered[overlay]} == {"team-ultrasound"}
        kinds = {document["kind"] for document in rendered[overlay]}
        assert not kinds & {"Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
        assert not [pod.path for d in rendered[overlay] for pod in pods(d) if "priorityClassName" in pod.spec]


def test_serving_sees_no_images_and_studies_no_api_tokens(rendered: Rendered) -> None:
    for overlay in OVERLAYS:
        for document in rendered[overlay]:
            for pod in pods(document):
                mounted = {mount["mountPath"] for c in pod.containers() for mount in c.get("volumeMounts", [])}
                in_ray = "wsus.io/workload" in pod.labels
                assert ("/etc/wsus/tokens" in mounted) == (in_ray and pod.labels["wsus.io/workload"] == "serve")
                reads = in_ray and overlay.startswith("airgapped") and pod.labels["wsus.io/workload"] != "serve"
                assert document["kind"] == "StatefulSet" or ("/data" in mounted) == reads, pod.path
    claims = {overlay for overlay in OVERLAYS for d in rendered[overlay] if d["kind"] == "PersistentVolumeClaim"}
    assert claims == {"airgapped"}, "a volume for many nodes only where no bucket holds the images"
