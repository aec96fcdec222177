"""Why a file is perhaps not where it is looked for: another case of its letters, backslashes, another form of its accents."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


def missing_hint(path: Path) -> str:
    """`; there is ...` with the path that differs from this one in spelling alone; empty where there is none."""
    there = _like(Path(str(path).replace("\\", "/")))
    if there is None:
        return ""
    reason = (
        "a path is written with /" if "\\" in str(path) else "upper and lower case, and accents, must be as in the file's name"
    )
    return f"; there is {there}: {reason}"


def _like(path: Path) -> Path | None:
    """The existing path whose parts are these, however they are spelled."""
    if os.path.lexists(path):
        return path
    parent = path.parent if path.parent == path or path.parent.is_dir() else _like(path.parent)
    if parent is None or path.parent == path:
        return None
    try:
        names = sorted(entry.name for entry in os.scandir(parent))
    except OSError:
        return None
    alike = [name for name in names if _key(name) == _key(path.name)]
    return parent / alike[0] if alike else None


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
