"""Site profiles: how a published model's POM becomes a probability at one place, and where that place cuts it.

A profile belongs to one bundle, by its digest, and never changes it. In a store it lies at
models/<name>/sites/<version>/<site>.json; for a bundle's own folder in <folder>-sites/<site>.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wsus.errors import BundleError, ConfigError, StoreError, UnknownNameError
from wsus.evaluation.recalibration import NotSure, Scaling
from wsus.storage import Store
from wsus.storage.base import as_json
from wsus.storage.files import os_errors, write_atomically

SCHEMA_VERSION = 1
NOT_CALIBRATED = "a score between 0 and 1, not calibrated for any site: it need not be a probability"
_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteProfile:
    """One site's view of one bundle.

    operating_point: on the scaled probability.  rule: what chose it.
    prevalence: share of cancers that the probability holds for.
    not_sure: where a reader is told "not sure"; None where that was not asked for.
    images: the set that it was fitted to: name, digest, n, n_malignant, n_patients.
    before, after: figures on that set; `after` is cross-fitted, so that no image is judged by a fit that saw it.
    """

    site: str
    bundle_digest: str
    scaling: Scaling
    operating_point: float
    rule: str
    prevalence: float
    not_sure: NotSure | None = None
    images: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    def __post_init__(self) -> None:
        check_site(self.site)
        if not 0 < self.operating_point < 1 or not 0 < self.prevalence < 1:
            raise ConfigError(f"operating point and prevalence lie in (0, 1); got {self.operating_point}, {self.prevalence}")

    @property
    def sentence(self) -> str:
        """What a POM by this profile means."""
        return (
            f"calibrated for {self.site} on {self.images.get('n', '?')} images; a probability where "
            f"{100 * self.prevalence:.3g} % of those examined have cancer"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: Any, name: str) -> SiteProfile:
        """The inverse of `to_json`. Raises BundleError where the schema or a setting is not known here."""
        if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
            raise BundleError(f"{name}: not a site profile of this version; run `wsus calibrate` again")
        rest = {key: item for key, item in value.items() if key != "schema_version"}
        try:
            scaling, not_sure = rest.pop("scaling"), rest.pop("not_sure")
            knots = tuple((float(x), float(y)) for x, y in scaling.pop("knots"))
            return cls(
                **rest, scaling=Scaling(**scaling, knots=knots), not_sure=None if not_sure is None else NotSure(**not_sure)
            )
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise BundleError(f"{name}: the site profile holds what this version does not know ({error})") from error


def check_site(site: str) -> None:
    """Raise ConfigError where a site cannot be called so."""
    if not _SITE.fullmatch(site):
        raise ConfigError(f"a site's name has lower-case letters, digits and hyphens, at most 63; got {site!r}")


def sites_key(name: str, version: int, site: str = "") -> str:
    """Where the profiles of a published version lie, or one of them."""
    return f"models/{name}/sites/{version}" + (f"/{site}.json" if site else "")


def sites_folder(bundle_folder: Path) -> Path:
    """Where the profiles of a bundle's own folder lie: beside it."""
    resolved = bundle_folder.resolve()
    return resolved.with_name(f"{resolved.name}-sites")


def write_profile(profile: SiteProfile, where: tuple[Store, str, int] | Path) -> str:
    """Publish a profile, replacing the site's older one; returns its address.

    Args:
        where: store, name and version of the model, or its bundle's own folder.
    """
    if isinstance(where, Path):
        target = sites_folder(where) / f"{profile.site}.json"
        with os_errors(str(target), "written"):
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, as_json(profile.to_json()))
        return str(target)
    store, name, version = where
    key = sites_key(name, version, profile.site)
    store.write_json(key, profile.to_json())
    return store.url(key)


def read_profiles(where: tuple[Store, str, int] | Path, bundle_digest: str) -> dict[str, SiteProfile]:
    """Every profile of a model, by site.

    Raises:
        BundleError: one of them cannot be read, or belongs to another bundle.
    """
    found = {}
    for address, content in _contents(where):
        profile = SiteProfile.from_json(content, address)
        if profile.bundle_digest != bundle_digest:
            raise BundleError(
                f"{address}: fitted to the model {profile.bundle_digest[:12]}, not to {bundle_digest[:12]}; "
                "run `wsus calibrate` again"
            )
        found[profile.site] = profile
    return found


def find_profile(profiles: Mapping[str, SiteProfile], site: str, model: str) -> SiteProfile:
    """One site's profile. Raises UnknownNameError, or ConfigError where the model has none at all."""
    if not profiles:
        raise ConfigError(f"model {model} has no site profile; `wsus calibrate --model ... --data ... --for {site}` makes one")
    if site not in profiles:
        raise UnknownNameError("site", site, profiles)
    return profiles[site]


def _contents(where: tuple[Store, str, int] | Path) -> list[tuple[str, Any]]:
    if isinstance(where, Path):
        paths = sorted(sites_folder(where).glob("*.json"))
        return [(str(path), _parsed(path)) for path in paths]
    store, name, version = where
    names = [child for child in store.children(sites_key(name, version)) if child.endswith(".json")]
    keys = [f"{sites_key(name, version)}/{child}" for child in names]
    return [(store.url(key), store.read_json(key)) for key in keys]


def _parsed(path: Path) -> Any:
    with os_errors(str(path), "read"):
        content = path.read_bytes()
    try:
        return json.loads(content)
    except ValueError as error:
        raise StoreError(f"{path}: not valid JSON ({error}); it was damaged or edited by hand") from error
