"""What the routes need of whatever predicts: Ray Serve's predictors (`app.py`) or one shelf in this process (`local.py`)."""

from __future__ import annotations

from typing import Any, Protocol

from serve_app.exchange import Answer, Question, Refusal, ShelfStatus, Unseen


class Backend(Protocol):
    """Raises ProblemError (429, 503) where nobody can answer now."""

    async def ask(self, question: Question) -> Answer | Refusal | Unseen:
        """Predict one image, or say which views it lacks."""

    async def status(self) -> ShelfStatus:
        """What is loaded, and what was refused."""

    async def cards(self) -> dict[int, dict[str, Any]]:
        """The cards of the loaded versions."""

    async def refresh(self) -> None:
        """Look now where the alias points."""
