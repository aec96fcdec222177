"""One driver per study: a lease in the store that is renewed while the driver lives.

Whether a lease is stale is not told by comparing clocks of two machines: whoever wants it watches whether it is renewed.
Every write is conditional, so that of two drivers at the same moment one gets it.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tune_jobs.keys import lease_key
from wsus.errors import ChangedError, StoreError, StudyBusyError
from wsus.storage import Store
from wsus.storage.base import as_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseConfig:
    """renew_s: between two signs of life.  stale_s: without a sign of life for so long, the driver counts as dead."""

    renew_s: float = 10.0
    stale_s: float = 60.0


class Lease:
    """A study's lease that this process holds."""

    def __init__(self, store: Store, study: str, config: LeaseConfig, on_lost: Callable[[], None] = lambda: None) -> None:
        self._store, self._study, self._config, self._on_lost = store, study, config, on_lost
        self._key = lease_key(study)
        self._token = secrets.token_hex(8)
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._renewals = 0
        self._tag: str | None = None
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="study-lease", daemon=True)

    def check(self) -> None:
        """Raises StudyBusyError where another driver took the study over, because this one gave no sign of life."""
        if self._lost.is_set():
            raise StudyBusyError(
                f"study {self._study!r}: another driver took it over while this one could not renew its lease; this one ends here"
            )

    def take(self, say: Callable[[str], None]) -> None:
        """Get the lease. Raises StudyBusyError where a driver that lives holds it."""
        lies_there = self._store.read_tagged(self._key)
        if lies_there is not None:
            holder = _holder(lies_there.content)
            if not _is_dead_here(holder):
                self._watch(lies_there.tag, holder, say)
            say(f"study {self._study}: taken over from {_named(holder)}, which gives no sign of life")
        try:
            self._tag = self._store.write_if(self._key, self._content(), lies_there.tag if lies_there else None)
        except ChangedError as error:
            raise StudyBusyError(self._refusal("another driver, which was a moment faster")) from error

    def keep(self) -> None:
        """Renew it from now on, in a thread."""
        self._thread.start()

    def release(self) -> None:
        """Give it back, unless another driver has it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        lies_there = self._store.read_tagged(self._key)
        if lies_there is not None and lies_there.tag == self._tag:
            self._store.delete(self._key)

    def _watch(self, tag: str, holder: dict[str, Any], say: Callable[[str], None]) -> None:
        """Raises StudyBusyError at the first sign of life; returns where there was none for long enough."""
        if _lives_here(holder):
            raise StudyBusyError(self._refusal(_named(holder)))
        say(f"study {self._study}: held by {_named(holder)}; waiting up to {self._config.stale_s:.0f} s for a sign of life")
        deadline = time.monotonic() + self._config.stale_s
        while time.monotonic() < deadline:
            time.sleep(min(2.0, self._config.stale_s / 5))
            found = self._store.read_tagged(self._key)
            if found is None or found.tag != tag:
                raise StudyBusyError(self._refusal(_named(holder)))

    def _refusal(self, who: str) -> str:
        return (
            f"study {self._study!r} in {self._store.address} is being run by {who}; wait for it, end it there, or choose "
            "another --name"
        )

    def _renew(self) -> None:
        while not self._ended.wait(self._config.renew_s):
            self._renewals += 1
            try:
                self._tag = self._store.write_if(self._key, self._content(), self._tag)
            except ChangedError:
                self._lost.set()
                if not self._ended.is_set():
                    self._on_lost()
                return
            except StoreError as error:
                logger.warning("study %s: its lease was not renewed (%s)", self._study, error)

    def _content(self) -> bytes:
        here = {"host": socket.gethostname(), "pid": os.getpid(), "token": self._token, "since": self._since}
        return as_json({**here, "renewals": self._renewals})


@contextmanager
def held_lease(
    store: Store,
    study: str,
    say: Callable[[str], None],
    config: LeaseConfig | None = None,
    *,
    renew: bool = True,
    on_lost: Callable[[], None] = lambda: None,
) -> Iterator[Lease]:
    """Hold a study's lease for the block. Raises StudyBusyError where another driver that lives holds it.

    Args:
        on_lost: called in the renewing thread where another driver has taken the lease.
    """
    lease = Lease(store, study, config or LeaseConfig(), on_lost)
    lease.take(say)
    if renew:
        lease.keep()
    try:
        yield lease
    finally:
        lease.release()


def _holder(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _named(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')} (since {holder.get('since', '?')})"


def _lives_here(holder: dict[str, Any]) -> bool:
    """Whether the holder is another process of this machine, and there is one with its number."""
    pid = holder.get("pid")
    return holder.get("host") == socket.gethostname() and isinstance(pid, int) and pid != os.getpid() and _exists(pid)


def _is_dead_here(holder: dict[str, Any]) -> bool:
    """Whether the holder ran on this machine, and there is no such process any more."""
    pid = holder.get("pid")
    return holder.get("host") == socket.gethostname() and isinstance(pid, int) and not _exists(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
