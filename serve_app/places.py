"""Places inside: how many images are decoded or wait for their answer at once, and who is next.

A request of one image gets a place at once or is asked to come again. The items of a batch wait for theirs: batches take
turns, one place each, and leave one place in four to requests of one image.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from serve_app.problems import busy


class Places:
    """Belongs to one event loop.

    count: of places.  most_batches: inside at once; a further one is asked to come again as a whole.
    """

    def __init__(self, count: int, *, most_batches: int, retry_after_s: int) -> None:
        self._free, self._kept = count, count // 4
        self._most_batches, self._retry_after_s = most_batches, retry_after_s
        self._open = count > 0
        self._batches: list[Batch] = []  # the next to be given a place stands first

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for one image, now. Raises ProblemError (429) where there is none."""
        if self._free < 1:
            raise busy(self._retry_after_s)
        self._free -= 1
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """A batch, whose images ask it for places. Raises ProblemError (429) where too many are inside."""
        if not self._open or len(self._batches) >= self._most_batches:
            raise busy(self._retry_after_s)
        batch = Batch(self)
        self._batches.append(batch)
        try:
            yield batch
        finally:
            self._batches.remove(batch)

    def give(self) -> None:
        """Free places to those who wait: one to each batch in turn."""
        while self._free > self._kept:
            batch = next((batch for batch in self._batches if batch.waits), None)
            if batch is None:
                return
            self._free -= 1
            self._batches.remove(batch)
            self._batches.append(batch)
            batch.next()

    def _release(self) -> None:
        self._free += 1
        self.give()


class Batch:
    """One batch's images that wait."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waits(self) -> bool:
        """Whether an image waits that nobody gave up."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        return bool(self._waiting)

    def next(self) -> None:
        """The first that waits has a place now."""
        self._waiting.popleft().set_result(None)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one image, when it is this batch's turn."""
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(given)
        self._places.give()
        try:
            await given
            yield
        finally:
            if given.done() and not given.cancelled():  # given, even where whoever waited is gone by now
                self._places._release()
            else:
                given.cancel()
