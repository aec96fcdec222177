"""Who may import whom, read from the source: the science runs and is tested without Ray, and rooms stay apart."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("wsus", "cluster", "tune_jobs", "serve_app")
COMPOSING = "wsus/cli/"
RAY_ALLOWED = (
    "cluster/",
    "tune_jobs/run.py",
    "tune_jobs/tasks.py",
    "tune_jobs/trial.py",
    "tune_jobs/team.py",
    "tune_jobs/waiting.py",
    "tune_jobs/score.py",
    "tune_jobs/stream.py",
    "tune_jobs/per_cell.py",
    "serve_app/app.py",
    "serve_app/running.py",
)
WITHOUT_TORCH = ("wsus/evaluation/", "wsus/comparison/", "wsus/two_scores/", "wsus/report/")


@dataclass(frozen=True, kw_only=True)
class Import:
    """One import statement. lazy: inside a function."""

    file: str
    line: int
    module: str
    lazy: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(source: str, file: str) -> Iterator[Import]:
    """All imports of a file but those for type checkers alone."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from (Import(file=file, line=child.lineno, module=name.name, lazy=lazy) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                package = file.split("/")[: -child.level] if child.level else []
                module = ".".join([*package, *([child.module] if child.module else [])])
                yield Import(file=file, line=child.lineno, module=module, lazy=lazy)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, lazy or inside)

    yield from walk(ast.parse(source), lazy=False)


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    files = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    found = [one for path in files for one in imports_of(path.read_text(), path.relative_to(ROOT).as_posix())]
    assert {one.file.partition("/")[0] for one in found} == set(ROOMS)
    return found


def of_room(imports: list[Import], room: str) -> list[Import]:
    return [one for one in imports if one.file.startswith(f"{room}/")]


def test_the_reading_itself() -> None:
    source = """
import a.b, c
from d.e import f
from . import g
from ..h import i
if TYPE_CHECKING:
    import unseen
def function():
    import lazy
class Klass:
    import k
"""
    found = {(one.module, one.lazy) for one in imports_of(source, "room/part/file.py")}
    assert found == {
        ("a.b", False), ("c", False), ("d.e", False), ("room.part", False), ("room.h", False), ("lazy", True), ("k", False),
    }  # fmt: skip


def test_wsus_imports_neither_ray_nor_the_rooms_beside_it(imports: list[Import]) -> None:
    above = {"ray", "tune_jobs", "serve_app", "cluster"}
    wrong = [str(one) for one in of_room(imports, "wsus") if one.top in above and not one.file.startswith(COMPOSING)]
    assert wrong == []


def test_the_command_imports_the_rooms_beside_it_inside_functions_alone(imports: list[Import]) -> None:
    above = {"ray", "tune_jobs", "serve_app", "cluster", "torch", "torchvision"}
    wrong = [str(one) for one in imports if one.file.startswith(COMPOSING) and one.top in above and not one.lazy]
    assert wrong == []


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("tune_jobs", {"serve_app"}),
        ("serve_app", {"tune_jobs"}),
        ("cluster", {"tune_jobs", "serve_app", "wsus"}),
    ],
)
def test_rooms_stay_apart(room: str, forbidden: set[str], imports: list[Import]) -> None:
    allowed = {("cluster", "wsus.errors"), ("cluster", "wsus.versions")}  # an error for the command line; one list of packages
    wrong = [str(one) for one in of_room(imports, room) if one.top in forbidden and (room, one.module) not in allowed]
    assert wrong == []


def test_ray_lives_in_few_files(imports: list[Import]) -> None:
    wrong = [str(one) for one in imports if one.top == "ray" and not one.file.startswith(RAY_ALLOWED)]
    assert wrong == []


@pytest.mark.parametrize("folder", WITHOUT_TORCH)
def test_statistics_and_report_need_neither_torch_nor_ray(folder: str, imports: list[Import]) -> None:
    here = [one for one in imports if one.file.startswith(folder)]
    assert here
    assert [str(one) for one in here if one.top in ("torch", "torchvision", "ray", "safetensors")] == []


def test_no_shelf_of_unsorted_things() -> None:
    unsorted = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert [str(path) for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name in unsorted] == []


def test_tests_have_unique_names() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_the_page_says_what_the_commands_say() -> None:
    from wsus.disclaimer import DISCLAIMER

    assert DISCLAIMER in (ROOT / "serve_app/static/index.html").read_text()
