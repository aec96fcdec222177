"""Data sets that can be read, one module each. A new one is a function from a folder to an `Imported`, entered below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wsus.data.manifest import read_manifest
from wsus.data.sources.bus_bra import read_bus_bra
from wsus.data.sources.busi import read_busi
from wsus.data.sources.class_folders import read_class_folders
from wsus.data.sources.imported import Imported, LeftOut
from wsus.data.sources.own import read_own
from wsus.errors import UnknownNameError

__all__ = ["SOURCES", "Imported", "LeftOut", "read_source"]


def _read_csv(path: Path) -> Imported:
    manifest = read_manifest(path)
    return Imported(manifest=manifest, taken=len(manifest.records))


SOURCES: dict[str, Callable[[Path], Imported]] = {
    "bus-bra": read_bus_bra,
    "busi": read_busi,
    "class-folders": read_class_folders,
    "csv": _read_csv,
    "own": read_own,
}


def read_source(kind: str, path: Path) -> Imported:
    """Read a data set by the name of its layout.

    Args:
        kind: a key of `SOURCES`; `_` may stand for `-`.
        path: the folder of the data set; for "csv" the manifest itself.
    Raises:
        UnknownNameError: no such kind.
        ManifestError: the path does not hold what the kind expects.
    """
    reader = SOURCES.get(kind.strip().lower().replace("_", "-"))
    if reader is None:
        raise UnknownNameError("data source", kind, SOURCES)
    return reader(path)
