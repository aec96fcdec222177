"""Each opening of a scored split leaves a note in the store, before the first image of it is scored.

So "scored once" is counted, not asserted: a network that was scored again, after a look at its figures or after a failure,
stands there twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tune_jobs.keys import openings_key
from wsus.storage import Store
from wsus.types import Split

SCORED_ONCE = (Split.INTERNAL, Split.EXTERNAL)


def log_opening(store: Store, study: str, *, cell: str, seed: int, images: dict[str, int], bundle_digest: str) -> None:
    """Note that a network is about to score the splits.

    Args:
        images: split -> number of images; only those of SCORED_ONCE are noted.  bundle_digest: which network.
    """
    opened = {split.value: images[split.value] for split in SCORED_ONCE if images.get(split.value)}
    if not opened:
        return
    when = datetime.now(UTC)
    note = {"opened": when.isoformat(timespec="seconds"), "cell": cell, "seed": seed, "images": opened, "network": bundle_digest}
    store.write_json(f"{openings_key(study)}/{when.strftime('%Y%m%dT%H%M%S.%fZ')}-{uuid.uuid4().hex[:8]}.json", note)


def read_openings(store: Store, study: str) -> tuple[dict[str, Any], ...]:
    """Every opening in the order of time; () where a study is of a version that noted none."""
    key = openings_key(study)
    names: Sequence[str] = sorted(store.children(key))
    return tuple(store.read_json(f"{key}/{name}") for name in names)
