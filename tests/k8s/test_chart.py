"""The Helm chart gives what kustomize gives, for three sites; its values are typed; samples fit it and name what there is."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from helm import find_helm, template
from manifests import K8S, ROOT, kubectl
from scheduler import quantity, requests

from cluster.manifests.chart import make_chart
from cluster.manifests.kuberay_rules import KUBERAY_RULES
from cluster.manifests.rules import RULES, pods
from wsus.errors import ConfigError

Rendered = Mapping[str, list[dict[str, Any]]]
SAMPLES = K8S / "samples"
HEADER = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def patch(kind: str, name: str, *operations: dict[str, Any]) -> dict[str, Any]:
    return {"target": {"kind": kind, "name": name}, "patch": yaml.safe_dump(list(operations))}


def setting(key: str, value: str) -> dict[str, Any]:
    return {"op": "add", "path": f"/data/{key}", "value": value}


ROLE = "eks.amazonaws.com/role-arn"
NO_ROLE = patch("ServiceAccount", "wsus.*", {"op": "remove", "path": "/metadata/annotations"})
COST = {"cost-center": "radiology"}
SITES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "gpu": (
        "wsus",
        {"store": "s3://bucket/prefix"},
        {
            "resources": ["../gpu"],
            "patches": [NO_ROLE, patch("ConfigMap", "wsus-settings", setting("WSUS_STORE", "s3://bucket/prefix"))],
        },
    ),
    "everything": (
        "ultrasound",
        {
            "profile": "gpu-autoscale",
            "image": {"repository": "registry.example.org/wsus", "tag": "0.1.0-ray2.60.0-own"},
            "store": "s3://bucket",
            "region": "eu-north-1",
            "endpoint": "https://s3.storage.svc",
            "serviceAccount": {"annotations": {ROLE: "arn:aws:iam::111122223333:role/wsus"}},
            "labels": COST,
            "redis": {"enabled": True},
            "ingress": {"enabled": True, "host": "wsus.example.org", "className": "internal", "tlsSecret": "own-tls"},
            "monitoring": {"enabled": True},
        },
        {
            "namespace": "ultrasound",
            "resources": ["../gpu-autoscale"],
            "components": [f"../../components/{name}" for name in ("redis", "ingress", "monitoring", "cost-labels")],
            "images": [{"name": "wsus", "newName": "registry.example.org/wsus", "newTag": "0.1.0-ray2.60.0-own"}],
            "patches": [
                patch(
                    "ServiceAccount", "wsus.*",
                    {"op": "replace", "path": f"/metadata/annotations/{ROLE.replace('/', '~1')}",
                     "value": "arn:aws:iam::111122223333:role/wsus"},
                ),
                patch(
                    "ConfigMap", "wsus-settings", setting("WSUS_STORE", "s3://bucket"), setting("AWS_REGION", "eu-north-1"),
                    setting("AWS_ENDPOINT_URL", "https://s3.storage.svc"),
                ),
                patch(
                    "Ingress", "wsus-serve",
                    {"op": "replace", "path": "/spec/ingressClassName", "value": "internal"},
                    {"op": "replace", "path": "/spec/tls", "value": [{"hosts": ["wsus.example.org"], "secretName": "own-tls"}]},
                    {"op": "replace", "path": "/spec/rules/0/host", "value": "wsus.example.org"},
                ),
            ],
        },
    ),
    "tenant": (
        "team",
        {
            "profile": "cpu",
            "store": "s3://bucket/prefix",
            "priorityClasses": False,
            "defaultAccount": False,
            "nightly": {"suspend": True, "schedule": "0 4 * * 1", "study": "quick"},
            "dev": {"suspend": False},
        },
        {
            "namespace": "team",
            "resources": ["../../base"],
            "components": ["../../components/tenant", "../../components/cpu"],
            "patches": [
                NO_ROLE,
                patch("ConfigMap", "wsus-settings", setting("WSUS_STORE", "s3://bucket/prefix")),
                patch(
                    "CronJob", "wsus-nightly",
                    {"op": "replace", "path": "/spec/suspend", "value": True},
                    {"op": "replace", "path": "/spec/schedule", "value": "0 4 * * 1"},
                ),
                patch("RayCluster", "wsus-dev", {"op": "replace", "path": "/spec/suspend", "value": False}),
            ],
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return find_helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made") / "wsus-chart"
    make_chart(K8S, made)
    return made


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sites") / "k8s"
    shutil.copytree(K8S, made)
    return made


def kustomized(copy: Path, name: str, kustomization: dict[str, Any]) -> list[dict[str, Any]]:
    folder = copy / "overlays" / f"site-{name}"
    folder.mkdir()
    labels = [name for name in kustomization.get("components", []) if name.endswith("cost-labels")]
    if labels:
        component = copy / "components/cost-labels/kustomization.yaml"
        component.write_text(component.read_text().replace("set-in-your-overlay", "radiology"))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({**HEADER, **kustomization}))
    built = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    return list(yaml.load_all(built.stdout, Loader=yaml.CSafeLoader))


def by_name(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {f"{d['kind']}/{d['metadata']['name']}": d for d in documents if d["kind"] != "Namespace"}
    assert len(found) == len([d for d in documents if d["kind"] != "Namespace"])
    return found


@pytest.mark.parametrize("site", SITES)
def test_the_chart_gives_what_kustomize_gives(site: str, helm: Path, chart: Path, copy: Path, tmp_path: Path) -> None:
    namespace, values, kustomization = SITES[site]
    released = by_name(template(helm, chart, values, namespace, tmp_path))
    expected = by_name(kustomized(copy, site, kustomization))
    assert set(released) == set(expected)
    for name, document in expected.items():
        assert released[name] == document, name
    for document in released.values():
        assert [line for rule in {**RULES, **KUBERAY_RULES}.values() for line in rule(document)] == []
    if site == "everything":
        labelled = [pod for document in released.values() for pod in pods(document)]
        assert len(labelled) >= 6
        assert all(pod.labels["cost-center"] == "radiology" for pod in labelled)
    print(f"{site}: {len(released)} objects alike")  # noqa: T201  the counts belong in the log


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "/store"),
        ({"store": "s3://bucket", "profle": "gpu"}, "profle"),
        ({"store": "s3://bucket", "profile": "tpu"}, "/profile"),
        ({"store": "/data"}, "/store"),
        ({"store": "s3://bucket", "image": {"repository": "wsus", "tag": "latest"}}, "/image/tag"),
        ({"store": "s3://bucket", "ingress": {"enabled": True}}, "/ingress/host"),
        ({"store": "s3://bucket", "nightly": {"schedule": "nightly"}}, "/nightly/schedule"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], said: str, helm: Path, chart: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="returned non-zero") as caught:
        template(helm, chart, values, "wsus", tmp_path)
    assert said in caught.value.stderr


def test_helm_lints_the_chart(helm: Path, chart: Path) -> None:
    command = [str(helm), "lint", "--strict", str(chart), "--set", "store=s3://bucket/prefix"]
    linted = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert linted.returncode == 0, linted.stdout


def test_every_value_is_typed_and_explained() -> None:
    text = (K8S / "helm/wsus/values.yaml").read_text()
    schema = json.loads((K8S / "helm/wsus/values.schema.json").read_text())
    explained = set(re.findall(r"^# .*\n(?:# .*\n)*(\w+):", text, re.MULTILINE))
    assert explained == set(yaml.safe_load(text)) == set(schema["properties"])


def test_the_chart_is_of_this_version() -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    chart = yaml.safe_load((K8S / "helm/wsus/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version


def test_a_folder_that_exists_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        make_chart(K8S, tmp_path)


def sample(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((SAMPLES / f"{name}.yaml").read_text()))


@pytest.mark.parametrize("name", ["argocd", "flux"])
def test_a_gitops_sample_is_a_release_that_renders(name: str, helm: Path, chart: Path, tmp_path: Path) -> None:
    spec = sample(name)[-1]["spec"]
    values = spec["source"]["helm"]["valuesObject"] if name == "argocd" else spec["values"]
    jsonschema.validate(values, json.loads((K8S / "helm/wsus/values.schema.json").read_text()))
    assert template(helm, chart, values, "wsus", tmp_path)


def test_samples_make_the_secrets_that_pods_name(rendered: Rendered) -> None:
    made = {s["spec"]["target"]["name"]: {d["secretKey"] for d in s["spec"]["data"]} for s in sample("external-secrets")}
    assert made == {
        "wsus-api-tokens": {"tokens.json"},
        "wsus-s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
        "wsus-redis": {"password"},
    }
    (certificate,) = sample("cert-manager")
    (ingress,) = (d for d in rendered["full"] if d["kind"] == "Ingress")
    assert certificate["spec"]["secretName"] == ingress["spec"]["tls"][0]["secretName"]


def test_the_quota_of_a_tenant_holds_serving_twice_and_a_study(rendered: Rendered) -> None:
    (quota,) = (document["spec"]["hard"] for document in sample("quota"))
    total: dict[str, float] = {}
    count = 0

    def add(document: dict[str, Any], times: int) -> None:
        nonlocal count
        workers = {".workerGroupSpecs[0]": next((w for w in _groups(document)), {}).get("replicas", 0)}
        for pod in pods(document):
            number = times * next((n for part, n in workers.items() if part in pod.path), 1)
            count += number
            for kind, amount in requests(pod.spec).items():
                total[kind] = total.get(kind, 0.0) + number * amount

    for document in rendered["tenant"]:
        if document["kind"] in ("RayService", "StatefulSet", "CronJob"):
            add(document, 2 if document["kind"] == "RayService" else 1)
    (study,) = (document for document in rendered["tenant/jobs"] if document["kind"] == "RayJob")
    add(study, 1)
    for kind in ("cpu", "memory", "nvidia.com/gpu", "ephemeral-storage"):
        assert total[kind] <= quantity(quota[f"requests.{kind}"]) <= 1.15 * total[kind], (kind, total[kind])
    assert count <= int(quota["pods"])


def _groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = document["spec"].get("rayClusterConfig") or document["spec"].get("rayClusterSpec") or {}
    groups: list[dict[str, Any]] = cluster.get("workerGroupSpecs", [])
    return groups
