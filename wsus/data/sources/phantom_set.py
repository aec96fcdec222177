"""Phantoms as a data set on disk: images, masks and their manifest, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsus.data.manifest import Manifest, read_manifest, write_manifest
from wsus.data.sources.phantom import PhantomConfig, write_phantoms
from wsus.errors import DataError
from wsus.storage import folder_built_beside

MANIFEST = "manifest.csv"


def make_phantom_set(folder: Path, configs: Sequence[PhantomConfig]) -> Manifest:
    """Write images/, masks/ and manifest.csv into a new folder and return its manifest.

    Raises:
        DataError: the folder exists already.  StoreError: it cannot be written.
        ConfigError: two configs would make the same patients.
    """
    if folder.exists():
        raise DataError(f"{folder}: exists already, and nothing is overwritten; remove it or choose another folder")
    name = "phantoms " + " + ".join(config.institution for config in configs)
    with folder_built_beside(folder) as building:
        records = write_phantoms(building, configs)
        write_manifest(Manifest(records=tuple(records), name=name), building / MANIFEST)
    return Manifest(records=read_manifest(folder / MANIFEST).records, name=name)
