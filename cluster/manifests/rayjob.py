"""A study as a RayJob: the platform's own base and overlay, with this study's command in it, checked before it is printed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from cluster.manifests.kuberay_rules import KUBERAY_RULES
from cluster.manifests.kustomize import build
from cluster.manifests.rules import RULES, pods
from wsus.errors import ConfigError

BASE_JOB = "wsus-study"
DATA_MOUNT = "/data"
ONE_POD = "cpu"  # the overlay whose study is one pod without GPUs


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """What differs between two studies.

    name: of the RayJob.  recipe, study: of the study.  data: kind -> path below /data, or s3://bucket/prefix.
    settings: key -> value, as `--set` takes them.  store: s3://bucket/prefix.  gpus: workers with one GPU each, at most.
    image: instead of the overlay's.
    """

    name: str
    recipe: str
    study: str
    store: str
    gpus: int = 0
    data: Mapping[str, str]
    settings: Mapping[str, str]
    image: str | None = None

    def __post_init__(self) -> None:
        if not _in_bucket(self.store):
            raise ConfigError(f"--store is s3://bucket/prefix: every pod must reach it; got {_without_secrets(self.store)!r}")
        for kind, path in self.data.items():
            mounted = PurePosixPath(path).is_relative_to(DATA_MOUNT) and ".." not in PurePosixPath(path).parts
            if not mounted and not _in_bucket(path):
                raise ConfigError(
                    f"--data {kind}={_without_secrets(path)}: pods see the volume wsus-data at {DATA_MOUNT}; "
                    "name a path below it, or s3://bucket/prefix"
                )

    def entrypoint(self, overlay_settings: Mapping[str, str]) -> str:
        """The command line that the submitter hands to the cluster; quoted, since a shell reads it."""
        words = ["wsus", "study", "--recipe", self.recipe, "--name", self.study, "--out", self.store]
        words += [word for kind, path in self.data.items() for word in ("--data", f"{kind}={path}")]
        words += [word for key, value in {**overlay_settings, **self.settings}.items() for word in ("--set", f"{key}={value}")]
        return shlex.join(words)


def render_study(job: StudyJob, overlay: str, manifests: Path) -> dict[str, Any]:
    """The RayJob of a study through `manifests/overlays/<overlay>/jobs`.

    Raises:
        ConfigError: no such overlay, GPUs that do not fit it, kubectl is missing, or the result breaks a rule (all are named).
    """
    known = sorted(path.parent.name for path in manifests.glob("overlays/*/jobs"))
    if not known:
        raise ConfigError(
            f"{manifests}: no overlays/*/jobs here; run it where the repository's k8s folder lies, or name it by --manifests"
        )
    if overlay not in known:
        raise ConfigError(f"--overlay {overlay!r}: expected one of {', '.join(known)}")
    _check_gpus(job, overlay)
    (document,) = (d for d in build(manifests / "overlays" / overlay / "jobs") if d["metadata"]["name"] == BASE_JOB)
    _fill(document, job)
    wrong = [f"{name}: {line}" for name, rule in {**RULES, **KUBERAY_RULES}.items() for line in rule(document)]
    if wrong:
        raise ConfigError("the RayJob breaks rules:\n  " + "\n  ".join(_without_secrets(line) for line in wrong))
    return document


def _check_gpus(job: StudyJob, overlay: str) -> None:
    if overlay == ONE_POD and job.gpus:
        raise ConfigError(f"--gpus {job.gpus}: the overlay {overlay!r} has no GPUs; leave --gpus out or take --overlay gpu")
    if overlay != ONE_POD and job.gpus < 1:
        raise ConfigError(
            f"--gpus {job.gpus}: the overlay {overlay!r} trains on GPUs; name at least one, or take --overlay {ONE_POD}"
        )


def _fill(document: dict[str, Any], job: StudyJob) -> None:
    document["metadata"]["name"] = job.name
    spec = document["spec"]
    own = _settings(spec["entrypoint"])
    for group in spec["rayClusterSpec"].get("workerGroupSpecs", []):
        scales = spec["rayClusterSpec"].get("enableInTreeAutoscaling", False)
        group["minReplicas"] = group["replicas"] = 0 if scales else job.gpus
        group["maxReplicas"] = job.gpus
        own |= {"resources.max_concurrent_trials": str(job.gpus)} if scales else {}
    spec["entrypoint"] = job.entrypoint(own)
    if DATA_MOUNT in spec["entrypoint"]:
        _mount_data(document)
    if job.image is not None:
        for pod in pods(document):
            for container in pod.containers():
                container["image"] = job.image  # type: ignore[index]


def _mount_data(document: Mapping[str, Any]) -> None:
    """The claim wsus-data, which components/data-volume makes, in every Ray pod of a job that reads below /data."""
    for pod in pods(document):
        for container in pod.containers():
            mounts = container["volumeMounts"]
            if ".submitterPodTemplate" not in pod.path and DATA_MOUNT not in {mount["mountPath"] for mount in mounts}:
                mounts.append({"name": "data", "mountPath": DATA_MOUNT, "readOnly": True})
                claim = {"claimName": "wsus-data", "readOnly": True}
                pod.spec["volumes"].append({"name": "data", "persistentVolumeClaim": claim})


def _settings(entrypoint: str) -> dict[str, str]:
    """What an overlay sets by itself: weights of an air-gapped cluster, what a trial takes where workers scale."""
    words = shlex.split(entrypoint)
    pairs = (word.partition("=") for before, word in pairwise(words) if before == "--set")
    return {key: value for key, _, value in pairs}


def _in_bucket(address: str) -> bool:
    parsed = urlparse(address)
    return parsed.scheme == "s3" and bool(parsed.netloc)


def _without_secrets(text: str) -> str:
    """A store's address or a message without a password that somebody put into it."""
    before, at, after = text.rpartition("@")
    return f"{before.partition('://')[0]}://...@{after}" if at and "://" in before else text
