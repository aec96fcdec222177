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
from pathlib import Path

from cluster import watchdog
from cluster.interrupts import own_again
from cluster.session_logs import logs_kept_a_day
from wsus.errors import ConfigError

OBJECT_STORE_BYTES = 256 * 1024 * 1024  # a study passes little between processes; streamed images take half of it at most

IDLE_WORKER_MS = 600_000  # a worker that has imported torch (5 s and more) waits for the next stage of a study
_HEAD = "the HOST:PORT of its head"
_LONGEST_TMPDIR = 40  # /ray/session_<date>_<number>/sockets/plasma_store comes after it
_END_S = 3.0  # for what Ray leaves running when it is shut down


@contextmanager
def ray_session(address: str | None = None, *, num_cpus: int | None = None, any_version: bool = False) -> Iterator[None]:
    """Connect to `address` (or RAY_ADDRESS), or start Ray on this machine and stop it afterwards.

    A running cluster must have this process's versions, unless `any_version`. Where this process is connected already, that
    connection is used and left open. Trials get absolute paths, so Ray does not move their working folder. A cluster of this
    machine's own has no dashboard; Ray binds its other ports to all interfaces and guards them with its own token (on by
    default for a local start in Ray 2.60). None of its processes outlives this one, however this one ends.

    Raises:
        ConfigError: no cluster answers there, its versions are others, or Ray does not start here.
    """
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a task without GPUs leaves CUDA_VISIBLE_DEVICES alone
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # what trials do and how they fail is said by the study itself
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Tune's lets a study end as if it were finished
    import ray

    if ray.is_initialized():
        yield
        return
    wanted = shared_address(address)
    with _connected(wanted, any_version=any_version) if wanted else _started(num_cpus):
        yield


def shared_address(address: str | None = None) -> str | None:
    """HOST:PORT of the cluster that `address` or RAY_ADDRESS names; None where a Ray of this machine's own is to be started.

    Raises:
        ConfigError: the address is of another kind, or 'auto' and nothing was started here.
    """
    named = address or os.environ.get("RAY_ADDRESS")
    if not named or named == "local":
        return None
    if named == "auto":
        return _found()
    told = f"{'--ray-address' if address else 'RAY_ADDRESS'} {named!r}"
    if named.startswith("ray://"):
        raise ConfigError(f"{told} is Ray Client, which cannot do this; give {_HEAD}, or use `wsus cluster submit`")
    if "://" in named:
        raise ConfigError(f"{told} is a dashboard with its Jobs API; give {_HEAD}, or use `wsus cluster submit --address`")
    host, _, port = named.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"{told}: expected {_HEAD}, as 10.0.0.1:6379, or 'auto' or 'local'")
    return named


def _found() -> str:
    """The cluster that `wsus cluster start`, or else `ray start`, started on this machine: never a Ray that is somebody's own."""
    from ray._private.utils import read_ray_address

    from cluster.local import running_node

    node = running_node()
    named = node.address if node is not None else read_ray_address()
    if not named:
        start = "`wsus cluster start --head` starts one"
        raise ConfigError(f"'auto': no cluster was started on this machine; {start}, or give {_HEAD}")
    return str(named)


@contextmanager
def _connected(address: str, *, any_version: bool) -> Iterator[None]:
    import ray

    from cluster.nodes import versions_of_nodes
    from cluster.token import asks_for_token, use_token
    from cluster.versions import refuse_version_skew

    _refuse_silence(address)
    if asks_for_token(address):
        use_token()
    try:
        with _said_in_a_line(f"no Ray cluster answers at {address}"):
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        own_again()
        if not any_version:
            refuse_version_skew(versions_of_nodes())
        yield
    finally:
        _shut_down()


def _shut_down() -> None:
    """As `ray.shutdown`, whose native part leaves SIGTERM at the system's default, which ends a process without a word."""
    import ray

    ray.shutdown()
    own_again()


@contextmanager
def _said_in_a_line(what: str) -> Iterator[None]:
    """What Ray raises where it cannot start or connect becomes a ConfigError; its own errors of connections are many."""
    try:
        yield
    except (ConfigError, KeyboardInterrupt):
        raise
    except Exception as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(f"{what} ({first})") from error


@contextmanager
def _started(num_cpus: int | None) -> Iterator[None]:
    """A Ray of this machine's own, of which nothing is left afterwards."""
    import ray

    with _stopped_whole(_shut_down):
        with _said_in_a_line("Ray could not be started on this machine"), _short_temporary_folder():
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
        with logs_kept_a_day(Path(ray._private.worker._global_node.get_session_dir_path())):
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


@contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """Ray's Unix sockets lie below its temporary folder, and their paths have 107 characters at most."""
    if len(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR", "")) <= _LONGEST_TMPDIR:
        yield
        return
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = "/tmp"
    try:
        yield
    finally:
        del os.environ["RAY_TMPDIR"]
        if before is not None:
            os.environ["RAY_TMPDIR"] = before


def _refuse_silence(address: str) -> None:
    """Raises ConfigError where nobody listens at HOST:PORT; Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address!r} (nobody listens there: {error.strerror or error}); "
            "start one with `wsus cluster start --head`"
        ) from error
