"""The commands of docs/operations.md: ours exist with their options, and the manifests that are named build."""

import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest
from manifests import K8S, ROOT, kubectl
from typer.main import get_command

from wsus.cli import app

PAGE = (ROOT / "docs/operations.md").read_text()


def commands(program: str) -> Iterator[str]:
    """The page's command lines of a program, in blocks and between backquotes."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    lines = [line.split(" #")[0] for line in blocks.splitlines()] + re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", PAGE)
    for line in lines:
        for part in re.split(r"&&|\|", re.sub(r"\s+", " ", line)):
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


def test_manifests_that_the_page_names_build() -> None:
    named = {word for line in commands("kubectl") for word in shlex.split(line) if word.startswith("k8s/")}
    assert len(named) >= 3
    for path in sorted(named):
        assert (ROOT / path).exists(), path
        if (ROOT / path).is_dir():
            subprocess.run([kubectl(), "kustomize", str(ROOT / path)], check=True, capture_output=True, timeout=60)


def test_every_overlay_and_component_is_explained() -> None:
    for folder in (*K8S.glob("overlays/*"), *K8S.glob("components/*")):
        if folder.name not in ("ray-pods", "gpu", "cpu", "autoscale-rights"):
            assert f"`{folder.name}`" in PAGE, folder


def test_every_step_says_whether_it_was_run() -> None:
    steps = re.split(r"^\d\. ", PAGE.split("## Day two")[0], flags=re.MULTILINE)[1:]
    days = re.split(r"^\*\*", PAGE.split("## Day two")[1].split("## Troubleshooting")[0], flags=re.MULTILINE)[1:]
    assert len(steps) == 8
    assert len(days) == 9
    unmarked = [part.splitlines()[0] for part in (*steps, *days) if not {"\u2714", "\u25a2"} & set(part)]
    assert unmarked == []
