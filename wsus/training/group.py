"""Several processes ("workers") that train one network together and compute what one process would.

Every worker draws the same batches and the same augmentation, takes its share of each batch, and the gradients of the
shares add up to that of the batch: the number of workers is a matter of resources, not of the result. Synchronised batch
normalisation (`shared_norm`) belongs to it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psutil
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from wsus.training.shared_norm import share_norm

PATIENCE = timedelta(minutes=5)  # how long a worker waits for another in the midst of an epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A worker's place among `size` workers, which `join_group` connected where there are several. rank: from 0."""

    rank: int = 0
    size: int = 1

    def share(self, count: int) -> slice:
        """This worker's rows of `count`; the shares of all hold each row once. Empty where there are fewer rows than workers."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all workers, on each of them, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def gather(self, rows_NC: torch.Tensor, count: int) -> torch.Tensor:
        """All `count` rows, on each worker, from the rows of everyone's share."""
        if self.size == 1:
            return rows_NC
        all_NC = rows_NC.new_zeros(count, rows_NC.shape[1])
        all_NC[self.share(count)] = rows_NC
        return self.sum(all_NC)

    def prepare(self, net: nn.Module, device: torch.device) -> None:
        """Let a network normalise over the images of all workers, where there are several."""
        if self.size > 1:
            share_norm(net, device)

    def shared(self, net: nn.Module) -> nn.Module:
        """The network, whose backward pass now leaves the mean of the workers' gradients; the first worker's weights count.

        With one worker it is left as it is. Its parameters and buffers stay the same objects.
        """
        return DistributedDataParallel(net, forward_sync_buffers=False) if self.size > 1 else net

    @contextmanager
    def own_draws(self, seeds: torch.Generator, device: torch.device) -> Iterator[None]:
        """Random numbers within are this worker's own (dropout); those after it are again common to all workers."""
        if self.size == 1:
            yield
            return
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(torch.randint(2**62, (), generator=seeds)))
            yield


ALONE = Group()


def open_meeting(host: str, size: int) -> distributed.TCPStore:
    """Where the workers of a group meet: the first one opens it at its address, the others need that and its `port`."""
    listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    port = listening.getsockname()[1]
    return distributed.TCPStore(
        host, port, size, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach(), timeout=PATIENCE
    )


def find_meeting(host: str, port: int, size: int) -> distributed.TCPStore:
    """The meeting that another worker opened. Raises torch.distributed.DistNetworkError where it does not answer."""
    return distributed.TCPStore(host, port, size, is_master=False, timeout=PATIENCE)


def join_group(meeting: distributed.TCPStore, rank: int, size: int, *, own_host: str, whole_gpu: bool) -> Group:
    """Connect this process with the other workers; returns when all have come.

    Args:
        own_host: this machine's address for the others; a name that resolves to the loopback would not do.
        whole_gpu: each worker has a GPU of its own, so that NCCL can be used; else Gloo, on GPUs too.
    """
    for name in _interfaces_of(own_host)[:1]:
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, name)
    backend = "cpu:gloo,cuda:nccl" if whole_gpu else "gloo"
    distributed.init_process_group(backend, store=meeting, rank=rank, world_size=size, timeout=PATIENCE)
    return Group(rank=rank, size=size)


def leave_group() -> None:
    """Take this process out of its group; nothing happens where it is in none."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _interfaces_of(host: str) -> list[str]:
    return [name for name, addresses in psutil.net_if_addrs().items() if any(a.address == host for a in addresses)]
