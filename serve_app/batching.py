"""Questions that come while all hands are busy are answered together; a question that finds a free hand does not wait.

Ray Serve's own `@serve.batch` closes a batch by time and not by what is at work: with no wait it forms batches of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Threads that answer batches. Belongs to one event loop.

    answer: a batch of questions, at most `max_batch_size`, to as many answers in their order; runs in a thread.
    heavy: questions that take many times as long as others; each is a batch of its own, and one lane is kept free of them.
    then: is told the answers of each batch, once they have been given.
    lanes: how many batches are at work at once.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[A]],
        *,
        max_batch_size: int,
        lanes: int = 1,
        heavy: Callable[[Q], bool] = lambda _: False,
        then: Callable[[Sequence[A]], None] = lambda _: None,
    ) -> None:
        self._answer, self._most, self._then, self._heavy = answer, max_batch_size, then, heavy
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._heavy_may = max(1, lanes - 1)  # batches of heavy questions that may still begin
        self._lanes = tuple(ThreadPoolExecutor(1, thread_name_prefix=f"predict-{lane}") for lane in range(lanes))
        self._idle = list(self._lanes)  # the last one to end is the next to begin: what it needs still lies in its cache

    async def ask(self, question: Q) -> A:
        """The answer to one question. Raises what `answer` raises for its batch."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        self._start()
        return await future

    def close(self) -> None:
        """End the threads, once what is at work has ended."""
        for lane in self._lanes:
            lane.shutdown()

    def _start(self) -> None:
        """Give each idle lane its share of those who wait and have not gone away."""
        while self._idle and (batch := self._next()):
            lane = self._idle.pop()
            work = asyncio.get_running_loop().run_in_executor(lane, self._answer, [question for question, _ in batch])
            heavy = self._heavy(batch[0][0])
            self._heavy_may -= heavy
            work.add_done_callback(partial(self._end, lane, [future for _, future in batch], heavy))

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        """The next batch, of those who came first; empty where nobody waits who may begin."""
        self._waiting = [one for one in self._waiting if not one[1].done()]
        light = [one for one in self._waiting if not self._heavy(one[0])]
        heavy = next((one for one in self._waiting if self._heavy(one[0])), None) if self._heavy_may else None
        if heavy is not None and (not light or self._waiting[0] is heavy):
            batch = [heavy]
        else:
            batch = light[: min(self._most, -(-len(light) // len(self._idle)))]
        taken = {id(future) for _, future in batch}
        self._waiting = [one for one in self._waiting if id(one[1]) not in taken]
        return batch

    def _end(
        self, lane: ThreadPoolExecutor, futures: list[asyncio.Future[A]], heavy: bool, done: asyncio.Future[Sequence[A]]
    ) -> None:
        self._idle.append(lane)
        self._heavy_may += heavy
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for place, future in enumerate(futures):
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result()[place])
        self._start()
        if error is None:
            asyncio.get_running_loop().call_soon(self._then, done.result())  # behind those who wait for the answers
