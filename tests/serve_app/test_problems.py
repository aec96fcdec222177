"""One list of statuses: what the code raises, what the documentation says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from serve_app.problems import STATUSES

ROOT = Path(__file__).resolve().parents[2]
DEFECT = 500  # of the server itself, not of what a client sent


def raised() -> set[int]:
    """The statuses of every problem that the source makes."""
    calls = (
        node
        for path in (ROOT / "serve_app").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ProblemError"
    )
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}  # type: ignore[misc]


def test_every_status_that_is_raised_is_listed() -> None:
    found = raised()
    assert {404, 413, 422, 503} <= found
    assert found - {DEFECT} <= set(STATUSES)


def test_the_documentation_says_the_same() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.+) \|$", (ROOT / "docs/serving.md").read_text(), re.MULTILINE)
    assert {int(status): words for status, words in rows} == STATUSES
