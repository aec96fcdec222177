"""The Helm chart, made from the kustomize base: files/ holds the objects of an overlay, each with its part."""

from __future__ import annotations

import shutil
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from cluster.manifests.kustomize import build
from wsus.errors import ConfigError

PROFILES = ("cpu", "gpu", "gpu-autoscale")
PARTS = ("redis", "ingress", "monitoring")  # components that a value turns on; what else they change stands in REDIS_KEY
REDIS_KEY = "gcsFaultToleranceOptions"


def make_chart(manifests: Path, target: Path) -> None:
    """Lay the chart of `manifests/helm/wsus` with its objects into a new folder.

    Raises:
        ConfigError: the folder exists, a component changes what the chart's template does not know, or kustomize refuses.
    """
    if target.exists():
        raise ConfigError(f"{target} exists already; name a new folder, or remove it")
    beside = target.with_name(f".{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(manifests / "helm/wsus", beside)
    (beside / "files").mkdir()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "k8s"
        shutil.copytree(manifests, copy)
        for profile in PROFILES:
            text = yaml.safe_dump(_entries(copy, profile), sort_keys=False, width=160)
            (beside / "files" / f"{profile}.yaml").write_text(text)
    beside.rename(target)


def _entries(copy: Path, profile: str) -> list[dict[str, Any]]:
    """The objects of a profile with all parts; a release has a namespace already."""
    known = {_key(document): document for document in _built(copy, profile, ())}
    made: dict[tuple[str, str], dict[str, Any]] = {
        key: {"part": "base", "object": deepcopy(document)} for key, document in known.items()
    }
    for part in PARTS:
        for document in _built(copy, profile, (part,)):
            key = _key(document)
            if key not in made:
                made[key] = {"part": part, "object": document}
            elif document != known[key]:
                _take_redis(made[key]["object"], document)
    return [entry for (kind, _), entry in made.items() if kind != "Namespace"]


def _take_redis(into: dict[str, Any], changed: dict[str, Any]) -> None:
    options = changed["spec"].get("rayClusterConfig", {}).pop(REDIS_KEY, None) if changed["kind"] == "RayService" else None
    if options is None or changed != into:
        raise ConfigError(f"{changed['kind']}/{changed['metadata']['name']}: a component changes what the chart does not know")
    into["spec"]["rayClusterConfig"][REDIS_KEY] = options


def _built(copy: Path, profile: str, parts: tuple[str, ...]) -> list[dict[str, Any]]:
    folder = copy / "overlays" / "-".join(["chart", profile, *parts])
    folder.mkdir()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../{profile}"],
        "components": [f"../../components/{part}" for part in parts],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return build(folder)


def _key(document: dict[str, Any]) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


if __name__ == "__main__":
    make_chart(Path(sys.argv[1]), Path(sys.argv[2]))
