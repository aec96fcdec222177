"""checkov finds nothing in any rendering but what k8s/checkov.yaml waives; the pods of Ray objects are shown to it as pods."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import K8S, OVERLAYS, ROOT, one

from cluster.manifests.rules import RAY_KINDS, pods

Rendered = Mapping[str, list[dict[str, Any]]]
WAIVERS = K8S / "checkov.yaml"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkov() -> str:
    program = shutil.which("checkov", path=str(ROOT / ".venv-checkov/bin")) or shutil.which("checkov")
    if program is None:
        pytest.skip("checkov is not here: `make policies` installs it beside, since it pins what we use")
    return program


def shown(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Objects as checkov knows them; of a Ray object, whose kind it does not know, each pod."""
    for document in documents:
        if document["kind"] not in RAY_KINDS:
            yield document
            continue
        metadata = document["metadata"]
        for number, pod in enumerate(pods(document)):
            name = f"{document['kind'].lower()}-{metadata['name']}-{number}"
            labels = {**pod.labels, "ray.io/is-ray-node": "yes"}
            own = {"name": name, "namespace": metadata["namespace"], "labels": labels}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": pod.spec}


def found(program: str, folder: Path, *options: str) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """The summary, and check and object of each finding."""
    command = [program, "-d", str(folder), "--output", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    report = json.loads(done.stdout)
    findings = {(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]}
    return report["summary"], findings


def test_nothing_is_found_but_what_is_waived(checkov: str, rendered: Rendered, tmp_path: Path) -> None:
    for overlay in OVERLAYS:
        text = yaml.safe_dump_all(shown(deepcopy(rendered[overlay])), sort_keys=False)
        (tmp_path / f"{overlay.replace('/', '-')}.yaml").write_text(text)
    summary, findings = found(checkov, tmp_path, "--config-file", str(WAIVERS))
    assert findings == set()
    assert summary["parsing_errors"] == 0
    assert summary["passed"] > 1000
    print(f"checkov {summary['checkov_version']}: {summary['passed']} passed, {summary['failed']} failed")  # noqa: T201


def test_every_waiver_is_needed_and_a_finding_is_seen(checkov: str, rendered: Rendered, tmp_path: Path) -> None:
    documents = list(shown(deepcopy(rendered["full"])))
    broken = deepcopy(one(rendered["full"], "StatefulSet"))
    broken["metadata"]["name"] = "broken"
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    (tmp_path / "full.yaml").write_text(yaml.safe_dump_all([*documents, broken]))
    _, findings = found(checkov, tmp_path, "--framework", "kubernetes")
    waived = set(yaml.safe_load(WAIVERS.read_text())["skip-check"])
    assert {check for check, resource in findings if not resource.endswith(".broken")} == waived
    assert ("CKV_K8S_16", "StatefulSet.wsus.broken") in findings
