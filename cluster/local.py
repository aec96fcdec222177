"""A Ray node of this machine, started in the background and stopped again: only what was started here, by process id."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from cluster.token import has_token, make_token
from wsus.errors import ConfigError

START_S = 90.0
STOP_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFile:
    """What the pid file holds. started: the process's own start time, so that a reused number is not taken for it."""

    pid: int
    started: float
    role: str
    address: str
    dashboard: str | None
    log: str


def state_dir() -> Path:
    """Where the pid file, the log and nothing else lie; WSUS_CLUSTER_DIR moves it."""
    return Path(os.environ.get("WSUS_CLUSTER_DIR") or Path.home() / ".wsus" / "cluster")


def start_head(*, host: str = "127.0.0.1", port: int = 6379, dashboard_port: int = 8265, num_cpus: int | None = None) -> NodeFile:
    """Start a head in the background. It listens on `host` alone and asks for Ray's token.

    Raises:
        ConfigError: one runs already, a port is taken, or Ray does not start.
    """
    _refuse_second()
    for number in (port, dashboard_port):
        _refuse_taken(host, number)
    arguments = [
        "--head",
        f"--port={port}",
        f"--dashboard-host={host}",
        f"--dashboard-port={dashboard_port}",
        "--include-dashboard=true",
    ]
    make_token()
    return _start("head", f"{host}:{port}", f"http://{host}:{dashboard_port}", host, arguments, num_cpus)


def join(address: str, *, host: str = "127.0.0.1", num_cpus: int | None = None) -> NodeFile:
    """Start a worker node in the background that joins a head. Raises ConfigError as `start_head`."""
    _refuse_second()
    if not has_token():
        raise ConfigError("no token on this machine: copy the head's ~/.ray/auth_token here, or set RAY_AUTH_TOKEN")
    return _start("worker", address, None, host, [f"--address={address}"], num_cpus)


def running_node() -> NodeFile | None:
    """The node that was started here and still runs; a file of one that is gone is removed."""
    file = state_dir() / "node.json"
    if not file.is_file():
        return None
    try:
        node = NodeFile(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{file}: not what `wsus cluster start` writes ({error}); end the Ray that it named, if it runs, and remove the file"
        ) from error
    if _start_time(node.pid) == node.started:
        return node
    file.unlink()
    return None


def stop() -> NodeFile | None:
    """Stop the node that was started here, and what it started; None where none runs. Other Rays are left alone."""
    node = running_node()
    if node is None:
        return None
    own = psutil.Process(node.pid)
    processes = [own, *own.children(recursive=True)]
    own.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(processes, timeout=STOP_S)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=10)
    (state_dir() / "node.json").unlink(missing_ok=True)
    return node


def _start(role: str, address: str, dashboard: str | None, host: str, arguments: list[str], num_cpus: int | None) -> NodeFile:
    folder = state_dir()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / "node.log"
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        f"--node-ip-address={host}",
        "--block",
        "--disable-usage-stats",
        f"--dashboard-agent-listen-port={_free_port(host)}",  # the usual one may be another Ray's, and then no job begins
    ]
    command += [*arguments, *([f"--num-cpus={num_cpus}"] if num_cpus is not None else [])]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # jobs say `python`
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "PATH": path}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )
    started = _start_time(process.pid)
    node = NodeFile(pid=process.pid, started=started or 0.0, role=role, address=address, dashboard=dashboard, log=str(log))
    beside = folder / "node.json.part"
    beside.write_text(json.dumps(asdict(node), indent=1))
    beside.replace(folder / "node.json")
    _wait_until_started(process, log, dashboard)
    return node


def _free_port(host: str) -> int:
    """Below the ports that systems give to whoever asks for any: Ray takes hundreds of these before its agent binds its own."""
    for port in random.sample(range(22_000, 23_000), 200):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise ConfigError(f"no free port between 22000 and 23000 of {host} for Ray's agent; end some clusters of this machine")


def _wait_until_started(process: subprocess.Popen[bytes], log: Path, dashboard: str | None) -> None:
    deadline = time.monotonic() + START_S
    while "Ray runtime started" not in log.read_text(errors="replace") or not _listens(dashboard):
        if process.poll() is not None or time.monotonic() > deadline:
            last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-3:]
            stop()
            raise ConfigError(f"Ray did not start: {' / '.join(last)}; all of it in {log}")
        time.sleep(0.2)


def _listens(dashboard: str | None) -> bool:
    if dashboard is None:
        return True
    host, _, port = dashboard.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _refuse_second() -> None:
    node = running_node()
    if node is not None:
        raise ConfigError(f"a {node.role} runs already (process {node.pid}, {node.address}); `wsus cluster stop` ends it")


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened on ({error.strerror}); choose --port or --dashboard-port"
            ) from error


def _start_time(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
