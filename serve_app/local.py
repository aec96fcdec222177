"""A backend without Ray: one shelf in this process. The tests of the routes and of the page use it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from serve_app.exchange import Answer, Question, Refusal, ShelfStatus
from serve_app.problems import busy
from serve_app.shelf import ModelShelf


class LocalBackend:
    """One shelf in this process, one image at a time; bounded as the real one. The tests of the routes and of the page use it."""

    def __init__(self, shelf: ModelShelf, *, max_queue: int = 64, retry_after_s: int = 2) -> None:
        self._shelf, self._most, self._retry_after_s = shelf, max_queue, retry_after_s
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")

    async def ask(self, question: Question) -> Answer | Refusal:
        if self._waiting >= self._most:
            raise busy(self._retry_after_s)
        self._waiting += 1
        try:
            (answer,) = await self._run(self._shelf.answer, [question])
        finally:
            self._waiting -= 1
        return answer

    async def status(self) -> ShelfStatus:
        return self._shelf.status()

    async def cards(self) -> dict[int, dict[str, Any]]:
        return self._shelf.cards()

    async def refresh(self) -> None:
        await self._run(self._shelf.refresh)

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
