"""Data sets that can be read: one module each, and one entry in the list below.

Import, audit, evaluation, recipes, help texts and the documentation take them from this list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wsus.data.manifest import read_manifest
from wsus.data.sources.bus_bra import read_bus_bra
from wsus.data.sources.busi import read_busi
from wsus.data.sources.class_folders import read_class_folders
from wsus.data.sources.imported import Imported, LeftOut
from wsus.data.sources.own import read_own
from wsus.errors import ConfigError, UnknownNameError

__all__ = ["SOURCES", "DataSet", "Imported", "LeftOut", "read_source", "register_source", "source_name"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """One kind of data set.

    takes: what PATH of `KIND=PATH` is; PATH where it may be either.  layout: what lies there, as docs/data.md says it (Markdown).
    aliases: other names of the kind, which go on working.
    """

    name: str
    read: Callable[[Path], Imported]
    layout: str
    takes: Literal["DIR", "CSV", "PATH"] = "DIR"
    aliases: tuple[str, ...] = ()


def _read_table(path: Path) -> Imported:
    manifest = read_manifest(path)
    return Imported(manifest=manifest, taken=len(manifest.records))


SOURCES: dict[str, DataSet] = {
    source.name: source
    for source in (
        DataSet(name="bus-bra", read=read_bus_bra, layout="BUS-BRA as distributed: `bus_data.csv`, `Images/`, `Masks/`"),
        DataSet(
            name="busi",
            read=read_busi,
            layout="BUSI as distributed: `benign/`, `malignant/` and perhaps `normal/`; images without a lesion are left out",
        ),
        DataSet(
            name="class-folders",
            read=read_class_folders,
            layout="any folder with `benign/` and `malignant/`, or `images/benign` ...; "
            "masks beside the images as `<stem>_mask.png`, or with their names in `masks/`",
        ),
        DataSet(name="manifest", read=_read_table, layout="the CSV above", takes="CSV", aliases=("csv",)),
        DataSet(name="own", read=read_own, layout="[your own images](#your-own-images): a folder or a table", takes="PATH"),
    )
}


def register_source(source: DataSet) -> None:
    """Add a kind of data set, as a plug-in or a test does. Raises ConfigError where its name is taken."""
    if source.name in SOURCES:
        raise ConfigError(f"data source {source.name!r} is registered already; choose another name")
    SOURCES[source.name] = source


def source_name(kind: str) -> str:
    """The name of a kind that may be called by an alias; any other text stays as it is."""
    return next((source.name for source in SOURCES.values() if kind in source.aliases), kind)


def read_source(kind: str, path: Path) -> Imported:
    """Read a data set.

    Args:
        kind: a name of `SOURCES` or an alias, in letters of either case; `_` may stand for `-`.
        path: the folder of the data set, or the manifest itself.
    Raises:
        UnknownNameError: no such kind.
        ManifestError: the path does not hold what the kind expects.
    """
    source = SOURCES.get(source_name(kind.strip().lower().replace("_", "-")))
    if source is None:
        raise UnknownNameError("data source", kind, SOURCES)
    return source.read(path)
