"""What every manifest must hold before it is printed or applied; each rule takes one object and names what breaks it.

The rules of the operator are those of KubeRay's own validation and of the CEL expressions in its CRDs, rewritten here,
since neither can be asked without a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
Rule = Callable[[Document], list[str]]
MAX_NAME = 47  # KubeRay derives longer names of pods and services from it
RAY_KINDS = ("RayCluster", "RayJob", "RayService")
STAYS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_IMAGE = re.compile(r"[a-z0-9.:/_-]+(:[\w][\w.-]*(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})")
_SECRET_NAME = re.compile(r"password|passwd|secret|token|api_?key|access_?key|credential", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|wsus_[\w-]{40,}|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s@]+@")


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod of an object. path: where it stands; spec, labels, annotations: of its template."""

    path: str
    spec: Document
    labels: Document
    annotations: Document

    def containers(self) -> list[Document]:
        """All containers, those that run first included."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods(document: Document) -> Iterator[Pod]:
    """The pods that an object makes, wherever it keeps their templates."""

    def walk(node: Any, path: str) -> Iterator[Pod]:
        if isinstance(node, Mapping):
            spec = node.get("spec")
            if isinstance(spec, Mapping) and "containers" in spec:
                metadata = node.get("metadata", {})
                yield Pod(path=path, spec=spec, labels=metadata.get("labels", {}), annotations=metadata.get("annotations", {}))
            for key, value in node.items():
                yield from walk(value, f"{path}.{key}")
        elif isinstance(node, list):
            for position, value in enumerate(node):
                yield from walk(value, f"{path}[{position}]")

    yield from walk(document, f"{document['kind']}/{document['metadata']['name']}")


def clusters(document: Document) -> Iterator[Document]:
    """The Ray cluster specification of an object, where it has one."""
    spec = document.get("spec", {})
    key = {"RayCluster": None, "RayService": "rayClusterConfig"}.get(document["kind"], "rayClusterSpec")
    if document["kind"] in RAY_KINDS:
        yield spec if key is None else spec[key]


def job_specs(document: Document) -> Iterator[Document]:
    """The RayJob specification of an object, where it has one."""
    if document["kind"] == "RayJob":
        yield document["spec"]


def scalars(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a document with their paths."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from scalars(value, f"{path}.{key}")
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from scalars(value, f"{path}[{position}]")
    else:
        yield path, node


def names(document: Document) -> list[str]:
    """A Ray object's name: a DNS label that begins with a letter, at most 47 characters."""
    name = document["metadata"]["name"]
    if document["kind"] not in RAY_KINDS or (len(name) <= MAX_NAME and _NAME.fullmatch(name)):
        return []
    return [f"name {name!r} ({len(name)} characters): expected a letter, then letters, digits and hyphens, at most {MAX_NAME}"]


def quantities(document: Document) -> list[str]:
    """Every container asks for CPU, memory and disk, bounds them, and asks for no more than it bounds."""
    wrong = []
    for pod in pods(document):
        for container in pod.containers():
            resources = container.get("resources", {})
            for part in ("requests", "limits"):
                found = resources.get(part, {})
                missing = {"cpu", "memory", "ephemeral-storage"} - set(found)
                bad = [f"{key}: {value!r}" for key, value in found.items() if not _QUANTITY.fullmatch(str(value))]
                wrong += [f"{pod.path}.{container['name']}: no {part} of {key}" for key in sorted(missing)]
                wrong += [f"{pod.path}.{container['name']}: {part} is no quantity: {text}" for text in bad]
            gpus = [resources.get(part, {}).get("nvidia.com/gpu") for part in ("requests", "limits")]
            wrong += [f"{pod.path}.{container['name']}: GPUs requested and bounded differ"] if gpus[0] != gpus[1] else []
    return wrong


def images(document: Document) -> list[str]:
    """Every image has a tag or a digest, and the tag is not `latest`."""
    found = [(pod.path, c["image"]) for pod in pods(document) for c in pod.containers()]
    return [
        f"{path}: image {image!r}: expected name:tag, never latest"
        for path, image in found
        if not _IMAGE.fullmatch(image) or ":latest" in image
    ]


def secrets(document: Document) -> list[str]:
    """Secrets are named, never contained: no Secret with data, no value of a variable that sounds like one, no known form."""
    wrong = [f"{path}: looks like a secret in clear" for path, value in scalars(document) if _SECRET_VALUE.search(str(value))]
    if document["kind"] == "Secret" and (document.get("data") or document.get("stringData")):
        wrong.append(f"Secret/{document['metadata']['name']}: make it in the cluster, not in a file")
    for pod in pods(document):
        for container in pod.containers():
            wrong += [
                f"{pod.path}: variable {variable['name']} has a value in clear; use valueFrom.secretKeyRef"
                for variable in container.get("env", [])
                if "value" in variable and _SECRET_NAME.search(variable["name"])
            ]
    if document["kind"] == "ConfigMap":
        wrong += [f"ConfigMap: {key} belongs in a Secret" for key in document.get("data", {}) if _SECRET_NAME.search(key)]
    return wrong


