"""What decoding warns of in a study's images, counted by kind: `wsus predict` says it of each, a study once of all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from wsus.data.formats.image_warning import by_kind
from wsus.data.images import read_image
from wsus.errors import ImageError
from wsus.types import ImageRecord

_MOST = 2000  # images looked at; decoding takes some milliseconds each


def image_warnings(records: Sequence[ImageRecord], most: int = _MOST) -> dict[str, Any]:
    """Decode the images, of many an even selection.

    Returns:
        looked_at: how many were decoded; by_kind: how many of them each kind of `ImageWarning` concerns. What cannot be read is
        not counted: a study refuses it by itself.
    """
    step = max(1, -(-len(records) // most))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        kinds = [found for found in pool.map(_kinds, records[::step]) if found is not None]
    counted = Counter(kind for found in kinds for kind in found)
    return {"looked_at": len(kinds), "by_kind": dict(sorted(counted.items()))}


def _kinds(record: ImageRecord) -> tuple[str, ...] | None:
    try:
        return tuple(by_kind(read_image(record.path, frame=record.frame).warnings))
    except ImageError:
        return None
