"""The published models that a call asks for: `ADDRESS`, `NAME=ADDRESS` or `NAME@VERSION=ADDRESS`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from wsus.errors import BundleError, ConfigError
from wsus.models.bundle import Bundle, read_bundle
from wsus.models.registry import PRODUCTION, bundle_key, list_models, model_name, resolve_model
from wsus.models.sites import SiteProfile, find_profile, read_profiles
from wsus.storage import Store, open_store

_ASKED = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)(@(?P<version>[^=@]+))?=(?P<address>.+)")


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """A model by its words.

    label: what tables and figures call it, unique among the models of a call.
    store, name, version: where it is published; None for a bundle's own folder.
    """

    label: str
    bundle: Bundle
    store: Store | None = None
    name: str | None = None
    version: int | None = None

    @property
    def where(self) -> tuple[Store, str, int] | Path:
        """Where its site profiles belong: (store, name, version), or the bundle's own folder."""
        if self.store is None or self.name is None or self.version is None:
            return self.bundle.folder
        return self.store, self.name, self.version

    def profile(self, site: str | None) -> SiteProfile | None:
        """A site's profile; None where no site is asked for. Raises as `read_profiles` and `find_profile`."""
        if site is None:
            return None
        return find_profile(read_profiles(self.where, self.bundle.digest), site, self.bundle.model_id)


@contextmanager
def asked_models(texts: Sequence[str], *, alias: str | None = None) -> Iterator[tuple[AskedModel, ...]]:
    """The models of a call, verified; their files are there until the block ends.

    Args:
        alias: the version that is meant where none is named; None for production or, where nothing is in production yet, the
            newest version: a model is judged before it may answer.
    Raises:
        BundleError: an address holds no model, or one that cannot be used.
        UnknownNameError, ConfigError: no model of this name, or no such version.
        ConfigError: a model is named twice.
    """
    with ExitStack() as stack:
        found = [stack.enter_context(asked_model(text, alias=alias)) for text in texts]
        ids = [model.bundle.digest for model in found]
        for model, digest in zip(found, ids, strict=True):
            if ids.count(digest) > 1:
                raise ConfigError(f"model {model.bundle.model_id} is named twice; name each model once")
        names = [model.bundle.card.name for model in found]
        yield tuple(
            _labelled(model, model.bundle.card.name if names.count(model.bundle.card.name) == 1 else model.bundle.model_id)
            for model in found
        )


@contextmanager
def asked_model(text: str, *, name: str | None = None, alias: str | None = None) -> Iterator[AskedModel]:
    """One model; `name` may stand apart from its address. Other arguments and errors as `asked_models`."""
    address, name, version = (text, name, None) if name is not None else parts_of(text)
    local = "://" not in address
    if local and (Path(address) / "card.json").is_file():
        bundle = read_bundle(Path(address))
        yield AskedModel(label=bundle.card.name, bundle=bundle)
        return
    if local and not Path(address).is_dir():
        raise BundleError(f"{address}: no such folder; expected a model bundle, or a store with a published model")
    store = open_store(address)
    if not local and store.exists("card.json"):
        with store.fetched(".") as folder:
            bundle = read_bundle(folder)
            yield AskedModel(label=bundle.card.name, bundle=bundle)
        return
    name = model_name(store, name)
    key = _key(store, name, version, alias)
    with store.fetched(key) as folder:
        bundle = read_bundle(folder)
        yield AskedModel(label=bundle.card.name, bundle=bundle, store=store, name=name, version=int(key.rsplit("/", 1)[1]))


def parts_of(text: str) -> tuple[str, str | None, str | None]:
    """(address, name, version) of the words for a model; the last two are None where they are not said."""
    asked = None if Path(text).exists() else _ASKED.fullmatch(text)
    return (asked["address"], asked["name"], asked["version"]) if asked else (text, None, None)


def _key(store: Store, name: str, version: str | None, alias: str | None) -> str:
    if version is None and alias is None:
        found = [model for model in list_models(store) if model.name == name]
        if found and not any(PRODUCTION in model.aliases for model in found):
            return bundle_key(name, found[-1].version)
    if version is None or not version.isdigit():
        return resolve_model(store, name, alias=version or alias or PRODUCTION)
    key = bundle_key(name, int(version))
    if not store.is_published(key):
        raise ConfigError(f"model {name!r} has no version {version}; `wsus models list --out {store.locator}` names them")
    return key


def _labelled(model: AskedModel, label: str) -> AskedModel:
    return replace(model, label=label)
