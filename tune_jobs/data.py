"""A study's images: read or made, divided into splits, and named by a digest."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tune_jobs.study import DataConfig, SourceConfig
from wsus.data.cache import default_cache_dir, locked
from wsus.data.manifest import COLUMNS, Manifest, read_manifest
from wsus.data.splits import make_splits, splits_from_manifest
from wsus.errors import ConfigError
from wsus.types import ImageRecord, Split

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """All images of a study with their splits. left_out: what the imports did not take, and why."""

    manifest: Manifest
    digest: str
    left_out: tuple[dict[str, Any], ...]

    def split(self, split: Split) -> tuple[ImageRecord, ...]:
        """The records of one split."""
        return self.manifest.by_split(split)


def load_data(config: DataConfig) -> StudyData:
    """Read or make the images, and divide them.

    Raises:
        DataError: a source cannot be read, or has fewer patients than the splits want.
    """
    internal, left_out = _read(config.internal)
    external = None
    if config.external is not None:
        external, more = _read(config.external)
        left_out = [*left_out, *more]
    if config.splits_from_manifest:
        if external is not None:
            raise ConfigError("splits_from_manifest takes one manifest that holds all splits; leave the external source out")
        manifest = splits_from_manifest(internal, config.splits)
    else:
        manifest = make_splits(internal, external, config.splits)
    if not manifest.by_split(Split.DEVELOPMENT):
        raise ConfigError("a study needs a development split to choose models by; set development_fraction above 0")
    return StudyData(manifest=manifest, digest=manifest.digest(), left_out=tuple(left_out))


def _read(source: SourceConfig) -> tuple[Manifest, list[dict[str, Any]]]:
    if source.kind == "phantom":
        return _phantoms(source), []
    assert source.path is not None
    if source.kind == "manifest":
        return read_manifest(Path(source.path)), []
    from wsus.data.sources import read_source

    imported = read_source(source.kind, Path(source.path))
    reasons: dict[str, list[str]] = {}
    for item in imported.left_out:
        reasons.setdefault(item.reason, []).append(str(item.item))
    left_out = [
        {"source": imported.manifest.name, "item": items[0], "reason": reason, "count": len(items)}
        for reason, items in reasons.items()
    ]
    return imported.manifest, left_out


def _phantoms(source: SourceConfig) -> Manifest:
    """Made once per machine and configuration; the same seed gives the same bytes."""
    from wsus.data.sources.phantom import PhantomConfig
    from wsus.data.sources.phantom_set import MANIFEST, make_phantom_set

    config = PhantomConfig(patients_per_class=source.patients_per_class, institution=source.institution, seed=source.seed)
    made = {**asdict(config), "columns": COLUMNS}  # a manifest of another version may lack a column
    key = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
    folder = default_cache_dir() / "phantoms" / f"{source.institution}-{key}"
    with locked(folder):
        if not folder.is_dir():
            logger.info("making phantoms of institution %s in %s", source.institution, folder)
            return make_phantom_set(folder, [config])
    return Manifest(records=read_manifest(folder / MANIFEST).records, name=f"phantoms {source.institution}")