def restricted(document: Document) -> list[str]:
    """The Pod Security Standard `restricted`, and a read-only root file system."""
    wrong = []
    for pod in pods(document):
        security = pod.spec.get("securityContext", {})
        shared = [key for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if pod.spec.get(key)]
        wrong += [f"{pod.path}: {key}" for key in shared]
        wrong += [f"{pod.path}: volume {v['name']} is a hostPath" for v in pod.spec.get("volumes", []) if "hostPath" in v]
        if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
            wrong.append(f"{pod.path}: runAsNonRoot and a runAsUser other than 0 are missing")
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            wrong.append(f"{pod.path}: seccompProfile RuntimeDefault is missing")
        for container in pod.containers():
            own = container.get("securityContext", {})
            expected = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            wrong += [
                f"{pod.path}.{container['name']}: {key} must be {value}"
                for key, value in expected.items()
                if own.get(key) != value
            ]
            wrong += [f"{pod.path}.{container['name']}: privileged"] if own.get("privileged") else []
            wrong += [f"{pod.path}.{container['name']}: hostPort" for port in container.get("ports", []) if "hostPort" in port]
    return wrong


def no_token(document: Document) -> list[str]:
    """No pod and no account mounts Kubernetes' token by default; each pod names its account."""
    wrong = []
    if document["kind"] == "ServiceAccount" and document.get("automountServiceAccountToken") is not False:
        wrong.append(f"ServiceAccount/{document['metadata']['name']}: automountServiceAccountToken must be false")
    for pod in pods(document):
        if pod.spec.get("automountServiceAccountToken") is not False:
            wrong.append(f"{pod.path}: automountServiceAccountToken must be false")
        wrong += [] if pod.spec.get("serviceAccountName") else [f"{pod.path}: serviceAccountName is missing"]
    return wrong


def machines(document: Document) -> list[str]:
    """Pods of our image ask for the machines that it is built for; whoever saves machines leaves the heads of Ray alone."""
    wrong = []
    for pod in pods(document):
        selector = pod.spec.get("nodeSelector", {})
        ours = any("/" not in (image := container["image"]) or "wsus" in image for container in pod.containers())
        if ours and (selector.get("kubernetes.io/os") != "linux" or "kubernetes.io/arch" not in selector):
            wrong.append(f"{pod.path}: nodeSelector must name kubernetes.io/os: linux and kubernetes.io/arch")
        if ".headGroupSpec." in pod.path:
            wrong += [f"{pod.path}: annotation {k}: {v!r} is missing" for k, v in STAYS.items() if pod.annotations.get(k) != v]
    return wrong


def spread(document: Document) -> list[str]:
    """What must spread over machines counts its own Ray cluster alone, and no machine that a taint closes: upgrades surge."""
    needed = {"nodeTaintsPolicy": "Honor", "matchLabelKeys": ["ray.io/cluster"]}
    return [
        f"{pod.path}: topologySpreadConstraints[{position}] needs {key}: {value}"
        for pod in pods(document)
        for position, constraint in enumerate(pod.spec.get("topologySpreadConstraints", []))
        for key, value in needed.items()
        if constraint.get(key) != value
    ]


def batch_limits(document: Document) -> list[str]:
    """Kubernetes' own jobs end, are tried a few times, and are deleted; a nightly one never runs twice at once, nor late."""
    if document["kind"] not in ("Job", "CronJob"):
        return []
    spec = document["spec"]
    job = spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec
    wrong = [f"{key} is missing" for key in ("activeDeadlineSeconds", "ttlSecondsAfterFinished") if job.get(key, 0) <= 0]
    wrong += [] if 0 <= job.get("backoffLimit", 6) <= 3 else ["backoffLimit must be at most 3"]
    if document["kind"] == "CronJob":
        wrong += [] if spec.get("concurrencyPolicy") == "Forbid" else ["concurrencyPolicy must be Forbid"]
        wrong += [] if spec.get("startingDeadlineSeconds", 0) > 0 else ["startingDeadlineSeconds is missing"]
        wrong += [] if "failedJobsHistoryLimit" in spec else ["failedJobsHistoryLimit is missing"]
    return wrong


RULES: Mapping[str, Rule] = {
    rule.__name__: rule for rule in (names, quantities, images, secrets, restricted, no_token, machines, spread, batch_limits)
}
