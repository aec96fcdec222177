"""docs/operations.md: our commands exist with their options, the manifests that are named or printed build and keep the rules."""

import re
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from manifests import K8S, ROOT, kubectl, one
from typer.main import get_command
from typer.testing import CliRunner

from cluster.manifests.rules import RULES, pods
from wsus.cli import app

PAGE = (ROOT / "docs/operations.md").read_text()


def commands(program: str) -> Iterator[str]:
    """The page's command lines of a program, in blocks and between backquotes."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    lines = [line.split(" #")[0] for line in blocks.splitlines()] + re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", PAGE)
    for line in lines:
        for part in re.split(r"&&|\||\s--\s", re.sub(r"\s+", " ", line)):
            words = part.strip().removeprefix("WSUS_STORE=s3://bucket/prefix ")
            if words.startswith(f"{program} ") and "..." not in words:
                yield words.split(" > ")[0]


@pytest.mark.parametrize("line", sorted(set(commands("wsus"))))
def test_a_command_of_ours_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)[1:]
    command = get_command(app)
    while words and getattr(command, "commands", None):
        assert words[0] in command.commands, f"{line}: no command {words[0]}"  # type: ignore[attr-defined]
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known | {"--help"}


@pytest.mark.parametrize("line", sorted(set(commands("kubectl"))))
def test_a_command_of_kubectl_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.removeprefix("kubectl ").removeprefix("-n wsus "))
    verb = words[:3] if words[0] == "create" else words[:1]
    texts = [
        subprocess.run([kubectl(), *asked], check=True, capture_output=True, text=True, timeout=60).stdout
        for asked in ([*verb, "--help"], ["options"])
    ]
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", "".join(texts)))
    assert {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"} <= known


def test_the_secrets_of_the_page_are_made_as_named(tmp_path: Path) -> None:
    """By kubectl itself, without a cluster."""
    (tmp_path / "tokens.json").write_text("{}")
    made = {}
    for line in re.findall(r"^ *(kubectl -n wsus create secret generic [^#|\n]*)", PAGE, re.MULTILINE):
        command = f"{kubectl()} {line.removeprefix('kubectl ')} --dry-run=client -o yaml"
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
        secret = yaml.safe_load(done.stdout)
        made[secret["metadata"]["name"]] = set(secret["data"])
        assert secret["metadata"]["namespace"] == "wsus"
    assert made == {
        "wsus-api-tokens": {"tokens.json"},
        "wsus-redis": {"password"},
        "wsus-s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    }


def test_manifests_that_the_page_names_build() -> None:
    named = {word for line in commands("kubectl") for word in shlex.split(line) if word.startswith("k8s/")}
    assert len(named) >= 3
    for path in sorted(named):
        assert (ROOT / path).exists(), path
        if (ROOT / path).is_dir():
            subprocess.run([kubectl(), "kustomize", str(ROOT / path)], check=True, capture_output=True, timeout=60)


def printed() -> list[str]:
    """The page's YAML: the overlay of one's own, its jobs, the pod that loads images."""
    return [textwrap.dedent(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of k8s with the page's own overlay in it."""
    copy = tmp_path_factory.mktemp("page") / "k8s"
    shutil.copytree(K8S, copy)
    for folder, text in zip((copy / "overlays/mine", copy / "overlays/mine/jobs"), printed(), strict=False):
        folder.mkdir()
        (folder / "kustomization.yaml").write_text(text)
    return copy


def test_the_overlay_of_ones_own_builds_and_leaves_nothing_to_set(mine: Path) -> None:
    for name in ("mine", "mine/jobs"):
        command = [kubectl(), "kustomize", str(mine / "overlays" / name)]
        built = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        assert "set-in-your-overlay" not in built.stdout + built.stderr
        documents = list(yaml.load_all(built.stdout, Loader=yaml.CSafeLoader))
        images = {container["image"] for document in documents for pod in pods(document) for container in pod.containers()}
        assert images == {"registry.example/wsus:0.1.0-ray2.60.0-cuda"}
        assert [line for rule in RULES.values() for document in documents for line in rule(document)] == []
    line = "k8s render study --gpus 2 --store s3://bucket/prefix --overlay mine --manifests"
    result = CliRunner().invoke(app, [*line.split(), str(mine)])
    assert result.exit_code == 0
    assert "registry.example/wsus:" in result.stdout


def test_the_pod_that_loads_images_may_write_where_the_others_read(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    pod = yaml.safe_load(printed()[-1])
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    template = {"kind": "Pod", "metadata": pod["metadata"], "spec": {"template": {"spec": pod["spec"]}}}
    assert [line for rule in RULES.values() for line in rule(template)] == []
    claims = [v["persistentVolumeClaim"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
    assert claims == [{"claimName": one(rendered["airgapped"], "PersistentVolumeClaim")["metadata"]["name"]}]
    for document in rendered["gpu"]:
        for other in pods(document):
            theirs = [v["persistentVolumeClaim"] for v in other.spec["volumes"] if "persistentVolumeClaim" in v]
            assert all(claim["readOnly"] for claim in theirs)


def test_order_overlay_and_component_is_explained() -> None:
    for folder in (*K8S.glob("overlays/*"), *K8S.glob("components/*")):
        if folder.name not in ("ray-pods", "gpu", "cpu", "autoscale-rights"):
            assert f"`{folder.name}`" in PAGE, folder


def test_order_step_says_whether_it_was_run() -> None:
    steps = re.split(r"^\d\. ", PAGE.split("## Day two")[0], flags=re.MULTILINE)[1:]
    days = re.split(r"^\*\*", PAGE.split("## Day two")[1].split("## Troubleshooting")[0], flags=re.MULTILINE)[1:]
    assert len(steps) == 8
    assert len(days) == 13
    unmarked = [part.splitlines()[0] for part in (*steps, *days) if not {"\u2714", "\u25a2"} & set(part)]
    assert unmarked == []
