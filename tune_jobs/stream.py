"""Shards of decoded images through Ray Data: read ahead of training, a few at a time, in the order that is asked for."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from wsus.data.shards import ShardSet, read_shard
from wsus.errors import StoreError
from wsus.storage import Store, open_store

READERS = 2  # tasks that read shards for one worker of a trial at a time
AHEAD = 3  # shards of one worker of a trial in Ray's object store: read and not taken yet, or being written

_PAUSE_S = 0.1  # between two turns of Ray Data's scheduling loop while the trial computes


@dataclass(frozen=True, kw_only=True, slots=True)
class RayShards:
    """Reads shards through Ray Data. Two workers that ask for the same order get the same images, whatever comes first.

    address: the store's locator.
    """

    address: str
    shards: ShardSet

    def __call__(self, numbers: Sequence[int]) -> Generator[NDArray[np.uint8]]:
        """The images of these shards. Raises StoreError where one is missing or damaged."""
        from ray.data import ExecutionOptions, ExecutionResources, TaskPoolStrategy, from_items  # here: it costs two seconds

        wanted = [{"number": number, "sha256": self.shards.sums[number]} for number in numbers]
        items = from_items(wanted, override_num_blocks=len(wanted))
        context = items.context
        room = AHEAD * max(len(rows) for rows in self.shards.rows) * self.shards.size_px**2
        context.execution_options = ExecutionOptions(
            preserve_order=True, resource_limits=ExecutionResources(object_store_memory=room)
        )
        context.enable_progress_bars = False
        context.custom_execution_callback_classes = [_Unhurried]
        context.target_max_block_size = None  # a shard is a block
        read = items.map_batches(
            _read,
            fn_kwargs={"address": self.address, "prefix": self.shards.prefix},
            batch_size=None,
            num_cpus=0,  # trials may hold all processors: they would wait for the tasks, and the tasks for them
            compute=TaskPoolStrategy(size=READERS),
            label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},  # where they are needed
        )
        blocks = iter(read.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1))
        while (block := _Unhurried.taken_from(blocks)) is not None:
            if "error" in block:
                raise StoreError(str(block["error"][0]))
            yield block["images"]


class _Unhurried:
    """Keeps Ray Data's scheduling loop, a thread of the trial, from turning without a pause while the trial computes.

    In Ray 2.60 it does so whenever blocks are ready that nobody takes yet, which is most of the time here. The interpreter
    belongs to one thread at a time: a small network then trained at 0.4 of its rate. While the trial waits it is let run.
    """

    _wanted = threading.Event()

    @classmethod
    def taken_from(cls, blocks: Iterator[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]] | None:
        """The next block, None at the end."""
        cls._wanted.set()
        try:
            return next(blocks, None)
        finally:
            cls._wanted.clear()

    def on_execution_step(self, executor: object) -> None:
        """Called by Ray Data after each turn of the loop."""
        self._wanted.wait(_PAUSE_S)

    def before_execution_starts(self, executor: object) -> None:
        """Nothing to do."""

    def after_execution_succeeds(self, executor: object) -> None:
        """Nothing to do."""

    def after_execution_fails(self, executor: object, error: Exception) -> None:
        """Nothing to do."""


def _read(block: dict[str, NDArray[Any]], address: str, prefix: str) -> dict[str, NDArray[Any]]:
    (number,), (digest,) = block["number"], block["sha256"]
    try:
        return {"images": read_shard(_store(address), prefix, int(number), str(digest))}
    except StoreError as error:  # Ray Data would wrap it into an exception that keeps its text alone, among others
        return {"error": np.array([str(error)])}


@lru_cache(maxsize=1)
def _store(address: str) -> Store:
    return open_store(address, patient=True)
