"""The proxy's environment: its system, and the ports of its counters."""

import random
import socket
import sys
from pathlib import Path

import pytest

from serve_app.proxy import free_ports, laptop_environment
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
        laptop_environment()
