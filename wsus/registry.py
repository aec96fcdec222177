"""Published models in a store: numbered versions of a name, and aliases such as `production` that point at one.

models/<name>/<version>/      a bundle
models/<name>/aliases.json    alias -> version
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wsus.errors import BundleError, ConfigError, UnknownNameError
from wsus.storage import Store, open_store

PRODUCTION = "production"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedModel:
    """One version of a model and the aliases that point at it."""

    name: str
    version: int
    aliases: tuple[str, ...]


def publish_model(store: Store, name: str, bundle_folder: Path, *, alias: str = PRODUCTION) -> PublishedModel:
    """Publish a bundle as the next version of a name and point an alias at it."""
    _check_name(name)
    version = max((v for v in _versions(store, name)), default=0) + 1
    store.publish(bundle_folder, f"models/{name}/{version}")
    return promote_model(store, name, version, alias=alias)


def promote_model(store: Store, name: str, version: int, *, alias: str = PRODUCTION) -> PublishedModel:
    """Point an alias at a version.

    Raises:
        UnknownNameError: no such model.  ConfigError: no such version.
    """
    _known(store, name)
    if version not in _versions(store, name):
        raise ConfigError(f"model {name!r} has no version {version}; it has {', '.join(map(str, _versions(store, name)))}")
    aliases = _aliases(store, name)
    aliases[alias] = version
    store.write_json(f"models/{name}/aliases.json", aliases)
    return PublishedModel(name=name, version=version, aliases=tuple(sorted(a for a, v in aliases.items() if v == version)))


def list_models(store: Store) -> list[PublishedModel]:
    """All published versions, by name and version."""
    found = []
    for name in store.children("models"):
        aliases = _aliases(store, name)
        for version in _versions(store, name):
            names = tuple(sorted(alias for alias, target in aliases.items() if target == version))
            found.append(PublishedModel(name=name, version=version, aliases=names))
    return found


def resolve_model(store: Store, name: str | None = None, *, alias: str = PRODUCTION) -> str:
    """The key of the bundle that an alias points at; without a name, of the only model in the store.

    Raises:
        BundleError: the store holds no model, several, or the alias points nowhere.
        UnknownNameError: no model of this name.
    """
    names = sorted({model.name for model in list_models(store)})
    if name is None:
        if len(names) != 1:
            what = (
                f"holds the models {', '.join(names)}; say which with --name"
                if names
                else "holds no published model; run `wsus publish`"
            )
            raise BundleError(f"{store.address}: {what}")
        name = names[0]
    _known(store, name)
    aliases = _aliases(store, name)
    if alias not in aliases:
        raise BundleError(f"model {name!r} has no alias {alias!r}; it has {', '.join(sorted(aliases)) or 'none'}")
    return f"models/{name}/{aliases[alias]}"


@contextmanager
def bundle_folder(address: str, *, name: str | None = None, alias: str = PRODUCTION) -> Iterator[Path]:
    """A local folder with the bundle that an address means: a bundle's own folder, or a store with a published model.

    Raises:
        BundleError: neither is found there.
    """
    local = Path(address)
    if "://" not in address and (local / "card.json").is_file():
        yield local
        return
    if "://" not in address and not local.is_dir():
        raise BundleError(f"{address}: no such folder; expected a model bundle or a store")
    store = open_store(address)
    key = "." if store.exists("card.json") else resolve_model(store, name, alias=alias)
    with store.fetched(key) as folder:
        yield folder


def _versions(store: Store, name: str) -> list[int]:
    versions = sorted(int(child) for child in store.children(f"models/{name}") if child.isdigit())
    return [version for version in versions if store.is_published(f"models/{name}/{version}")]


def _aliases(store: Store, name: str) -> dict[str, int]:
    key = f"models/{name}/aliases.json"
    return {str(alias): int(version) for alias, version in store.read_json(key).items()} if store.exists(key) else {}


def _known(store: Store, name: str) -> None:
    names = {model.name for model in list_models(store)}
    if name not in names:
        raise UnknownNameError("model", name, names)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a model's name has lower-case letters, digits and hyphens, at most 63; got {name!r}")
