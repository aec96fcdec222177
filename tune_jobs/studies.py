"""What lies in a store: studies listed, shown, compared by their settings, and removed. No Ray needed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tune_jobs.ended import half_trained
from tune_jobs.keys import STUDIES, cell_key, outcome_key, published_key, study_key
from tune_jobs.lease import LeaseConfig, held_lease, is_driven
from tune_jobs.settings import differences, with_changes, with_defaults
from wsus.errors import StoreError, StudyConflictError, StudyError, UnknownNameError
from wsus.models.registry import bundle_key
from wsus.storage import Store

if TYPE_CHECKING:
    from tune_jobs.study import StudyConfig

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySummary:
    """state: complete, failed (some trials), running or unfinished.  cells: trained ones of `planned`.

    half_trained: what an earlier version published of trials that had been interrupted; the next run trains them on.
    """

    name: str
    recipe: str
    created: str
    state: str
    cells: tuple[str, ...]
    planned: int
    failures: tuple[dict[str, str], ...]
    model: str | None
    half_trained: tuple[str, ...] = ()


def read_study(store: Store, name: str) -> dict[str, Any]:
    """A study's `study.json`.

    Raises:
        StudyError: the store holds no study.  UnknownNameError: none of this name.
        StoreError: it was made by a newer version of this software.
    """
    key = study_key(name, "study.json")
    if not store.exists(key):
        known = store.children(STUDIES)
        if not known:
            raise StudyError(f"{store.address}: holds no study; run `wsus study` first")
        if name in known:
            raise StudyError(f"{store.url(study_key(name))}: has no study.json; run `wsus study`, or `wsus studies rm {name}`")
        raise UnknownNameError("study", name, known)
    study: dict[str, Any] = store.read_json(key)
    check_schema(study, store.url(key))
    return study


def check_schema(study: dict[str, Any], address: str) -> None:
    """Raises StoreError where a study.json has a newer schema than this software knows."""
    found = study.get("schema_version", 1)
    if not isinstance(found, int) or found > SCHEMA_VERSION:
        made_by = study.get("versions", {}).get("wsus", "?")
        raise StoreError(
            f"{address}: schema version {found}, made by wsus {made_by}; this wsus knows up to {SCHEMA_VERSION}: "
            "install a newer one, or choose another --out"
        )


def refuse_conflict(store: Store, config: StudyConfig, digest: str | None = None) -> None:
    """Refuse other settings, or other images, under the name of a study that lies in the store.

    Args:
        digest: of the images; None where they have not been read.
    Raises:
        StudyConflictError: names every difference.  StoreError: a newer version made the study.
    """
    key = study_key(config.name, "study.json")
    if not store.exists(key):
        return
    old = store.read_json(key)
    check_schema(old, store.url(key))
    changed = differences(_what_counts(with_defaults(old["config"], config.defaults())), _what_counts(config.to_json()))
    if digest is not None and old["manifest_digest"] != digest:
        changed.append(f"images: {old['manifest_digest'][:12]} -> {digest[:12]} (files or splits changed)")
    if changed:
        lines = "\n  ".join(changed)
        raise StudyConflictError(
            f"{store.url(key)}: the study {config.name!r} exists with another configuration:\n  {lines}\n"
            "choose another --name, or take the settings back"
        )


def as_begun(store: Store, config: StudyConfig, name: str) -> StudyConfig:
    """A recipe's settings, for a study of this name: what a version that did not know a setting began goes on at its default."""
    key = study_key(name, "study.json")
    if not store.exists(key):
        return config
    return with_changes(config, _unknown_to(store.read_json(key)["config"], config.defaults()))


def _unknown_to(old: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in defaults.items() if name not in old}
    for name, value in defaults.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict) and (inner := _unknown_to(old[name], value)):
            found[name] = inner
    return found


def _what_counts(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what a study may change: where it runs, where its images lie, what is made of its trials."""
    sources = {
        name: {**config["data"][name], "path": None} for name in ("internal", "external") if config["data"][name] is not None
    }
    return {**config, "resources": None, "ensemble": None, "data": {**config["data"], **sources}}


def list_studies(store: Store) -> list[StudySummary]:
    """All studies of a store; reads a few small objects of each, whatever their number of trials."""
    return [summarise(store, name) for name in store.children(STUDIES) if store.exists(study_key(name, "study.json"))]


def summarise(store: Store, name: str) -> StudySummary:
    """One study. Raises as `read_study`."""
    study = read_study(store, name)
    config = study["config"]
    cells = finished_cells(store, name)
    planned = len(config["backbones"]) * len(config["modes"])
    outcome = _read_or(store, outcome_key(name), {})
    published = _read_or(store, published_key(name), {})
    failures = tuple(outcome.get("failures", ()))
    ended = "failed" if failures else "complete" if len(cells) == planned and outcome else "unfinished"
    return StudySummary(
        name=name,
        recipe=study["recipe"],
        created=study["created"],
        state="running" if is_driven(store, name) else ended,
        cells=cells,
        planned=planned,
        failures=failures,
        model=bundle_key(published["name"], published["version"]) if published else None,
        half_trained=tuple(half_trained_cells(store, name).values()),
    )


def finished_cells(store: Store, name: str) -> tuple[str, ...]:
    """The names of a study's cells that are trained to their end and scored."""
    return tuple(cell for cell, lacks in _cells(store, name) if lacks is None)


def half_trained_cells(store: Store, name: str) -> dict[str, str]:
    """What each cell lacks that an earlier version published of interrupted trials; by the cell's name."""
    return {cell: lacks for cell, lacks in _cells(store, name) if lacks is not None}


def _cells(store: Store, name: str) -> list[tuple[str, str | None]]:
    config = store.read_json(study_key(name, "study.json"))["config"]
    published = [cell for cell in store.children(study_key(name, "cells")) if store.is_published(cell_key(name, cell))]
    return [(cell, half_trained(store, name, cell, config)) for cell in published]


def diff_studies(store: Store, one: str, other: str) -> list[str]:
    """Where two studies differ in settings, images and package versions, one line each."""
    first, second = read_study(store, one), read_study(store, other)
    parts = ("config", "manifest_digest", "versions", "platform")
    lines = [line for part in parts for line in differences(first.get(part), second.get(part), "" if part == "config" else part)]
    return [line for line in lines if not line.startswith("name: ")]


def remove_study(store: Store, name: str, *, lease: LeaseConfig | None = None) -> int:
    """Delete a study and all that it left below `studies/`; its published models stay. Returns the number of objects.

    Raises:
        StudyError, UnknownNameError: no such study.  StudyBusyError: a driver runs it.
    """
    if name not in store.children(STUDIES):
        read_study(store, name)
    with held_lease(store, name, lambda _: None, lease, renew=False):
        return store.delete_below(study_key(name))


def remove_shards(store: Store, *, lease: LeaseConfig | None = None) -> int:
    """Delete the decoded images of studies that stream them; who needs them decodes them anew. Returns the number of objects.

    Raises:
        StudyBusyError: a driver runs a study of this store, which may be reading them.
    """
    with ExitStack() as stack:
        for name in store.children(STUDIES):
            stack.enter_context(held_lease(store, name, lambda _: None, lease, renew=False))
        return store.delete_below("shards")


def _read_or(store: Store, key: str, default: Any) -> Any:
    return store.read_json(key) if store.exists(key) else default
