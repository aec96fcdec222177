"""One driver per study: a lease in the store that is renewed while the driver lives.

Whether a lease is stale is not told by comparing clocks of two machines: whoever wants it watches whether it is renewed.
Every write is conditional, so that of two drivers at the same moment one gets it. A process is known by its number together
with its start time, its machine's boot and its PID namespace: a number alone is used again, or is that of another container.
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
from pathlib import Path
from typing import Any

import psutil

from tune_jobs.keys import lease_key
from wsus.errors import ChangedError, StoreError, StudyBusyError
from wsus.storage import Store
from wsus.storage.base import as_json

logger = logging.getLogger(__name__)
_SIGN_OF_LIFE_S = 180.0  # for a list of studies; clocks of machines may differ by a minute or two


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseConfig:
    """renew_s: between two signs of life.  stale_s: without a sign of life for so long, the driver counts as dead."""

    renew_s: float = 5.0
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
        here = {"host": socket.gethostname(), "pid": os.getpid(), **_where(), "started": _start_time(os.getpid())}
        renewed = datetime.now(UTC).isoformat(timespec="seconds")
        return as_json({**here, "token": self._token, "since": self._since, "renewals": self._renewals, "renewed": renewed})


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


def is_driven(store: Store, study: str) -> bool:
    """Whether a driver works on a study, as far as can be told at once: for a list, not for who wants to drive.

    A driver of another machine counts while its last sign of life is younger than some minutes by this machine's clock.
    """
    lies_there = store.read_tagged(lease_key(study))
    if lies_there is None:
        return False
    holder = _holder(lies_there.content)
    if _is_dead_here(holder) or _lives_here(holder):
        return _lives_here(holder)
    try:
        renewed = datetime.fromisoformat(holder["renewed"])
        return (datetime.now(UTC) - renewed).total_seconds() < _SIGN_OF_LIFE_S
    except (KeyError, TypeError, ValueError):
        return holder.get("pid") is not None  # of an earlier version, which wrote no time


def _lives_here(holder: dict[str, Any]) -> bool:
    """Whether the holder is another process of this machine that still runs."""
    pid, started = holder.get("pid"), holder.get("started")
    if not isinstance(pid, int) or started is None or pid == os.getpid() or not _is_here(holder):
        return False
    return not _differs(_start_time(pid), started)


def _is_dead_here(holder: dict[str, Any]) -> bool:
    """Whether the holder ran on this machine, and is no more: its number is free, or another process has it."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or not _is_here(holder):
        return False
    now = _start_time(pid)
    return now is None or (holder.get("started") is not None and _differs(now, holder["started"]))


def _differs(one: float | None, other: float) -> bool:
    """Whether two start times are of two processes; the same one's differs by a second where the clock was set meanwhile."""
    return one is None or abs(one - other) > 5.0


def _is_here(holder: dict[str, Any]) -> bool:
    """Whether its process numbers are those of this process. An earlier version wrote the machine's name alone."""
    return holder.get("host") == socket.gethostname() and all(
        holder.get(name, value) == value for name, value in _where().items()
    )


def _where() -> dict[str, str | None]:
    """The boot of this machine and the PID namespace of this process; None where the system does not say."""
    try:
        return {
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "pid_namespace": os.readlink("/proc/self/ns/pid"),
        }
    except OSError:
        return {"boot": None, "pid_namespace": None}


def _start_time(pid: int) -> float | None:
    """When a process started, in the clock of this boot; None where there is none of this number, or a dead one."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
