"""Labelled images that published models are judged on or calibrated with: `KIND=PATH`, or a path whose kind is plain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsus.data.manifest import Manifest
from wsus.data.remote import is_remote, local_path
from wsus.data.sources import SOURCES, read_source, source_name
from wsus.data.sources.own import OwnImages, read_own
from wsus.errors import DataError, UnknownNameError
from wsus.models.seen import file_digests
from wsus.types import ImageRecord, Split

_MANIFEST = "manifest"  # as recipes call a table of images
_NO_FILE_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSet:
    """One set of labelled images.

    name: unique among the sets of a call, fit for a file's name.
    records: all with a label, and in the split EXTERNAL: no model that is asked was trained on this set on purpose.
    image_digests: of the image files, in the order of `records`.  digest: of the whole set.
    left_out: what an import did not take: {"source", "item", "reason", "count"}.
    """

    name: str
    address: str
    records: tuple[ImageRecord, ...]
    image_digests: tuple[str, ...]
    digest: str
    left_out: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def n_patients(self) -> int:
        return len({record.patient_id for record in self.records})

    def count(self, label: int) -> int:
        """Images of a class."""
        return sum(record.label == label for record in self.records)


def read_sets(texts: Sequence[str], how: OwnImages = OwnImages()) -> tuple[LabelledSet, ...]:
    """Read every `KIND=PATH` or `PATH`, each once.

    Args:
        how: own images are read: columns, words for labels, patients.
    Raises:
        UnknownNameError: no such kind.
        DataError: a set cannot be read, or its images have no label.
    """
    sets: list[LabelledSet] = []
    for text in texts:
        found = _read(text, how)
        used = {one.name for one in sets}
        name, number = found.name, 2
        while name in used:
            name, number = f"{found.name}-{number}", number + 1
        sets.append(replace(found, name=name))
    return tuple(sets)


def kind_and_path(text: str) -> tuple[str, str]:
    """What `KIND=PATH` names; of a path alone the kind follows from what lies there: a table, or a folder of class folders.

    Raises:
        UnknownNameError: no such kind.  DataError: nothing lies there.
    """
    kind, equals, path = text.partition("=")
    if equals and path and not is_remote(text) and not Path(text).exists():
        if source_name(kind) not in SOURCES:
            raise UnknownNameError("kind of --data", kind, SOURCES)
        return source_name(kind), path
    if not is_remote(text) and not Path(text).exists():
        raise DataError(f"{text}: no such file or folder; expected KIND=PATH, a table of images, or a folder of class folders")
    return "own", text


def _read(text: str, how: OwnImages) -> LabelledSet:
    kind, path = kind_and_path(text)
    place = local_path(path)
    imported = read_own(place, how) if kind == "own" else read_source(kind, place)
    manifest = imported.manifest
    unlabelled = [record.image_id for record in manifest.records if record.label is None]
    if unlabelled:
        raise DataError(
            f"{path}: {len(unlabelled)} of {len(manifest.records)} images have no label, such as {unlabelled[0]!r}; "
            "to judge or calibrate a model every image must be known to be benign or malignant: fill the column, or take them out"
        )
    own_name = _name_of(Path(path.rstrip("/"))) if kind in (_MANIFEST, "class-folders", "own") else kind
    records = tuple(replace(record, split=Split.EXTERNAL) for record in manifest.records)
    return LabelledSet(
        name=_NO_FILE_NAME.sub("-", own_name).strip("-.") or kind,
        address=path,
        records=records,
        image_digests=tuple(file_digests(records)),
        digest=Manifest(records=records, name=manifest.name).digest(),
        left_out=tuple(_by_reason(manifest.name, imported.left_out)),
        notes=imported.notes,
    )


def _name_of(path: Path) -> str:
    """A path's own name, or that of its folder where it is called as every manifest is."""
    return path.resolve().parent.name if path.stem == _MANIFEST else path.stem


def _by_reason(source: str, items: Iterable[Any]) -> Iterable[dict[str, Any]]:
    reasons: dict[str, list[str]] = {}
    for item in items:
        reasons.setdefault(item.reason, []).append(str(item.item))
    for reason, names in reasons.items():
        yield {"source": source, "item": names[0], "reason": reason, "count": len(names)}
