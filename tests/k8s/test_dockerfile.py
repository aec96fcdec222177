"""The image's rules: hadolint, a pinned base, a fixed user, layers apart, only what it needs; and each RUN line, run."""

import json
import os
import re
import site
import subprocess
import sys
from collections.abc import Iterator, Mapping
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
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()))
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
    for tool in ("build-essential", "gcc", "pip ", "git"):
        assert tool not in text
    copied = [line for line in text.splitlines() if line.startswith("COPY")]
    assert copied == ["COPY --from=dependencies /opt/wsus /opt/wsus", "COPY --from=code /opt/code /opt/code"]
    assert "HEALTHCHECK" not in text, "Kubernetes has probes of its own"
    assert all("rm -rf /var/lib/apt/lists" in line for line in text.splitlines() if "apt-get install" in line)


def test_dependencies_do_not_change_with_the_code(stages: dict[str, list[str]]) -> None:
    copied = {name for line in stages["dependencies"] if line.startswith("COPY") for name in line.split()[1:-1]}
    assert copied == {"pyproject.toml", "constraints.txt"}
    assert not DOCKERFILE.read_text().startswith("# syntax"), "no front end is fetched from a hub"


def test_packages_are_wheels_of_the_constraints(stages: dict[str, list[str]]) -> None:
    text = "\n".join([*stages["dependencies"], *stages["code"]])
    installs = re.findall(r"pip (?:--python \S+ )?install [^;&\n]+", text)
    assert len(installs) == 4
    index, dependencies, code, tool = installs
    assert "--index-url" in index
    assert "-r torch.txt" in index
    assert "-c constraints.txt -r requirements.txt" in dependencies
    assert "--no-deps --target /opt/code ." in code
    assert re.fullmatch(r"pip install cyclonedx-bom==[\d.]+\s*", tool)
    assert all("--only-binary :all:" in install for install in (index, dependencies)), "the image has no compiler"


def test_the_user_is_that_of_the_pods(stages: dict[str, list[str]], rendered: Rendered) -> None:
    (user,) = (line.split()[1] for line in stages["run"] if line.startswith("USER"))
    for document in rendered["gpu"]:
        for pod in pods(document):
            security = pod.spec["securityContext"]
            assert f"{security['runAsUser']}:{security['runAsGroup']}" == user


def test_what_is_written_goes_where_a_pod_mounts_a_disk(stages: dict[str, list[str]], rendered: Rendered) -> None:
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(line for line in stages["run"] if line.startswith("ENV"))))
    assert environment["WSUS_REVISION"] == "${REVISION}"
    for document in rendered["gpu"]:
        for pod in pods(document):
            mounted = {m["mountPath"] for c in pod.containers() for m in c["volumeMounts"] if not m.get("readOnly")}
            if "/cache" in mounted:
                assert {environment["HOME"], environment["WSUS_CACHE_DIR"]} <= mounted
                assert environment["MPLCONFIGDIR"].startswith("/cache/")


def test_variants_are_cpu_and_cuda(stages: dict[str, list[str]], rendered: Rendered) -> None:
    assert "ARG VARIANT=cuda" in stages["dependencies"]
    for overlay, variant in (("cpu", "cpu"), ("gpu", "cuda")):
        found = {c["image"].rsplit("-", 1)[1] for d in rendered[overlay] for pod in pods(d) for c in pod.containers()}
        assert found == {variant}


def test_the_context_holds_what_is_copied_and_no_more(stages: dict[str, list[str]]) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    lines = [*stages["dependencies"], *stages["code"]]
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]}
    assert ignore[1] == "*"
    assert copied == kept
    assert all((ROOT / name).exists() for name in kept)


