"""How tests drive the page, and what they read off it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page

EXAMPLES = Path(__file__).resolve().parents[3] / "serve_app" / "static" / "examples"
OpenPage = Callable[..., Page]


@dataclass
class Watch:
    """What a page did. failures_expected: the test makes requests fail, which browsers report on the console."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    failures_expected: bool = False

    def wrong(self, address: str) -> list[str]:
        """Requests that went elsewhere, errors of scripts, violations of the content policy."""
        outside = [url for url in self.requests if not url.startswith((address, "data:", f"blob:{address}"))]
        tolerated = ("Failed to load resource",) if self.failures_expected else ()
        return outside + [text for text in self.complaints if not text.startswith(tolerated)]


def settle(page: Page) -> None:
    """Wait until what was asked for has been drawn: two frames, since drawing waits for the next one."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixels(canvas: Locator) -> NDArray[np.uint8]:
    """What a canvas shows, (H, W, 4)."""
    settle(canvas.page)
    address = canvas.evaluate("(canvas) => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGBA"))


def set_slider(page: Page, name: str, value: float) -> None:
    """Move a slider as a hand does: the value, then the event."""
    page.locator(f"#{name}").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', { bubbles: true })); }", str(value)
    )


def boxes_on_page(page: Page) -> list[list[int]]:
    """The boxes of the table as x0, y0, x1, y1."""
    boxes = []
    for row in page.locator(".boxes tbody tr").all():
        texts = row.locator("td").all_inner_texts()
        (width, height), (x0, y0) = ([int(found) for found in re.findall(r"\d+", text)] for text in (texts[0], texts[-1]))
        boxes.append([x0, y0, x0 + width, y0 + height])
    return boxes


def zoom_percent(page: Page) -> int:
    return int(page.locator("#zoom").inner_text().rstrip(" %"))
