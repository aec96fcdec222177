"""Questions that come while all hands are busy are answered together; a question that finds a free hand does not wait.

Ray Serve's own `@serve.batch` closes a batch by time and not by what is at work: with no wait it forms batches of one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Threads that answer batches. Belongs to one event loop.

    answer: a batch of questions, at most `max_batch_size`, to as many answers in their order; runs in a thread.
    then: is told the answers of each batch, once they have been given.
    lanes: how many batches are at work at once.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[A]],
        *,
        max_batch_size: int,
        lanes: int = 1,
        then: Callable[[Sequence[A]], None] = lambda _: None,
    ) -> None:
        self._answer, self._most, self._then = answer, max_batch_size, then
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
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
            work.add_done_callback(partial(self._end, lane, [future for _, future in batch]))

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        self._waiting = deque(one for one in self._waiting if not one[1].done())
        size = min(self._most, -(-len(self._waiting) // len(self._idle)))
        return [self._waiting.popleft() for _ in range(size)]

    def _end(self, lane: ThreadPoolExecutor, futures: list[asyncio.Future[A]], done: asyncio.Future[Sequence[A]]) -> None:
        self._idle.append(lane)
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
