"""Every object of every overlay against the schemas of Kubernetes and of KubeRay; unknown fields are errors."""

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from manifests import K8S, OVERLAYS, cel_rules, one, strict

from cluster.manifests.rules import RAY_KINDS

Rendered = Mapping[str, list[dict[str, Any]]]
MONITORING = ("PodMonitor", "PrometheusRule")  # the Prometheus operator's; promtool reads the rules, test_monitoring.py the rest
TWINS = {  # the CEL expressions of the CRDs, and where their twin stands
    "self == oldSelf": "an update's; nothing here is updated",
    "self in ['ray.io/kuberay-operator', 'kueue.x-k8s.io/multikueue']": "managed_by",
    "!((has(self.onSuccess) || has(self.onFailure)) && has(self.deletionRules))": "deletion_forms",
    "((has(self.onSuccess) && has(self.onFailure)) || has(self.deletionRules))": "deletion_forms",
    "!(has(self.jobStatus) && has(self.jobDeploymentStatus))": "deletion_forms",
    "has(self.jobStatus) || has(self.jobDeploymentStatus)": "deletion_forms",
}


@pytest.fixture(scope="module")
def ray_schemas(crds: Mapping[str, dict[str, Any]]) -> dict[str, jsonschema.Draft7Validator]:
    top = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    made = {}
    for kind, schema in crds.items():
        closed = strict(schema)
        closed["properties"].update(top)
        made[kind] = jsonschema.Draft7Validator(closed)
    return made


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_objects_fit_their_schemas(overlay: str, rendered: Rendered, ray_schemas: dict[str, jsonschema.Draft7Validator]) -> None:
    checked: Counter[str] = Counter()
    for document in rendered[overlay]:
        kind = document["kind"]
        if kind in RAY_KINDS:
            errors = [f"{kind}{error.json_path[1:]}: {error.message[:200]}" for error in ray_schemas[kind].iter_errors(document)]
            assert errors == []
            checked["KubeRay"] += 1
        elif kind in MONITORING:
            assert document["apiVersion"] == "monitoring.coreos.com/v1"
            checked["not here"] += 1
        else:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
            checked["Kubernetes"] += 1
    print(f"{overlay}: {dict(checked)}")  # noqa: T201  the counts belong in the log
    assert checked["KubeRay"] > 0


def test_an_unknown_field_anywhere_is_seen(rendered: Rendered, ray_schemas: dict[str, jsonschema.Draft7Validator]) -> None:
    job = deepcopy(one(rendered["gpu/jobs"], "RayJob", "wsus-study"))
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["securityContext"]["readonly"] = True
    assert not ray_schemas["RayJob"].is_valid(job)
    job = deepcopy(one(rendered["gpu/jobs"], "RayJob", "wsus-study"))
    job["spec"]["backoffLimit"] = "5"
    assert not ray_schemas["RayJob"].is_valid(job)


def test_order_cel_rule_of_the_crds_has_a_twin(crds: Mapping[str, dict[str, Any]]) -> None:
    found = {" ".join(rule.split()) for schema in crds.values() for rule in cel_rules(schema)}
    assert found == set(TWINS)


def test_order_kustomization_builds_on_files_that_exist_and_all_files_are_used() -> None:
    used = set()
    for path in K8S.rglob("kustomization.yaml"):
        used.add(path)
        text = yaml.safe_load(path.read_text())
        named = [
            *text.get("resources", []),
            *text.get("components", []),
            *(p["path"] for p in text.get("patches", []) if "path" in p),
        ]
        named += [file for generator in text.get("configMapGenerator", []) for file in generator.get("files", [])]
        for name in named:
            target = (path.parent / name).resolve()
            assert target.exists(), f"{path}: {name}"
            used.add(target)
    files = {path for path in K8S.rglob("*") if path.suffix in (".yaml", ".json")}
    files -= {path for name in ("helm", "samples") for path in (K8S / name).rglob("*")}  # test_chart.py
    assert files - used == {K8S / "operator-values.yaml", K8S / "checkov.yaml"}, "read by helm and by checkov"


def test_the_objects_that_the_platform_needs_are_there(rendered: Rendered) -> None:
    install, jobs = rendered["full"], rendered["gpu-autoscale/jobs"]
    kinds = Counter(document["kind"] for document in install)
    assert {"RayService", "RayCluster", "CronJob", "PodDisruptionBudget", "Ingress", "StatefulSet"} <= set(kinds)
    assert {d["metadata"]["name"] for d in jobs} == {"wsus-study", "wsus-compare"}
    assert kinds["RayJob"] == 0, "a job in the install would start again whenever it is applied after its end"
    study = one(jobs, "RayJob", "wsus-study")["spec"]
    (group,) = study["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"]) == (0, 0)
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "wsus.io/spot" in {toleration["key"] for toleration in group["template"]["spec"]["tolerations"]}
    serve = one(install, "RayService")["spec"]
    assert serve["rayClusterConfig"]["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
    (workers,) = serve["rayClusterConfig"]["workerGroupSpecs"]
    assert len(workers["template"]["spec"]["topologySpreadConstraints"]) == 2
    budget = one(install, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert budget["wsus.io/workload"] == workers["template"]["metadata"]["labels"]["wsus.io/workload"]
