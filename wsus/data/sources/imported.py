"""What an import hands over: a manifest, and an account of what it did not take."""

from __future__ import annotations

from dataclasses import dataclass

from wsus.data.manifest import Manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Something in the source's folder that is not in the manifest. item: a path within the folder, or an id."""

    item: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """The result of reading a data set.

    taken: images in the manifest.  notes: what was decided on the way, as sentences for the user.
    """

    manifest: Manifest
    taken: int
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
