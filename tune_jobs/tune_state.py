"""What Ray Tune keeps of a study's trials, and whether it is whole: Tune itself goes on from it only where it is."""

from __future__ import annotations

import json
import logging

from wsus.storage import Store

logger = logging.getLogger(__name__)
_TRIALS, _SEARCHES, _TUNER = "experiment_state-", ("basic-variant-state-", "search_gen_state-"), "tuner.pkl"


def can_go_on(store: Store, key: str) -> bool:
    """Whether Tune can go on from its state below a key; what of it a driver left half-written when it ended is removed.

    Beside one `tuner.pkl`, each run of a study writes the state of its trials and that of the search that makes them; the
    newest count. Where one of the files is missing or cut off, Tune begins the study anew, and no longer knows with what.
    """
    names = set(store.children(key))
    if _TUNER not in names or not _is_whole(store.read_bytes(f"{key}/{_TUNER}")):
        return False
    for newest in sorted((name for name in names if name.startswith(_TRIALS)), reverse=True):
        run = newest.removeprefix(_TRIALS).removesuffix(".json")
        files = sorted(name for name in names if f"-{run}." in name)
        searched = any(name.startswith(_SEARCHES) for name in files)
        if searched and all(_is_whole(store.read_bytes(f"{key}/{name}")) for name in files):
            return True
        logger.warning("%s: half-written when a driver ended; what lies before it is used", store.url(f"{key}/{newest}"))
        for name in files:
            store.delete(f"{key}/{name}")
    return False


def _is_whole(content: bytes) -> bool:
    """JSON that can be read, or a pickle that has its end."""
    if not content.startswith(b"{"):
        return content.endswith(b".")
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
