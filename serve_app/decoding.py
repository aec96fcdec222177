"""Decode uploads in processes of their own, with a limit of time and memory: a hostile file ends its decoder, nothing else."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as DecodeTimeoutError
from dataclasses import dataclass
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from serve_app.problems import ProblemError
from serve_app.settings import Limits

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed(Generic[T]):
    """A result and the seconds that it took, waiting for a free process included."""

    value: T
    seconds: float


class DecodePool:
    """A few processes that run decoders, started clean of this process's threads and memory.

    How many images wait for one is the caller's to bound, who also counts those that wait for their answer.

    Args:
        preload: the module that holds the decoders.
    """

    def __init__(self, limits: Limits, *, workers: int, preload: str) -> None:
        self._limits, self._workers = limits, workers
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preload])
        self._pool: ProcessPool | None = None

    async def run(self, decode: Callable[..., T], *arguments: object) -> Timed[T]:
        """Run a decoder, a function at a module's top level.

        Raises:
            ProblemError: 422 where the time or the memory did not suffice.
            ImageError: whatever `decode` raises.
        """
        start = time.perf_counter()
        try:
            future = self._opened().schedule(decode, args=arguments, timeout=self._limits.decode_timeout_s)
            value = await asyncio.wrap_future(future)
        except DecodeTimeoutError:
            detail = f"the image was not decoded within {self._limits.decode_timeout_s:g} s; export it as a plain PNG"
            raise ProblemError(422, "decode_timeout", detail) from None
        except (ProcessExpired, MemoryError):
            raise ProblemError(
                422, "decode_failed", "the image needs too much memory to decode; export it as a plain PNG"
            ) from None
        return Timed(value=value, seconds=time.perf_counter() - start)

    def close(self) -> None:
        """End the processes; the next image would start them again."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def _opened(self) -> ProcessPool:
        if self._pool is not None and not self._pool.active:  # its processes could not be started, or died at their start
            self.close()
        if self._pool is None:
            most_bytes = (self._limits.decode_memory_bytes,)
            self._pool = ProcessPool(self._workers, context=self._context, initializer=_limit_memory, initargs=most_bytes)
        return self._pool


def _limit_memory(most_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
