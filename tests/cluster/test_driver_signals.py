"""The owner of the signals: one ends a command in order, a second one or the deadline at once, each in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster import watchdog

ROOT = Path(__file__).parents[2]
COMMAND = """
import signal, sys, time
from cluster import interrupts
with interrupts.owned_signals() as signals:
    interrupts.allow(1.5)
    interrupts.hint("an earlier word")
    interrupts.hint(lambda: f"all is {'kept'}")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does
    interrupts.own_again()
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(float(sys.argv[1]))
        print(f"cleaned up after {signals.received.name}", flush=True)
        signals.leave()
"""


@contextmanager
def command(cleaning_s: float) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(cleaning_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # tests may run under nohup, which it would inherit
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGUSR1", 138)])
def test_each_signal_ends_a_command_in_order(name: str, status: int) -> None:
    with command(0) as process:
        process.send_signal(signal.Signals[name])
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (status, f"cleaned up after {name}\n")


def test_a_second_one_ends_it_at_once() -> None:
    with command(60) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.8)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "interrupted by SIGINT, ended at once (SIGINT came again); all is kept\n"


def test_the_deadline_ends_what_does_not_end() -> None:
    with command(60) as process:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert said == "interrupted by SIGTERM, ended at once (it did not end within 2 s); all is kept\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the watchdog reads /proc")
@pytest.mark.parametrize("said", [b"", b"bye\n"])
def test_the_watchdog_ends_what_a_killed_process_leaves(said: bytes) -> None:
    """A parent with a child in a session of its own, as HAProxy and Ray's agents live on without their parent."""
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True).wait()"]
    )
    dog = subprocess.Popen([sys.executable, "-I", "-S", watchdog.__file__, str(parent.pid)], stdin=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (children := watchdog.descendants(parent.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2 * watchdog.LOOK_S)  # it has seen them

    parent.kill()
    parent.wait()
    dog.communicate(said, timeout=60)

    assert children
    assert bool(watchdog.alive(children)) == bool(said)
    watchdog.end(children)
