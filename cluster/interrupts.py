"""The one place that owns the signals of a command, so that it ends within seconds, says so, and leaves no process behind.

The first of `ENDING` raises KeyboardInterrupt in the main thread, whatever signal it was: Ray, Tune and asyncio know how to let
that one through. A second one, or `deadline_s` without an end, ends the process at once; a Ray that it started goes with it
(`cluster.watchdog`). What stands in the store is whole at every moment, so that ending at once loses time and nothing else.

Ray and Tune install handlers of their own: Ray's native one for SIGTERM aborts with a stack trace, Tune's for SIGUSR1 lets a
study end as if it were finished. `own_again` takes the signals back.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
DEADLINE_S = 7.0
_NUDGE, _NUDGE_S = signal.SIGURG, 0.1  # wakes a system call that the signal came just before
_TOGETHER_S = 0.5  # a terminal and `timeout` signal a process and its group: two within this time are one


class SignalOwner:
    """Who receives the signals of this process.

    received: the signal that ends it; None until there is one.  deadline_s: from it to the end, before the process is ended.
    hint: says where it had to be ended at once what is kept; may run in another thread than the main one.
    """

    def __init__(self, *, deadline_s: float = DEADLINE_S) -> None:
        self.received: signal.Signals | None = None
        self.deadline_s = deadline_s
        self.hint: Callable[[], str] = lambda: "nothing half-written is left; run the same line again"
        self._first: float | None = None
        self._raised = False
        self._inbox, self._outbox = socket.socketpair()
        self._outbox.setblocking(False)

    @property
    def exit_status(self) -> int:
        """As a shell says it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.received or signal.SIGINT)

    def install(self) -> None:
        """Take the signals; one of the main thread alone. A hangup that `nohup` had ignored stays ignored."""
        for number in ENDING:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        signal.signal(_NUDGE, lambda *_: None)

    def watch(self) -> None:
        """Look after the deadline in a thread, which the kernel wakes: the main thread may be deep in native code."""
        signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()

    def leave(self) -> NoReturn:
        """End the process when all is cleaned up: taking Python and torch apart can take longer than the deadline."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(self.exit_status)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._raised:
            self._raised = True
            self.received = self.received or signal.Signals(number)
            raise KeyboardInterrupt

    def _watch(self) -> None:
        while True:
            left = None if self._first is None else max(0.0, self._first + self.deadline_s - time.monotonic())
            wait = left if left is None or self._raised else min(left, _NUDGE_S)
            if not select.select([self._inbox], [], [], wait)[0]:
                if wait == left:
                    self._end_at_once(f"it did not end within {self.deadline_s:.0f} s")
                signal.pthread_kill(threading.main_thread().ident or 0, _NUDGE)
                continue
            for number in self._inbox.recv(64):
                if number in ENDING:
                    self._seen(signal.Signals(number))

    def _seen(self, number: signal.Signals) -> None:
        if self._first is None:
            self._first = time.monotonic()
            self.received = self.received or number
        elif time.monotonic() - self._first > _TOGETHER_S:
            self._end_at_once(f"{number.name} came again")

    def _end_at_once(self, why: str) -> None:
        """Without cleaning up: the watchdog of a Ray of this machine's own does that once this process is gone."""
        name = self.received.name if self.received else "a signal"
        with suppress(OSError):
            os.write(2, f"interrupted by {name}, ended at once ({why}); {self.hint()}\n".encode())
        os._exit(self.exit_status)


_owner: SignalOwner | None = None


@contextmanager
def owned_signals() -> Iterator[SignalOwner]:
    """Own the signals for the block; after one of them came, until the process ends."""
    global _owner  # signals are the process's
    before = {number: signal.getsignal(number) for number in ENDING}
    _owner = owner = SignalOwner()
    owner.watch()
    try:
        owner.install()
        yield owner
    finally:
        if owner.received is None:
            _owner = None
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def hint(text: str | Callable[[], str]) -> None:
    """What is to be said where cleaning up takes longer than the deadline; nothing where nobody owns the signals."""
    if _owner is not None:
        _owner.hint = text if callable(text) else lambda: text


def allow(deadline_s: float) -> None:
    """What comes to an end in order may take longer here; nothing where nobody owns the signals."""
    if _owner is not None:
        _owner.deadline_s = deadline_s


def own_again() -> None:
    """Take back the signals that a library has taken; nothing where nobody owns them, or outside of the main thread."""
    if _owner is not None and threading.current_thread() is threading.main_thread():
        _owner.install()
