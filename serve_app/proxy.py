"""How Ray Serve's HTTP proxy is set up: variables that every Ray process must have before Ray starts."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serve_app.problems import CONTENT_TYPE, OF_THE_PROXY, problem_of_the_proxy
from wsus.errors import ConfigError

_MOST_CONNECTIONS = 16_384


def _proxy_rules() -> str:
    """Lines for the section `defaults` of HAProxy's configuration.

    Ray has no variable for `timeout http-request`, without which a connection that sends no whole header stays for as long as
    it drips, nor for the texts of HAProxy's own errors (those to what is no request are built into it). It writes this one, the
    way to balance, into that section as it stands, behind its own lines; a test renders Ray's template and starts HAProxy.
    """
    errors = []
    for status in OF_THE_PROXY:
        problem = problem_of_the_proxy(status)
        text = problem.problem.model_dump_json(exclude_none=True)  # holds no single quote
        more = f"hdr Cache-Control no-store hdr Retry-After {problem.retry_after_s}"
        errors.append(f"http-error status {status} content-type {CONTENT_TYPE} string '{text}' {more}")
    return "\n    ".join(["leastconn", "timeout http-request 10s", *errors])


_FOLDERS, _PREFIX = Path("/tmp"), "wsus-serve-"  # a socket's path has 107 characters, of which Ray and HAProxy take 80
_YOUNG_S = 60.0  # a folder that is made just now may not be locked yet

PROXY_ENVIRONMENT = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",  # a request passes one Python process less; benchmarks/serving.py
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "30",  # a client that neither sends nor takes anything for so long is let go
    "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": _proxy_rules(),
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(64 * 2**20),  # a map as numbers passes Ray's 4 MiB
    "RAY_worker_niceness": "0",  # Ray's 15 lets its dashboard interrupt every inference
    # Ingress and predictor never block their event loops, so that no request has to change threads within Ray:
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}


@contextmanager
def proxy_folder() -> Iterator[Path]:
    """A folder for HAProxy's configuration, logs and sockets, which this user alone can enter; nothing of it stays.

    What a server that was killed has left goes, too: nobody holds its lock any more.
    """
    for left in _FOLDERS.glob(f"{_PREFIX}*"):
        with suppress(OSError), _opened(left) as number:  # another user's, or one that is held
            if time.time() - left.stat().st_mtime > _YOUNG_S:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(dir=_FOLDERS, prefix=_PREFIX))
    try:
        with _opened(folder) as number:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    number = os.open(folder, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)


def laptop_environment(folder: Path) -> dict[str, str]:
    """The variables for a Ray of this machine's own.

    HAProxy opens two pages of counters (no content of requests) on all interfaces, at ports that others may use: free ones.

    Args:
        folder: for HAProxy's files; its admin socket is open to whoever can reach it there (`proxy_folder`).
    Raises:
        ConfigError: the machine runs another system than Linux, or there are no free ports.
    """
    if sys.platform != "linux":
        raise ConfigError(
            "serving needs Linux, which alone has Ray's HAProxy and limits a decoder's memory: serve from a container; "
            "`wsus predict --store` answers here"
        )
    metrics, stats = free_ports(2)
    return PROXY_ENVIRONMENT | {
        "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",  # images go from ingress to predictor directly, not through the object store
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # Ray's 0.1 takes 3 % of a processor that the predictors share
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",  # no load balancer in front has to notice the end
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_MAXCONN": str(_most_connections()),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
    }


def _most_connections() -> int:
    """As many as HAProxy may open files for, 2.5 each (it does not start otherwise): Ray's 4,096 are one stranger's idle ones."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else max(256, min(_MOST_CONNECTIONS, (hard - 1000) * 2 // 5))


def free_ports(count: int) -> list[int]:
    """Ports from 23000 to 32000 that are free on all interfaces.

    They lie below those that systems give to whoever asks for any: Ray takes hundreds of these before HAProxy binds its own.

    Raises:
        ConfigError: there are not so many.
    """
    found: list[int] = []
    for port in random.Random().sample(range(23_000, 32_000), 500):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise ConfigError("no free port between 23000 and 32000 for the proxy's counters; end some servers of this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def refuse_taken(host: str, port: int) -> None:
    """Raises ConfigError where a server cannot listen there: said before Ray starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened on ({error.strerror or error}); choose another --port"
            ) from error
