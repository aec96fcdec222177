"""Pods of the rendered manifests as processes of this machine: their environment, mounts and rayStartParams, on other ports.

Where the kernel allows it, they run as in the cluster: as user 10001 without capabilities, with a read-only root file system, of
which only the pod's own folder is writable.
"""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests
from manifests import ROOT

TOKEN = "token-of-this-test-" + "0" * 20  # the operator makes one and puts it into every pod, as below
WORKER_SHIFT = 1100  # a second node of this machine needs other ports than the first
HAPROXY = "/tmp/haproxy-serve"
PORTS = {"port": 6379, "dashboard-port": 8265, "ray-client-server-port": 10001}
USER = 10001
BIN = Path(sys.executable).parent


@dataclass
class Machine:
    """folder: stands for every mount.  secrets: environment that Kubernetes takes from Secrets and ConfigMaps."""

    folder: Path
    secrets: Mapping[str, str]
    offset: int = field(default_factory=lambda: _free_offset())

    def __post_init__(self) -> None:
        for name in ("tmp", "cache", "data", "etc/wsus/tokens"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def here(self, text: str) -> str:
        """A path of the pod as a path of this machine."""
        for mount in ("/data/", "/etc/wsus/tokens/"):
            text = text.replace(mount, f"{self.folder}{mount}")
        return f"{self.folder}{text}" if text == "/tmp" or text.startswith("/cache") else text

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port + self.offset}"

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """What a container sees: its own variables, the Secrets, and what image and operator set."""
        own = {variable["name"]: self.here(variable["value"]) for variable in container.get("env", [])}
        image = {name: self.here(value) for name, value in image_environment().items()}
        place = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }
        place |= {
            f"RAY_SERVE_HAPROXY_{name}_PORT": str(port + self.offset) for name, port in (("METRICS", 9101), ("STATS", 8404))
        }
        operator = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        return {**image, **place, **self.secrets, **operator, **own}

    @contextmanager
    def pod(self, group: Mapping[str, Any], *, head: bool) -> Iterator[subprocess.Popen[bytes]]:
        """A Ray node, started as KubeRay starts it from a group's rayStartParams; ended with all that it started."""
        container = group["template"]["spec"]["containers"][0]
        command = ["ray", "start", "--block", "--node-ip-address=127.0.0.1", *self._params(group, container, head=head)]
        with (self.folder / f"{'head' if head else 'worker'}.log").open("ab") as log:
            process = subprocess.Popen(
                [*confined(self.folder), *command],
                env=self.environment(container),
                cwd=self.folder / "tmp",
                stdout=log,
                stderr=log,
            )
        try:
            if head:
                wait_until(lambda: _answers(self.url(8265)), "the dashboard answers", alive=process, log=Path(log.name))
            yield process
        finally:
            kill_tree(process)

    def submit(self, entrypoint: str, container: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes]:
        """What a RayJob's submitter does with an entry point: a shell reads it."""
        environment = {**self.environment(container), "RAY_ADDRESS": self.url(8265)}
        with log.open("wb") as stream:
            line = f"ray job submit --address {self.url(8265)} -- {self.here(entrypoint)}"
            command = [*confined(self.folder), "bash", "-ce", line]
            return subprocess.Popen(command, env=environment, cwd=self.folder / "tmp", stdout=stream, stderr=stream)

    def run(self, container: Mapping[str, Any], log: Path) -> int:
        """A container of a plain job, to its end; its exit status."""
        with log.open("wb") as stream:
            done = subprocess.run(
                [*confined(self.folder), *(self.here(word) for word in container["command"])],
                env=self.environment(container),
                cwd=self.folder / "tmp",
                stdout=stream,
                stderr=stream,
                timeout=300,
                check=False,
            )
        return done.returncode

    def series(self) -> set[str]:
        """The names that the head exports to Prometheus now."""
        try:
            text = requests.get(f"{self.url(8080)}/metrics", timeout=5).text
        except requests.ConnectionError:
            return set()
        return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}

    def _params(self, group: Mapping[str, Any], container: Mapping[str, Any], *, head: bool) -> list[str]:
        shift = self.offset + (0 if head else WORKER_SHIFT)
        limits = container["resources"]["limits"]
        found = {"num-cpus": limits["cpu"], "num-gpus": limits.get("nvidia.com/gpu", "0"), **group["rayStartParams"]}
        found = {key: str(int(value) + shift) if key.endswith("-port") else value for key, value in found.items()}
        if head:
            found |= {key: str(value + shift) for key, value in PORTS.items()}
            found |= {"dashboard-host": "127.0.0.1", "temp-dir": str(self.folder / "ray")}
        found["object-store-memory"] = "150000000"
        first = ["--head"] if head else [f"--address=127.0.0.1:{PORTS['port'] + self.offset}"]
        return [*first, *(f"--{key}={value}" for key, value in found.items())]


