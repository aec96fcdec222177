"""Every run of a study leaves a note of when, where and how long, also one that was killed.

A study that is resumed is one study of several runs; its wall time is theirs together.
"""

from __future__ import annotations

import getpass
import logging
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tune_jobs.keys import runs_key
from wsus.errors import StoreError
from wsus.storage import Store
from wsus.versions import own_versions

logger = logging.getLogger(__name__)

CARD_NOTES = ("started", "ended", "hosts", "user", "command", "commit", "versions", "platform")  # of a run, on a model card
_BEAT_S = 2.0  # a killed run is known up to its last beat


class RunLog:
    """The note of one run, written when it begins, while something happens, and when it ends.

    started: seconds of `time.monotonic()` at which the run began; now by default.  hosts: the machines of its cluster.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        *,
        resources: Mapping[str, float],
        started: float | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        self._store, self._start = store, time.monotonic() if started is None else started
        self._written = -_BEAT_S
        began = datetime.now(UTC)
        self._key = f"{runs_key(study)}/{began.strftime('%Y%m%dT%H%M%S.%fZ')}.json"
        self._note = {
            "started": began.isoformat(timespec="seconds"),
            "resources": dict(resources),
            "versions": own_versions(),
            "platform": platform.platform(),
            "hosts": list(hosts),
            "user": _user(),
            "command": shlex.join(sys.argv),
            "commit": _commit(),
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
    """The notes of all runs, the first one first: when and how long, on what, by whom, under which versions, whether it ended."""
    return [store.read_json(f"{runs_key(study)}/{name}") for name in store.children(runs_key(study))]


def _user() -> str | None:
    """Who started the run; None where the system has no name for the number, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _commit() -> str | None:
    """The commit of this software where it runs from its repository, marked where files were changed; None elsewhere."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
