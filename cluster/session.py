"""Be connected to a Ray cluster for a while: one that runs already, or one of this machine's own."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cluster import watchdog
from cluster.interrupts import own_again

OBJECT_STORE_BYTES = 256 * 1024 * 1024  # a study passes little between processes; streamed images take half of it at most

IDLE_WORKER_MS = 600_000  # a worker that has imported torch (5 s and more) waits for the next stage of a study
_END_S = 3.0  # for what Ray leaves running when it is shut down


@contextmanager
def ray_session(address: str | None = None, *, num_cpus: int | None = None, any_version: bool = False) -> Iterator[None]:
    """Connect to `address` (or RAY_ADDRESS), or start Ray on this machine and stop it afterwards.

    A running cluster must have this process's versions, unless `any_version`. Where this process is connected already, that
    connection is used and left open. Trials get absolute paths, so Ray does not move their working folder. A cluster of this
    machine's own has no dashboard; Ray binds its other ports to all interfaces and guards them with its own token (on by
    default for a local start in Ray 2.60). None of its processes outlives this one, however this one ends.

    Raises:
        ConnectionError: no cluster answers there.  ConfigError: its versions are others.
    """
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a task without GPUs leaves CUDA_VISIBLE_DEVICES alone
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # what trials do and how they fail is said by the study itself
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Tune's lets a study end as if it were finished
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    with _connected(address, any_version=any_version) if address else _started(num_cpus):
        yield


@contextmanager
def _connected(address: str, *, any_version: bool) -> Iterator[None]:
    import ray

    from cluster.nodes import versions_of_nodes
    from cluster.token import asks_for_token, use_token
    from cluster.versions import refuse_version_skew

    _refuse_silence(address)
    if _is_host_and_port(address) and asks_for_token(address):
        use_token()
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        own_again()
        if not any_version:
            refuse_version_skew(versions_of_nodes())
        yield
    finally:
        ray.shutdown()


@contextmanager
def _started(num_cpus: int | None) -> Iterator[None]:
    """A Ray of this machine's own, of which nothing is left afterwards."""
    import ray

    with _stopped_whole(ray.shutdown):
        ray.init(
            "local",  # never a cluster that happens to run on this machine
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _system_config={"idle_worker_killing_time_threshold_ms": IDLE_WORKER_MS},
        )
        own_again()
        yield


@contextmanager
def _stopped_whole(stop: Callable[[], None]) -> Iterator[None]:
    """What Ray starts in the block ends with it: in order, or by the watchdog where this process is killed."""
    if not sys.platform.startswith("linux"):
        try:
            yield
        finally:
            stop()
        return
    own = os.getpid()
    before = watchdog.descendants(own)
    command = [sys.executable, "-I", "-S", watchdog.__file__, str(own)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as dog:
        assert dog.stdin is not None
        try:
            yield
        finally:
            started = {process for process in watchdog.descendants(own) - before if process[0] != dog.pid}
            stop()
            _end_leftovers(started | watchdog.processes_of(own))
            with suppress(BrokenPipeError):
                dog.stdin.write(b"bye\n")
                dog.stdin.close()


def _end_leftovers(processes: set[watchdog.Process]) -> None:
    """Agents and workers of a Ray that was shut down go by themselves within a moment, or are ended."""
    deadline = time.monotonic() + _END_S
    while watchdog.alive(processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    watchdog.end(processes)


def _refuse_silence(address: str) -> None:
    """Raises ConnectionError where nobody listens at HOST:PORT; Ray itself would try for many minutes."""
    if not _is_host_and_port(address):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(f"nobody listens there: {error.strerror or error}") from error


def _is_host_and_port(address: str) -> bool:
    return "://" not in address and address.rpartition(":")[2].isdigit()
