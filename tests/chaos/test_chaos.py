"""What dies in a study of days dies here on purpose: processes, nodes, the S3 server, the disk. Run by `make chaos`.

Each test ends with the study's predictions held against those of a study that nothing happened to: the same bits.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from chaos_report import LINES
from networks import network
from s3_server import S3Server, faulty_proxy

from cluster.local import running_node, start_head, stop
from serve_app.proxy import free_ports
from wsus.storage import Store, open_store

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.slow]
KILLS = int(os.environ.get("WSUS_CHAOS_KILLS", "20"))
DRIVER = Path(__file__).with_name("chaos_driver.py")


class Drive:
    """A driver process, its log, and what can be read from it."""

    def __init__(self, address: str, log: Path, kind: str = "local") -> None:
        self.log, self.begun = log, time.monotonic()
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        environment["PYTHONPATH"] = str(DRIVER.parents[2])
        with log.open("ab") as output:
            command = [sys.executable, str(DRIVER), address, kind]
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)

    def __enter__(self) -> Drive:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever happened: nothing of it stays."""
        if self.process.poll() is None:
            processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            for process in processes:
                process.kill()
            self.process.wait(30)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def epochs(self) -> list[tuple[str, int]]:
        """(trial, epoch), in the order of the log; an epoch that was trained again stands twice."""
        return [(trial, int(epoch)) for trial, epoch in re.findall(r"(\S+-sample\d+)  epoch (\d+)/", self.text)]

    def repeated(self) -> int:
        return sum(count - 1 for count in Counter(self.epochs).values())

    def wait_for(self, true: Callable[[], bool], seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert self.process.poll() is None or true(), f"the driver ended:\n{self.text[-3000:]}"
            assert time.monotonic() < deadline, f"it did not come true:\n{self.text[-3000:]}"
            time.sleep(0.1)

    def end(self, seconds: float = 400) -> float:
        assert self.process.wait(seconds) == 0, self.text[-3000:]
        assert '"failures": []' in self.text, self.text[-3000:]
        assert self.text.count("  trained (") == 2, "a trial was trained to its end twice, or not at all"
        return time.monotonic() - self.begun

    def trials(self) -> list[psutil.Process]:
        """The processes in which trials train; Ray writes what a process does into its title."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        names = [(child, " ".join(_command(child)).strip()) for child in children]
        others = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
        return [child for child, name in names if name.startswith("ray::") and not name.startswith(others)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def predictions(store: Store) -> dict[str, np.ndarray]:
    cells = ("resnet34-weak", "resnet34-manual_roi")
    tables = {cell: store.read_bytes(f"studies/chaos/cells/{cell}/predictions.parquet") for cell in cells}
    return {cell: pd.read_parquet(BytesIO(content))["pom"].to_numpy() for cell, content in tables.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The predictions of a study that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Drive(str(folder / "store"), folder / "log") as drive:
        seconds = drive.end()
        assert drive.repeated() == 0
    LINES.append(f"undisturbed: {len(drive.epochs)} epochs, {seconds:.0f} s")
    return predictions(open_store(folder / "store"))


def assert_same(store: Store, undisturbed: dict[str, np.ndarray]) -> None:
    for cell, found in predictions(store).items():
        np.testing.assert_array_equal(found, undisturbed[cell])


def test_trial_processes_killed_at_random(tmp_path: Path, undisturbed: dict[str, np.ndarray]) -> None:
    choose, killed = random.Random(0), 0
    with Drive(str(tmp_path / "store"), tmp_path / "log") as drive:
        while killed < KILLS and drive.text.count("  trained (") < 2:
            seen = len(drive.epochs)
            drive.wait_for(lambda seen=seen: len(drive.epochs) > seen or drive.text.count("  trained (") == 2)  # type: ignore[misc]
            time.sleep(choose.uniform(0, 0.3))
            for victim in drive.trials():
                if killed < KILLS and choose.random() < 0.8:
                    victim.kill()
                    killed += 1
        seconds = drive.end()
    LINES.append(f"trial processes killed: {killed}, epochs trained again: {drive.repeated()}, {seconds:.0f} s")
    assert killed == KILLS
    assert drive.repeated() <= killed  # at most one epoch lost per kill
    assert_same(open_store(tmp_path / "store"), undisturbed)


def test_worker_node_killed_and_another_added(tmp_path: Path, undisturbed: dict[str, np.ndarray]) -> None:
    with Drive(str(tmp_path / "store"), tmp_path / "log", "nodes") as drive:
        seconds = drive.end()
    assert "a node was killed" in drive.text
    assert "a node was added" in drive.text
    reasons = re.findall(r"-sample0  tried again: (.*)", drive.text)
    assert reasons
    assert all(reason.startswith("its process or its node is gone or out of reach (") for reason in reasons), reasons
    LINES.append(f"worker node killed, another added: epochs trained again: {drive.repeated()}, {seconds:.0f} s")
    assert drive.repeated() <= 2
    assert_same(open_store(tmp_path / "store"), undisturbed)


def test_node_drained_with_notice(tmp_path: Path, undisturbed: dict[str, np.ndarray]) -> None:
    with Drive(str(tmp_path / "store"), tmp_path / "log", "drain") as drive:
        seconds = drive.end()
    assert "a node is drained" in drive.text
    assert "a node was killed" in drive.text
    LINES.append(f"a node drained with 10 s of notice: epochs trained again: {drive.repeated()}, {seconds:.0f} s")
    assert drive.repeated() <= 1  # of the one trial that ran there, the epoch that ran when it went
    assert_same(open_store(tmp_path / "store"), undisturbed)


def test_head_killed_and_another_started(
    tmp_path: Path, undisturbed: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("WSUS_CLUSTER_DIR", str(tmp_path / "cluster"))
    with head(), Drive(str(tmp_path / "store"), tmp_path / "log", running_address()) as first:
        first.wait_for(lambda: len(first.epochs) > 6)
        kill_head()
        lost = time.monotonic()
        status = first.process.wait(300)
        noticed = time.monotonic() - lost
    assert status != 0
    with head(), Drive(str(tmp_path / "store"), tmp_path / "log", running_address()) as second:
        seconds = second.end()
    LINES.append(
        f"head killed: the driver ended after {noticed:.0f} s; with another head: epochs trained again: {second.repeated()}, "
        f"{seconds:.0f} s for the rest"
    )
    assert second.repeated() <= 4
    assert_same(open_store(tmp_path / "store"), undisturbed)


def test_node_with_an_address_of_its_own_cut_off(
    tmp_path: Path, undisturbed: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes in network namespaces; the cable of one is taken out, and its processes live on."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("WSUS_CLUSTER_DIR", str(tmp_path / "head"))
    with network(2) as net, head(net.bridge_ip, num_cpus=0), ExitStack() as nodes:
        for namespace, address in net.nodes.items():
            nodes.enter_context(joined(namespace, address, tmp_path / namespace))
        with Drive(str(tmp_path / "store"), tmp_path / "log", running_address()) as drive:
            drive.wait_for(lambda: len({trial for trial, epoch in drive.epochs if epoch > 2}) == 2)
            net.cut(next(iter(net.nodes)))
            seconds = drive.end()
    LINES.append(f"a node with an address of its own cut off: epochs trained again: {drive.repeated()}, {seconds:.0f} s")
    assert drive.repeated() <= 1
    assert_same(open_store(tmp_path / "store"), undisturbed)


@contextmanager
def joined(namespace: str, address: str, state: Path) -> Iterator[None]:
    """A node in a network namespace, started and stopped as on a machine of its own."""
    environment = {**os.environ, "WSUS_CLUSTER_DIR": str(state), "PYTHONPATH": str(DRIVER.parents[2])}
    command = ["ip", "netns", "exec", namespace, sys.executable, "-m", "wsus", "cluster"]
    join = ["start", "--join", running_address(), "--host", address, "--cpus", "1"]
    started = subprocess.run([*command, *join], env=environment, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield
    finally:
        subprocess.run([*command, "stop"], env=environment, capture_output=True, check=True)


@contextmanager
def head(host: str = "127.0.0.1", num_cpus: int = 2) -> Iterator[None]:
    port, dashboard_port = free_ports(2)
    start_head(host=host, port=port, dashboard_port=dashboard_port, num_cpus=num_cpus)
    try:
        yield
    finally:
        stop()


def running_address() -> str:
    node = running_node()
    assert node is not None
    return node.address


def kill_head() -> None:
    """All processes of the head at once, without a word to anyone."""
    node = running_node()
    assert node is not None
    process = psutil.Process(node.pid)
    for victim in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            victim.kill()


def test_driver_killed_and_run_again(tmp_path: Path, undisturbed: dict[str, np.ndarray]) -> None:
    with Drive(str(tmp_path / "store"), tmp_path / "log") as first:
        first.wait_for(lambda: len(first.epochs) > 6)
        first.process.kill()
        first.process.wait(30)
    with Drive(str(tmp_path / "store"), tmp_path / "log") as second:
        seconds = second.end()
    assert "taken over from process" in second.text
    LINES.append(f"driver killed once: epochs trained again: {second.repeated()}, {seconds:.0f} s for the rest")
    assert second.repeated() <= 4
    assert_same(open_store(tmp_path / "store"), undisturbed)


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["30 % answered 500 or 503", "2 s slow", "6 uploads and 3 downloads cut", "down for 60 s"])
def test_s3_that_fails(
    fault: str,
    s3: S3Server,
    s3_address: str,
    tmp_path: Path,
    undisturbed: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with faulty_proxy(s3.endpoint) as (endpoint, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with Drive(s3_address, tmp_path / "log") as drive:
            drive.wait_for(lambda: len(drive.epochs) > 2, 300)
            if fault.startswith("30"):
                faults.error_share = 0.3
            elif fault.startswith("2 s"):
                faults.delay_s = 2.0
                threading.Timer(60, lambda: setattr(faults, "delay_s", 0.0)).start()  # else it takes many minutes
            elif fault.startswith("6"):
                faults.cut_uploads, faults.cut_downloads = 6, 3
            else:
                faults.down = True
                threading.Timer(60, lambda: setattr(faults, "down", False)).start()
            seconds = drive.end(560)
        faults.error_share = 0.0
        seen = ", ".join(f"{name} {count}" for name, count in sorted(faults.seen.items()))
        LINES.append(f"S3: {fault}: epochs trained again: {drive.repeated()}, {seconds:.0f} s ({seen})")
        assert drive.repeated() == 0
        assert_same(open_store(s3_address), undisturbed)


def test_full_disk_of_a_node(tmp_path: Path, undisturbed: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, "64m"):
        monkeypatch.setenv("TMPDIR_OF_FIRST", str(disk))
        with Drive(str(tmp_path / "store"), tmp_path / "log", "full") as drive:
            seconds = drive.end()
    failed = re.findall(r"(\S+-sample\d+)  tried again: (.*)", drive.text)
    assert "the disk of a node is full (No space left on device)" in drive.text
    assert failed
    assert all("No space left on device" in error for _, error in failed)
    assert any("was not saved" in error for _, error in failed)
    assert len({trial for trial, _ in failed}) == 1  # the other node's goes on
    LINES.append(
        f"disk of one of two nodes full for 20 s: named {len(failed)} times, one trial tried again, "
        f"epochs trained again: {drive.repeated()}, {seconds:.0f} s"
    )
    assert drive.repeated() <= len(failed)
    assert_same(open_store(tmp_path / "store"), undisturbed)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, "12m"):
        with Drive(str(disk / "store"), tmp_path / "log", "once") as drive:
            assert drive.process.wait(300) != 0
        assert "No space left on device" in drive.text
        assert re.search(r"(StoreError|cannot be written|was not saved)", drive.text), drive.text[-3000:]
        LINES.append(f"disk full: named ({drive.text.count('No space left on device')} times)")
