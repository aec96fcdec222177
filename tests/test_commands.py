"""Every command loads what it uses: who lists studies does not wait for torch. Measured in a process of its own each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from wsus.cli import app

ROOT = Path(__file__).resolve().parents[1]
HEAVY = frozenset(
    {"torch", "torchvision", "timm", "ray", "optuna", "pandas", "scipy", "matplotlib", "boto3", "onnx", "onnxruntime"}
    | {"fastapi", "pydicom", "jinja2", "safetensors"}
)
TABLES = {"pandas", "scipy"}  # manifests, splits and images
REPORT = TABLES | {"matplotlib", "jinja2", "safetensors"}
LIGHT_MB, LIGHT_S = 100.0, 1.0

# Command -> lines that go as far as they can without a cluster or a trained study, and what they may load of HEAVY.
# What trains or serves loads Ray and torch after these lines end; what they check before must not.
COMMANDS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "--help": (("--help",), set()),
    "run": (("run", "--recipe", "open"), TABLES),
    "study": (("study", "--recipe", "quikc"), TABLES),
    "compare": (("compare", "--study", "a", "--out", "{store}"), TABLES | {"matplotlib", "jinja2", "safetensors"}),
    "publish": (("publish", "--study", "a", "--out", "{store}"), TABLES | {"matplotlib", "jinja2", "safetensors"}),
    "evaluate": (("evaluate", "--model", "{store}", "--data", "busi={store}"), TABLES | {"matplotlib", "jinja2", "safetensors"}),
    "calibrate": (
        ("calibrate", "--model", "{store}", "--data", "busi={store}", "--for", "here"),
        TABLES | {"matplotlib", "jinja2", "safetensors"},
    ),
    "shortcuts": (
        ("shortcuts", "--model", "{store}", "--data", "busi={store}"),
        TABLES | {"matplotlib", "jinja2", "safetensors"},
    ),
    "predict": (("predict", "none.png", "--store", "{store}"), {"scipy", "safetensors"}),
    "serve": (("serve", "--insecure", "--print-config", "--store", "{store}"), set()),
    "stats": (("stats", "--counts", "87/100", "82/100"), {"scipy"}),
    "data phantom": (("data", "phantom", "{new}", "--patients", "1", "--institution", "A"), TABLES),
    "data import": (("data", "import", "busi", "{store}"), TABLES),
    "data audit": (("data", "audit", "{store}/none.csv"), TABLES | {"jinja2"}),
    "recipes list": (("recipes", "list"), TABLES),
    "recipes show": (("recipes", "show", "open"), TABLES),
    "models list": (("models", "list", "--out", "{store}"), set()),
    "models promote": (("models", "promote", "none", "1", "--out", "{store}"), {"scipy"}),
    "models canary": (("models", "canary", "none", "1", "--out", "{store}"), set()),
    "models shadow": (("models", "shadow", "none", "1", "--out", "{store}"), set()),
    "models sign": (("models", "sign", "none", "1", "--key", "{store}/key.pem", "--out", "{store}"), set()),
    "models verify": (("models", "verify", "none", "1", "--out", "{store}"), set()),
    "cluster start": (("cluster", "start"), set()),
    "cluster stop": (("cluster", "stop"), set()),
    "cluster status": (("cluster", "status", "--ray-address", "127.0.0.1:1"), {"ray"}),
    "cluster check": (("cluster", "check", "--ray-address", "127.0.0.1:1"), {"ray"}),
    "cluster submit": (("cluster", "submit", "--address", "http://127.0.0.1:1", "studies", "list"), {"ray"}),
    "cluster jobs": (("cluster", "jobs", "--address", "http://127.0.0.1:1"), {"ray"}),
    "cluster logs": (("cluster", "logs", "job", "--address", "http://127.0.0.1:1"), {"ray"}),
    "cluster attach": (("cluster", "attach", "job", "--address", "http://127.0.0.1:1"), {"ray"}),
    "cluster cancel": (("cluster", "cancel", "job", "--address", "http://127.0.0.1:1"), {"ray"}),
    "studies list": (("studies", "list", "--out", "{store}"), set()),
    "studies show": (("studies", "show", "a", "--out", "{store}"), set()),
    "studies diff": (("studies", "diff", "a", "a", "--out", "{store}"), set()),
    "studies compare": (("studies", "compare", "a", "b", "--out", "{store}"), REPORT),
    "studies mlflow": (
        ("studies", "mlflow", "a", "--uri", "http://127.0.0.1:1", "--out", "{store}"),
        REPORT | {"fastapi"},  # which mlflow's own client loads
    ),
    "score": (("score", "--images", "{store}", "--out", "{new}-scores"), TABLES | {"safetensors"}),
    "studies results": (("studies", "results", "a", "--page", "{store}/page.md", "--out", "{store}"), set()),
    "studies rm": (("studies", "rm", "b", "--yes", "--out", "{store}"), set()),
    "studies clean": (("studies", "clean", "--out", "{store}"), set()),
    "tokens add": (("tokens", "add", "reader", "--file", "{store}/tokens.json"), set()),
    "tokens list": (("tokens", "list", "--file", "{store}/none.json"), set()),
    "tokens remove": (("tokens", "remove", "reader", "--file", "{store}/none.json"), set()),
    "k8s render study": (("k8s", "render", "study", "--store", "s3://bucket/prefix", "--recipe", "quick"), TABLES),
}
LIGHT = ("--help", "studies list", "models list")

MEASURED = """
import json, sys, time
from wsus.cli import main
loaded = {}
for line in json.loads(sys.argv[1]):
    sys.argv = ["wsus", *line]
    try:
        main()
    except SystemExit as ended:
        loaded[" ".join(line)] = [ended.code, sorted(sys.modules)]
