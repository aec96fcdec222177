"""A real Chromium on the real application; whatever the page does, it asks nobody else and breaks no policy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from driving import EXAMPLES, OpenPage, Watch
from live_server import served
from playwright.sync_api import Browser, Page, sync_playwright
from published_models import publish

from wsus.storage import Store

TIMEOUT_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One per module: while it is open its event loop runs in this thread, and others' `asyncio.run` would fail."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed: `apt-get install chromium`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable)
        yield started
        started.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A published model that calls nearly everything benign, so that the predicted class is not the malignant one."""
    return publish(tmp_path_factory.mktemp("page"), operating_point=0.999)


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    """The application without tokens."""
    with served(store) as started:
        yield started


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def open_page(browser: Browser, watch: Watch) -> Iterator[OpenPage]:
    """Open the page in a browser profile of its own: `open_page(address, viewport=..., ...)`."""
    contexts, addresses = [], []

    def opened(address: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        addresses.append(address.partition("?")[0])
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: watch.requests.append(request.url))
        page.on("console", lambda said: watch.complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: watch.complaints.append(str(error)))
        page.goto(address)
        return page

    yield opened
    wrong = [text for address in addresses for text in watch.wrong(address)]
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(address: str, open_page: OpenPage) -> Page:
    """The page before an image was chosen."""
    return open_page(address)


@pytest.fixture
def reading(page: Page) -> Page:
    """The page with the answer for the example `malignant-a`."""
    page.get_by_role("button", name="Malignant, institution A").first.click()
    page.locator("#pom").wait_for()
    return page


@pytest.fixture
def asked_of(address: str) -> Callable[..., dict[str, Any]]:
    """What the server answers to an upload without the page: `asked_of(content, cam_threshold=0.4)`."""

    def ask(content: bytes, **query: Any) -> dict[str, Any]:
        response = httpx.post(f"{address}v1/predictions", params=query, files={"image": content})
        response.raise_for_status()
        return response.json()

    return ask


@pytest.fixture
def asked(asked_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The same for the example `malignant-a`."""
    return partial(asked_of, (EXAMPLES / "malignant-a.png").read_bytes())
