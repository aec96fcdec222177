"""Ends what is left of a Ray that a process started, when that process has been killed.

`watchdog.py PID` is started beside Ray, in a session of its own, with a pipe as its input. A line `bye` there says that Ray
was stopped in order. An end of the pipe without it says that the process is gone: Ray's raylet dies with it (the kernel sees to
that), but its agents and HAProxy live on, for minutes or for ever. They are found by their logs, which lie in the folder of
the Ray session that carries the process's number, and as descendants that were seen before.

Runs as a script without site packages: it must be small, and there before Ray is.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
from collections.abc import Iterator

LOOK_S = 2.0
_SESSION = "session_[-0-9_]+_{pid}(?![0-9])"
Process = tuple[int, int]  # number and start time, so that a number that is used again is not taken for it


def processes_of(pid: int) -> set[Process]:
    """The processes of the Ray session that a process of this number started, itself left out. Linux."""
    pattern = re.compile(_SESSION.format(pid=pid))
    return {
        (other, start) for other, _, start in _listed() if other not in (pid, os.getpid()) and pattern.search(_named_by(other))
    }


def descendants(pid: int) -> set[Process]:
    """Children, their children, and so on, but for this process."""
    listed = list(_listed())
    found: set[Process] = set()
    known = {pid}
    while True:
        new = {(child, start) for child, parent, start in listed if parent in known and child not in known}
        if not new:
            return {process for process in found if process[0] != os.getpid()}
        found |= new
        known |= {child for child, _ in new}


def alive(processes: set[Process]) -> set[Process]:
    """Those that still run."""
    return processes & {(pid, start) for pid, _, start in _listed()}


def end(processes: set[Process]) -> None:
    """SIGKILL to those that still run."""
    for pid, _ in alive(processes):
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _listed() -> Iterator[tuple[int, int, int]]:
    """(number, parent, start time in clock ticks) of all processes that are no zombies."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                yield int(name), int(fields[1]), int(fields[19])


def _named_by(pid: int) -> str:
    """The command line of a process and where its output goes."""
    texts = []
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            texts.append(file.read())
        texts += [os.readlink(f"/proc/{pid}/fd/{number}") for number in (1, 2)]
    except (OSError, UnicodeDecodeError):
        pass
    return "\n".join(texts)


def _main(pid: int) -> None:
    """Wait for the end of `pid`; see the module."""
    seen: set[Process] = set()
    while True:
        if select.select([0], [], [], LOOK_S)[0]:
            said = os.read(0, 64)
            if said:
                return
            break
        seen = alive(seen) | descendants(pid)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = alive(seen) | processes_of(pid)
        end(left | {process for other, _ in left for process in descendants(other)})
        if not left:
            return
        time.sleep(0.5)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
