"""A backend without Ray: one shelf in this process. The tests of the routes and of the page use it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from serve_app.exchange import Answer, Question, Refusal, ShelfStatus, Unseen
from serve_app.shelf import ModelShelf


class LocalBackend:
    """One shelf in this process, one image at a time."""

    def __init__(self, shelf: ModelShelf) -> None:
        self._shelf = shelf
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")

    async def ask(self, question: Question) -> Answer | Refusal | Unseen:
        answers = await self._run(self._shelf.answer, [question])
        self._shelf.record(answers)
        (answer,) = answers
        return answer

    async def status(self) -> ShelfStatus:
        return self._shelf.status()

    async def cards(self) -> dict[int, dict[str, Any]]:
        return self._shelf.cards()

    async def refresh(self) -> None:
        await self._run(self._shelf.refresh)

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