# of this program alone; getrusage would count the tests' own process, out of which it was started
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak_mb = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps({"loaded": loaded, "cpu_s": time.process_time(), "peak_mb": peak_mb}))
"""


def measured(lines: list[list[str]]) -> dict[str, Any]:
    """What a process has loaded after each of the lines, one after the other, and what all of them took."""
    command = [sys.executable, "-c", MEASURED, json.dumps(lines)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def names(command: Any, before: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands of a group, `studies list` as one."""
    inside = getattr(command, "commands", None)
    if inside is None:
        yield " ".join(before)
        return
    for name, one in inside.items():
        yield from names(one, (*before, name))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("commands")
    for name in ("a", "b"):
        study = folder / "store" / "studies" / name
        study.mkdir(parents=True)
        config = {"name": name, "backbones": ["vgg16"], "modes": ["weak"]}
        whole = {"name": name, "recipe": "quick", "created": "2026", "config": config, "manifest_digest": "d", "versions": {}}
        (study / "study.json").write_text(json.dumps(whole))
    return {"store": str(folder / "store"), "new": str(folder / "new")}


def test_the_list_above_names_every_command() -> None:
    assert set(COMMANDS) - {"--help"} == set(names(typer.main.get_command(app)))


GROUPS = sorted({frozenset(allowed) for _, allowed in COMMANDS.values()}, key=sorted)  # every process collects one order


@pytest.mark.parametrize("allowed", GROUPS, ids=lambda a: "-".join(sorted(a)))
def test_commands_load_what_they_use(allowed: frozenset[str], places: dict[str, str]) -> None:
    """Those that may load the same, in one process: the first that loads something else is to blame."""
    lines = [[text.format(**places) for text in line] for line, may_load in COMMANDS.values() if may_load == allowed]
    loaded = measured(lines)["loaded"]
    assert set(loaded) == {" ".join(line) for line in lines}
    for line, (status, modules) in loaded.items():
        assert status in (0, 2), line
        assert HEAVY & set(modules) <= allowed, line


@pytest.mark.parametrize("command", LIGHT)
def test_what_only_lists_is_light(command: str, places: dict[str, str]) -> None:
    line, _ = COMMANDS[command]
    found = measured([[text.format(**places) for text in line]])
    assert [status for status, _ in found["loaded"].values()] == [0]
    assert found["peak_mb"] < LIGHT_MB
    assert found["cpu_s"] < LIGHT_S


def test_what_the_test_forbids_exists() -> None:
    """A package that is named wrongly above would be allowed everywhere."""
    import importlib.util

    assert [name for name in sorted(HEAVY) if importlib.util.find_spec(name) is None] == []


WITHOUT_DETOUR = ("wsus.comparison.compare", "wsus.report.write", "wsus.models.bundle", "wsus.inference.files")


def test_statistics_report_and_serving_do_not_load_torch_or_ray_by_a_detour() -> None:
    """One after the other in one process: the first that loads something is the one to blame."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    print(name, *sorted({'torch', 'ray', 'torchvision'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *WITHOUT_DETOUR]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.splitlines() == list(WITHOUT_DETOUR)
