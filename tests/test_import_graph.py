"""The graph of all modules: no circles, and within `wsus` arrows point down the list of its rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).resolve().parents[1]
Kind = Literal["top", "lazy", "typing"]
Graph = dict[str, set[str]]

# From the ground up. `evaluation` lies below `training`, because the development AUC chooses an epoch; `comparison` lies below
# `inference`, because scoring fills the table whose columns the comparison declares.
ROOMS_OF_WSUS = (
    *("errors", "disclaimer", "versions", "types", "storage", "data", "nets", "evaluation", "training", "models"),
    *("comparison", "inference", "two_scores", "report", "validation", "cli", "__main__"),
)


def modules() -> dict[str, Path]:
    """Module name -> file, of all rooms."""
    files = [path for room in ("wsus", "cluster", "tune_jobs", "serve_app") for path in (ROOT / room).rglob("*.py")]
    dotted = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in dotted.items()}


def imported(source: str) -> Iterator[tuple[str, Kind]]:
    """What a file imports: at its top, inside functions, or for type checkers alone."""

    def walk(node: ast.AST, kind: Kind) -> Iterator[tuple[str, Kind]]:
        for child in ast.iter_child_nodes(node):
            below = kind
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                below = "typing"
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and kind == "top":
                below = "lazy"
            elif isinstance(child, ast.Import):
                yield from ((name.name, kind) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from ((f"{child.module}.{name.name}", kind) for name in child.names)
            yield from walk(child, below)

    yield from walk(ast.parse(source), "top")


def graph_of(files: dict[str, str], *kinds: Kind) -> Graph:
    """Module -> the modules that it imports in one of these ways; of `from a.b import name`, `a.b` where `name` is none."""
    graph: Graph = {name: set() for name in files}
    for name, source in files.items():
        for target, kind in imported(source):
            while target and target not in files:
                target = target.rpartition(".")[0]
            if target and target != name and kind in kinds:
                graph[name].add(target)
    return graph


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {name: path.read_text() for name, path in modules().items()}


@pytest.mark.parametrize("kinds", [("top",), ("top", "lazy"), ("top", "lazy", "typing")], ids="+".join)
def test_no_circles(sources: dict[str, str], kinds: tuple[Kind, ...]) -> None:
    graph = graph_of(sources, *kinds)
    assert sum(map(len, graph.values())) > 500
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_a_circle_is_found() -> None:
    files = {"a": "def f():\n    from b import x", "b": "import c.d", "c.d": "if TYPE_CHECKING:\n    from a import f"}
    assert graph_of(files, "top") == {"a": set(), "b": {"c.d"}, "c.d": set()}
    list(TopologicalSorter(graph_of(files, "top", "lazy")).static_order())
    with pytest.raises(CycleError, match="nodes are in a cycle"):
        list(TopologicalSorter(graph_of(files, "top", "lazy", "typing")).static_order())


def test_arrows_within_wsus_point_down(sources: dict[str, str]) -> None:
    place = {room: number for number, room in enumerate(ROOMS_OF_WSUS)}

    def room(module: str) -> str:
        return module.split(".")[1]

    inside = {name: source for name, source in sources.items() if name.startswith("wsus.")}
    assert {room(name) for name in inside} == set(place)
    graph = graph_of(inside, "top", "lazy")
    up = [f"{one} imports {other}" for one in graph for other in graph[one] if place[room(other)] > place[room(one)]]
    assert sorted(up) == []
