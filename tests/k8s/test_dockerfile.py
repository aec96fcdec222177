"""The image's rules: hadolint, a pinned base, a fixed user, no compiler and no cache in the last stage, only what it needs."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from manifests import K8S, ROOT

from cluster.manifests.rules import pods

DOCKERFILE = K8S / "Dockerfile"
Rendered = Mapping[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def stages() -> dict[str, list[str]]:
    """Stage -> its instructions, continued lines joined."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("FROM "):
            name = line.split(" AS ")[1]
            found[name] = []
        elif line and not line.startswith("#"):
            found[name].append(line)
    return found


def test_hadolint_finds_nothing() -> None:
    linted = subprocess.run(
        [str(Path(sys.executable).parent / "hadolint"), str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False
    )
    assert linted.returncode == 0, linted.stdout


def test_the_base_is_pinned_to_a_patch_release_of_the_tested_python(stages: dict[str, list[str]]) -> None:
    (base,) = (line.removeprefix("ARG BASE=") for line in stages[""])
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base)
    assert base.startswith("python:3.11."), "the constraints are tried on 3.11"


def test_nothing_of_the_build_is_in_the_last_stage(stages: dict[str, list[str]]) -> None:
    last = list(stages)[-1]
    text = "\n".join(stages[last])
    assert last == "run"
    for tool in ("build-essential", "gcc", "pip install", "git"):
        assert tool not in text
    assert "COPY --from=build /opt/wsus /opt/wsus" in text
    assert all("rm -rf /var/lib/apt/lists" in line for line in text.splitlines() if "apt-get install" in line)


def test_packages_are_those_of_the_constraints(stages: dict[str, list[str]]) -> None:
    installs = re.findall(r"pip install [^;&]+", "\n".join(stages["build"]))
    assert len(installs) == 2
    assert all("-c constraints.txt" in install for install in installs)


def test_the_user_is_that_of_the_pods(stages: dict[str, list[str]], rendered: Rendered) -> None:
    (user,) = (line.split()[1] for line in stages["run"] if line.startswith("USER"))
    for document in rendered["gpu"]:
        for pod in pods(document):
            security = pod.spec["securityContext"]
            assert f"{security['runAsUser']}:{security['runAsGroup']}" == user


def test_what_is_written_goes_where_a_pod_mounts_a_disk(stages: dict[str, list[str]], rendered: Rendered) -> None:
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(line for line in stages["run"] if line.startswith("ENV"))))
    for document in rendered["gpu"]:
        for pod in pods(document):
            mounted = {m["mountPath"] for c in pod.containers() for m in c["volumeMounts"] if not m.get("readOnly")}
            if "/cache" in mounted:
                assert {environment["HOME"], environment["WSUS_CACHE_DIR"]} <= mounted
                assert environment["MPLCONFIGDIR"].startswith("/cache/")


def test_variants_are_cpu_and_cuda(stages: dict[str, list[str]], rendered: Rendered) -> None:
    assert "ARG VARIANT=cuda" in stages["build"]
    for overlay, variant in (("cpu", "cpu"), ("gpu", "cuda")):
        found = {c["image"].rsplit("-", 1)[1] for d in rendered[overlay] for pod in pods(d) for c in pod.containers()}
        assert found == {variant}


def test_the_context_holds_what_is_copied_and_no_more(stages: dict[str, list[str]]) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    copied = {name for line in stages["build"] if line.startswith("COPY") for name in line.split()[1:-1]}
    assert ignore[1] == "*"
    assert copied == kept
    assert all((ROOT / name).exists() for name in kept)
