"""A study's images: read, landed from S3 or made, divided into splits, named by a digest; the same on every machine."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tune_jobs.study import PHANTOM, DataConfig, SourceConfig
from wsus.data.cache import default_cache_dir, locked
from wsus.data.manifest import COLUMNS, Manifest, read_manifest
from wsus.data.remote import Landed, is_remote, land
from wsus.data.splits import make_splits, splits_from_manifest
from wsus.errors import ConfigError
from wsus.types import ImageRecord, Split

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Phantoms:
    """Phantoms in this machine's cache, whose path another machine need not share."""

    source: SourceConfig
    folder: Path

    def here(self) -> Phantoms:
        """The same on the machine that this runs on, made where it has none."""
        return _phantoms(self.source)


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """All images of a study with their splits.

    left_out: what the imports did not take, and why.
    places: the sources that lie in this machine's cache; the others have the same path on every machine.
    """

    manifest: Manifest
    digest: str
    left_out: tuple[dict[str, Any], ...]
    places: tuple[Landed | Phantoms, ...] = ()

    def split(self, split: Split) -> tuple[ImageRecord, ...]:
        """The records of one split."""
        return self.manifest.by_split(split)

    def here(self) -> StudyData:
        """The same for the machine that this runs on: what it lacks lands or is made, and the records' paths lead there.

        Raises:
            StoreError: the bucket cannot be read from here, or there is no room.
            ChangedError: the set in the bucket is not the one that was read first.
        """
        places = tuple(place.here() for place in self.places)
        folders = {old.folder: new.folder for old, new in zip(self.places, places, strict=True) if old.folder != new.folder}
        if not folders:
            return self
        records = [_moved(record, folders) for record in self.manifest.records]
        return replace(self, manifest=self.manifest.with_records(records), places=places)


def load_data(config: DataConfig, say: Callable[[str], None] = logger.info) -> StudyData:
    """Read or make the images, and divide them.

    Args:
        say: is told what lands from S3, and how far it is.
    Raises:
        DataError: a source cannot be read, or has fewer patients than the splits want.
        StoreError: a bucket cannot be read, or there is no room for what lies in it.
    """
    internal, left_out, places = _read(config.internal, say)
    external = None
    if config.external is not None:
        external, more, others = _read(config.external, say)
        left_out, places = [*left_out, *more], [*places, *others]
    if config.splits_from_manifest:
        if external is not None:
            raise ConfigError("splits_from_manifest takes one manifest that holds all splits; leave the external source out")
        manifest = splits_from_manifest(internal, config.splits)
    else:
        manifest = make_splits(internal, external, config.splits)
    if not manifest.by_split(Split.DEVELOPMENT):
        raise ConfigError("a study needs a development split to choose models by; set development_fraction above 0")
    return StudyData(manifest=manifest, digest=manifest.digest(), left_out=tuple(left_out), places=tuple(places))


def _read(source: SourceConfig, say: Callable[[str], None]) -> tuple[Manifest, list[dict[str, Any]], list[Landed | Phantoms]]:
    if source.kind == PHANTOM:
        from wsus.data.sources.phantom_set import MANIFEST

        made = _phantoms(source)
        records = read_manifest(made.folder / MANIFEST).records
        return Manifest(records=records, name=f"phantoms {source.institution}"), [], [made]
    assert source.path is not None
    places: list[Landed | Phantoms] = []
    path = Path(source.path)
    if is_remote(source.path):
        landed = land(source.path, say=say)
        path, places = landed.path, [landed]
    from wsus.data.sources import read_source
    from wsus.data.sources.own import read_own

    imported = read_own(path, source.own) if source.own is not None else read_source(source.kind, path)
    reasons: dict[str, list[str]] = {}
    for item in imported.left_out:
        reasons.setdefault(item.reason, []).append(str(item.item))
    left_out = [
        {"source": imported.manifest.name, "item": items[0], "reason": reason, "count": len(items)}
        for reason, items in reasons.items()
    ]
    return imported.manifest, left_out, places


def _phantoms(source: SourceConfig) -> Phantoms:
    """Made once per machine and configuration; the same seed gives the same bytes."""
    from wsus.data.sources.phantom import PhantomConfig
    from wsus.data.sources.phantom_set import make_phantom_set

    config = PhantomConfig(patients_per_class=source.patients_per_class, institution=source.institution, seed=source.seed)
    made = {**asdict(config), "columns": COLUMNS}  # a manifest of another version may lack a column
    key = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
    folder = (default_cache_dir() / "phantoms" / f"{source.institution}-{key}").resolve()
    with locked(folder):
        if not folder.is_dir():
            logger.info("making phantoms of institution %s in %s", source.institution, folder)
            make_phantom_set(folder, [config])
    return Phantoms(source=source, folder=folder)


def _moved(record: ImageRecord, folders: Mapping[Path, Path]) -> ImageRecord:
    """A record whose files lie in other folders."""

    def moved(path: Path) -> Path:
        for old, new in folders.items():
            if path.is_relative_to(old):
                return new / path.relative_to(old)
        return path

    return replace(record, path=moved(record.path), mask_paths=tuple(moved(path) for path in record.mask_paths))
