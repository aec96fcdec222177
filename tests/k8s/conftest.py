"""Every overlay, built as a platform team builds it, once for all tests."""

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import K8S, OVERLAYS, kubectl

Rendered = Mapping[str, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def rendered() -> Rendered:
    """Overlay -> its objects."""

    def build(overlay: str) -> list[dict[str, Any]]:
        command = [kubectl(), "kustomize", str(K8S / "overlays" / overlay)]
        built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert built.returncode == 0, built.stderr
        assert built.stderr == "", f"kustomize warns: {built.stderr}"
        return list(yaml.load_all(built.stdout, Loader=yaml.CSafeLoader))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(OVERLAYS, pool.map(build, OVERLAYS), strict=True))


@pytest.fixture(scope="session")
def crds(test_reference_dir: Path) -> Mapping[str, dict[str, Any]]:
    """Kind -> the schema of version v1 in KubeRay's CRD."""
    folder = test_reference_dir / "kuberay-crds"
    schemas = {}
    for path in sorted(folder.glob("*.yaml")):
        crd = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["spec"]
        (version,) = [one for one in crd["versions"] if one["name"] == "v1"]
        schemas[crd["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    assert len(schemas) == 4, f"{folder}: expected the CRDs of four kinds; found {sorted(schemas)}"
    return schemas
