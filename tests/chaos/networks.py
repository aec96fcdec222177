"""Network namespaces of this machine, each with an address of its own on one bridge: several machines, as Ray sees them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Network:
    """bridge_ip: this machine's own address.  nodes: namespace -> address."""

    bridge_ip: str
    nodes: dict[str, str]

    def cut(self, namespace: str) -> None:
        """Take a namespace's cable out."""
        _ip("link", "set", f"{namespace}-out", "down")


@contextmanager
def network(count: int) -> Iterator[Network]:
    """A bridge and so many namespaces; all of it is gone afterwards, with the processes that were left inside."""
    number = os.getpid() % 200 + 20
    bridge, subnet = f"wsus{number}", f"10.231.{number}"
    if subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces need root, iproute2 and a kernel with bridges")
    nodes = {f"{bridge}n{place}": f"{subnet}.{place + 2}" for place in range(count)}
    try:
        _ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for namespace, address in nodes.items():
            _ip("netns", "add", namespace)
            _ip("link", "add", f"{namespace}-out", "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("link", "set", f"{namespace}-out", "master", bridge, "up")
            _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            _ip("-n", namespace, "link", "set", "lo", "up")
        yield Network(f"{subnet}.1", nodes)
    finally:
        for namespace in nodes:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)
        _ip("link", "del", bridge)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