def image_environment() -> dict[str, str]:
    """The variables that the image sets in its last stage."""
    last = (ROOT / "k8s/Dockerfile").read_text().split("FROM ")[-1]
    lines = re.findall(r"^ENV ((?:.*\\\n)*.*)$", last, re.MULTILINE)
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(lines)))


def confined(folder: Path) -> list[str]:
    """A prefix for a command, which then runs as a container's does; nothing where the kernel refuses it.

    It belongs to user 10001, has no capabilities and cannot get any; but for `folder` and /dev/shm nothing can be written.
    """
    own = f"{folder}{HAPROXY}"  # the proxy's files: in a pod, all of /tmp is its own
    steps = [
        f"mkdir -p {own} {HAPROXY}",
        f"mount --bind {folder} {folder}",
        f"mount --bind {own} {HAPROXY}",
        *_opened(folder),
        f"chown -R {USER}:{USER} {folder}",
        "mount -o remount,ro,bind /",
        f'exec setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"',
    ]
    prefix = ["unshare", "--mount", "--propagation", "private", "bash", "-c", " && ".join(steps), "pod"]
    tried = subprocess.run([*prefix, "touch", str(folder / "probe")], capture_output=True, check=False)
    return prefix if tried.returncode == 0 else []


def _opened(folder: Path) -> list[str]:
    """Steps that show Python and this repository to user 10001 where they lie below a closed folder, as /root is."""
    needed = {ROOT, Path(sys.prefix), Path(sys.base_prefix)}
    closed = {path: top for path in needed for top in reversed(path.parents) if not top.stat().st_mode & 0o001}
    places = {path: folder / f"opened/{number}" for number, path in enumerate(sorted(closed))}
    steps = [f"mkdir -p {place} && mount --bind -o ro {path} {place}" for path, place in places.items()]
    steps += [f"mount -t tmpfs -o mode=755 tmpfs {top}" for top in sorted(set(closed.values()))]
    return steps + [f"mkdir -p {path} && mount --bind {place} {path} && umount {place}" for path, place in places.items()]


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and to all that it started, as when a machine is lost."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    for one in family:
        if one.is_running():
            one.kill()
    psutil.wait_procs(family, timeout=30)
    process.wait(30)


def wait_until(
    true: Callable[[], Any], what: str, *, alive: subprocess.Popen[bytes], log: Path, timeout_s: float = 180.0
) -> None:
    """Wait for something; fails at once where the process that should bring it about has ended, with the end of its log."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert alive.poll() is None, f"ended with {alive.returncode} before: {what}\n{log.read_text()[-4000:]}"
        assert time.monotonic() < deadline, f"not in {timeout_s:.0f} s: {what}\n{log.read_text()[-4000:]}"
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/api/version", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5).ok
    except requests.ConnectionError:
        return False


def _free_offset() -> int:
    """A shift of all ports to where nobody listens."""
    for offset in random.Random(os.getpid()).sample(range(100, 1000), 50):
        try:
            for port in (6379, 6380, 6381, 8000, 8080, 8265, 10001, 10002, 52365, 52366, 52367):
                for shift in (0, WORKER_SHIFT):
                    socket.create_server(("127.0.0.1", port + offset + shift)).close()
        except OSError:
            continue
        return offset
    raise AssertionError("no free ports")
