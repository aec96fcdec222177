"""Every run of a study leaves a note of when, where and how long, also one that was killed.

A study that is resumed is one study of several runs; its wall time is theirs together.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tune_jobs.keys import runs_key
from wsus.errors import StoreError
from wsus.storage import Store
from wsus.versions import own_versions

logger = logging.getLogger(__name__)

_BEAT_S = 2.0  # a killed run is known up to its last beat


class RunLog:
    """The note of one run, written when it begins, while something happens, and when it ends.

    started: seconds of `time.monotonic()` at which the run began; now by default.
    """

    def __init__(self, store: Store, study: str, *, resources: Mapping[str, float], started: float | None = None) -> None:
        self._store, self._start = store, time.monotonic() if started is None else started
        self._written = -_BEAT_S
        began = datetime.now(UTC)
        self._key = f"{runs_key(study)}/{began.strftime('%Y%m%dT%H%M%S.%fZ')}.json"
        self._note = {
            "started": began.isoformat(timespec="seconds"),
            "resources": dict(resources),
            "versions": own_versions(),
            "platform": platform.platform(),
        }
        self._write(ended=False)

    def beat(self) -> None:
        """Something happened; written at most every two seconds. A store that is away for a while does not end the training."""
        if time.monotonic() - self._written >= _BEAT_S:
            try:
                self._write(ended=False)
            except StoreError as error:
                logger.warning("the note of this run was not brought up to date: %s", error)

    def end(self) -> None:
        """The run came to its end."""
        self._write(ended=True)

    def _write(self, *, ended: bool) -> None:
        self._written = time.monotonic()
        self._store.write_json(self._key, {**self._note, "wall_s": self._written - self._start, "ended": ended})


def read_runs(store: Store, study: str) -> list[dict[str, Any]]:
    """The notes of all runs, the first one first: started, wall_s, ended, resources, versions, platform."""
    return [store.read_json(f"{runs_key(study)}/{name}") for name in store.children(runs_key(study))]
