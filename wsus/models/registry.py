"""Published models in a store: numbered versions of a name, and aliases such as `production` that point at one.

models/<name>/<version>/      a bundle;  claim.json in it says which publisher took the number
models/<name>/aliases.json    alias -> version
models/<name>/rollout.json    alias -> {"canary": {"version", "share"}, "shadow": version}; absent where there is neither
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsus.errors import BundleError, ChangedError, ConfigError, UnknownNameError
from wsus.storage import Store, open_store
from wsus.storage.base import as_json

PRODUCTION = "production"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedModel:
    """One version of a model and the aliases that point at it."""

    name: str
    version: int
    aliases: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """Which versions of a model stand behind an alias.

    primary: answers.  canary: answers `canary_share` of the requests instead.  shadow: sees what the others see, unheard.
    """

    name: str
    primary: int
    canary: int | None = None
    canary_share: float = 0.0
    shadow: int | None = None


def publish_model(store: Store, name: str, bundle_folder: Path, *, alias: str | None = PRODUCTION) -> PublishedModel:
    """Publish a bundle as the next version of a name and point an alias at it; at None, none."""
    _check_name(name)
    version = _claim_version(store, name)
    store.publish(bundle_folder, bundle_key(name, version))
    if alias is None:
        return PublishedModel(name=name, version=version, aliases=())
    return promote_model(store, name, version, alias=alias)


def promote_model(store: Store, name: str, version: int, *, alias: str = PRODUCTION) -> PublishedModel:
    """Point an alias at a version.

    Raises:
        UnknownNameError: no such model.  ConfigError: no such version.
    """
    check_version(store, name, version)
    aliases = store.update_json(f"models/{name}/aliases.json", lambda old: {**(old or {}), alias: version})
    if store.exists(_rollout_key(name)) and _rollout_entry(store, name, alias).get("canary", {}).get("version") == version:
        set_canary(store, name, None, alias=alias)  # it has become the primary
    return PublishedModel(name=name, version=version, aliases=tuple(sorted(a for a, v in aliases.items() if v == version)))


def check_version(store: Store, name: str, version: int) -> None:
    """Raises UnknownNameError or ConfigError where the store has no such version."""
    _known(store, name)
    if version not in _versions(store, name):
        raise ConfigError(f"model {name!r} has no version {version}; it has {', '.join(map(str, _versions(store, name)))}")


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
    name = model_name(store, name)
    aliases = _aliases(store, name)
    if alias not in aliases:
        raise BundleError(_no_alias(store, name, alias))
    return bundle_key(name, aliases[alias])


def bundle_key(name: str, version: int) -> str:
    """Where a version lies in the store."""
    return f"models/{name}/{version}"


def model_name(store: Store, name: str | None = None) -> str:
    """The name as given, or that of the only model in the store.

    Raises:
        BundleError: the store holds no model, or several.  UnknownNameError: no model of this name.
    """
    if name is not None:
        _known(store, name)
        return name
    names = sorted({model.name for model in list_models(store)})
    if len(names) != 1:
        what = (
            f"holds the models {', '.join(names)}; say which with --model-name"
            if names
            else "holds no published model; run `wsus publish`"
        )
        raise BundleError(f"{store.address}: {what}")
    return names[0]


def read_rollout(store: Store, name: str, *, alias: str = PRODUCTION) -> Rollout:
    """The versions behind an alias, in two small reads, so that it can be asked every few seconds.

    Raises:
        BundleError: the alias points nowhere, or rollout.json is not what `set_canary` and `set_shadow` write.
    """
    aliases = _aliases(store, name)
    if alias not in aliases:
        raise BundleError(_no_alias(store, name, alias))
    entry = _rollout_entry(store, name, alias)
    try:
        canary = entry.get("canary") or {}
        return Rollout(
            name=name,
            primary=aliases[alias],
            canary=int(canary["version"]) if canary else None,
            canary_share=float(canary["share"]) if canary else 0.0,
            shadow=int(entry["shadow"]) if entry.get("shadow") is not None else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{store.url(_rollout_key(name))}: not what `wsus models canary` writes ({error})") from error


def set_canary(store: Store, name: str, version: int | None, *, share: float = 0.0, alias: str = PRODUCTION) -> Rollout:
    """Let a version answer a share of an alias's requests; version None ends it.

    Raises:
        UnknownNameError: no such model.  ConfigError: no such version, or a share outside (0, 1).
    """
    if version is not None and not 0.0 < share < 1.0:
        raise ConfigError(f"share must lie in (0, 1), as 0.1 for one request in ten; got {share!r}")
    return _set_rollout(store, name, alias, "canary", version, {"version": version, "share": share})


def set_shadow(store: Store, name: str, version: int | None, *, alias: str = PRODUCTION) -> Rollout:
    """Let a version see an alias's requests without answering any; version None ends it. Raises as `set_canary`."""
    return _set_rollout(store, name, alias, "shadow", version, version)


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


def _claim_version(store: Store, name: str) -> int:
    """A number that no other publisher has or gets: a conditional write decides. One that was interrupted stays taken."""
    version = max(_numbers(store, name), default=0) + 1
    claim = {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
    while True:
        try:
            store.write_if(f"{bundle_key(name, version)}/claim.json", as_json(claim), None)
        except ChangedError:
            version += 1
        else:
            return version


def _numbers(store: Store, name: str) -> list[int]:
    return sorted(int(child) for child in store.children(f"models/{name}") if child.isdigit())


def _versions(store: Store, name: str) -> list[int]:
    return [version for version in _numbers(store, name) if store.is_published(bundle_key(name, version))]


def _aliases(store: Store, name: str) -> dict[str, int]:
    key = f"models/{name}/aliases.json"
    return {str(alias): int(version) for alias, version in store.read_json(key).items()} if store.exists(key) else {}


def _no_alias(store: Store, name: str, alias: str) -> str:
    versions, aliases = _versions(store, name), sorted(_aliases(store, name))
    command = f"wsus models promote {name} {versions[-1]} --alias {alias} --store {store.address}" if versions else ""
    hint = f"; point it at one: `{command}`" if command else ""
    return f"model {name!r} has no alias {alias!r}; it has {', '.join(aliases) or 'none'}{hint}"


def _rollout_key(name: str) -> str:
    return f"models/{name}/rollout.json"


def _rollout_entry(store: Store, name: str, alias: str) -> dict[str, Any]:
    """The canary and the shadow of an alias as they stand in rollout.json."""
    key = _rollout_key(name)
    content = store.read_json(key) if store.exists(key) else {}
    found = content.get(alias, {}) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise BundleError(f"{store.url(key)}: not what `wsus models canary` writes; expected an object for each alias")
    return found


def _set_rollout(store: Store, name: str, alias: str, what: str, version: int | None, value: Any) -> Rollout:
    _known(store, name)
    if version is not None:
        check_version(store, name, version)
    _rollout_entry(store, name, alias)  # refuses what is not ours to change

    def changed(old: dict[str, Any] | None) -> dict[str, Any]:
        entry = {key: item for key, item in (old or {}).get(alias, {}).items() if key != what}
        return {**(old or {}), alias: entry | ({what: value} if version is not None else {})}

    store.update_json(_rollout_key(name), changed)
    return read_rollout(store, name, alias=alias)


def _known(store: Store, name: str) -> None:
    names = {model.name for model in list_models(store)}
    if name not in names:
        raise UnknownNameError("model", name, names)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a model's name has lower-case letters, digits and hyphens, at most 63; got {name!r}")