class Scratch:
    """This machine's root with a layer over it, thrown away afterwards: RUN lines are run as they stand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        steps = [
            f"mount -t tmpfs tmpfs {folder}",
            f"mkdir {folder}/upper {folder}/work {folder}/root",
            f"mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root",
            f"for place in proc dev sys; do mount --rbind /$place {folder}/root/$place; done",
            f"exec chroot {folder}/root bash",
        ]
        self.shell = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", " && ".join(steps)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root"},
        )  # fmt: skip

    def run(self, script: str) -> tuple[int, str]:
        """A script's status and what it said; what it writes stays for the next one."""
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"( {script}\n) < /dev/null\nstatus=$?; echo; echo ended $status\n")
        self.shell.stdin.flush()
        said = []
        for line in self.shell.stdout:
            if line.startswith("ended "):
                return int(line.split()[1]), "".join(said)
            said.append(line)
        raise AssertionError("the shell is gone: " + "".join(said))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    made = Scratch(tmp_path_factory.mktemp("image"))
    if os.geteuid() or made.run("true")[0]:
        pytest.skip("a layer over the root needs root and a kernel that lets mount one")
    yield made
    made.shell.kill()
    made.shell.wait(30)


def commands(stages: Mapping[str, list[str]], stage: str) -> list[str]:
    """The RUN lines of a stage, without what the engine mounts."""
    return [re.sub(r"--mount=\S+\s+", "", line.removeprefix("RUN ")) for line in stages[stage] if line.startswith("RUN ")]


@pytest.mark.slow
def test_every_run_line_runs(stages: dict[str, list[str]], scratch: Scratch) -> None:
    """In the order of the Dockerfile. The dependencies are taken from this environment: to unpack them takes minutes."""
    defaults = re.findall(r"^ARG (\w+)=\"?(.*?)\"?$", "\n".join(stages["dependencies"]), re.MULTILINE)
    arguments = " ".join(f"{name}='{value}'" for name, value in defaults)
    head = f"set -euo pipefail; export PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/build/bin:$PATH {arguments}; cd /build;"
    venv, variants, dependencies = commands(stages, "dependencies")
    (code,) = commands(stages, "code")
    (system,) = commands(stages, "run")

    def must(script: str) -> str:
        status, said = scratch.run(script)
        assert status == 0, f"{script}\n{said[-3000:]}"
        return said

    must(f"rm -rf /opt/wsus /opt/code /opt/build; mkdir -p /build; {head} {venv}")
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "wsus", "cluster", "tune_jobs", "serve_app"):
        must(f"cp -r {ROOT}/{name} /build/")
    must(f"{head} {variants}")
    for wrong in ("VARIANT=cpu TORCH_INDEX=", "VARIANT=gpu TORCH_INDEX=", "VARIANT=cuda TORCH_INDEX=/wheels"):
        status, said = scratch.run(f"{head} export {wrong}; {variants}")
        assert status == 1
        assert "VARIANT is cuda, or cpu with TORCH_INDEX" in said

    (packages,) = (path for path in site.getsitepackages() if path.startswith(sys.prefix))
    must(f"echo {packages} > /opt/wsus/lib/python3.11/site-packages/here.pth")
    said = must(f"{head} {dependencies}")
    assert "Successfully installed" not in said, f"a dependency is not the one of constraints.txt:\n{said}"
    must(f"{head} {code}")
    must(system)

    as_pod = "setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
    assert "Commands" in must(f"cd /tmp; {as_pod} /opt/code/bin/wsus --help")
    where = must(f"cd /tmp; {as_pod} /opt/wsus/bin/python3 -c 'import wsus; print(wsus.__file__)'")
    assert where.strip() == "/opt/code/wsus/__init__.py"
    assert must("stat -c %u:%g /cache; command -v tini wget").split() == ["10001:10001", "/usr/bin/tini", "/usr/bin/wget"]
    bill = json.loads(must("cat /opt/code/sbom.cdx.json"))
    assert bill["metadata"]["component"]["name"] == "wsus"
    assert {"ray", "torch", "numpy"} <= {component["name"].lower() for component in bill["components"]}
