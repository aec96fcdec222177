"""What can go wrong, as a person meets it: files, limits, tokens, a busy server, a server that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import OpenPage, Watch
from live_server import local_backend, served
from PIL import Image
from playwright.sync_api import Page, expect

from serve_app.exchange import Answer, Question, Refusal, ShelfStatus
from serve_app.local import LocalBackend
from serve_app.problems import busy, not_ready
from serve_app.tokens import add_token
from wsus.storage import Store

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _failures_are_expected(watch: Watch) -> None:
    watch.failures_expected = True


class SometimesBusy:
    """The backend of this process, which first answers with the given problems, and takes its time."""

    def __init__(self, inner: LocalBackend, *problems: Exception, delay_s: float = 0.0) -> None:
        self._inner, self._problems, self._delay_s = inner, list(problems), delay_s
        self.asked = 0

    async def ask(self, question: Question) -> Answer | Refusal:
        self.asked += 1
        await asyncio.sleep(self._delay_s)
        if self._problems:
            raise self._problems.pop(0)
        return await self._inner.ask(question)

    async def status(self) -> ShelfStatus:
        return await self._inner.status()

    async def cards(self) -> dict[int, dict[str, Any]]:
        return await self._inner.cards()

    async def refresh(self) -> None:
        await self._inner.refresh()


def open_example(page: Page) -> None:
    page.get_by_role("button", name="Malignant, institution A").first.click()


def test_reading_is_said_while_it_lasts_and_the_last_choice_counts(store: Store, open_page: OpenPage) -> None:
    with local_backend(store) as inner, served(store, backend=SometimesBusy(inner, delay_s=1.0)) as address:
        page = open_page(address)
        for name in ("Malignant, institution A", "Benign, institution B"):
            page.locator("#start").get_by_role("button", name=name).click()
            expect(page.get_by_text("Reading…").first).to_be_visible()
            expect(page.locator("main")).to_have_attribute("aria-busy", "true")
        page.locator("#pom").wait_for()
        expect(page.locator("main")).to_have_attribute("aria-busy", "false")
        expect(page.locator("#label-of-source")).to_contain_text("Benign, institution B")
        page.keyboard.press("c")
        expect(page.get_by_text("Reading…").last).to_be_visible()
        expect(page.locator("#overlay-caption")).to_have_text("Map of the class malignant")
        expect(page.locator("#label-of-source")).to_contain_text("Benign, institution B")


def test_a_file_that_is_no_image(reading: Page) -> None:
    before = reading.locator("#pom").inner_text()
    reading.locator("#file").set_input_files({"name": "letter.txt", "mimeType": "text/plain", "buffer": b"Dear colleague"})
    notice = reading.get_by_role("alert").filter(has_text="letter.txt")
    expect(notice).to_contain_text("letter.txt: this is no image that can be read")
    expect(notice).to_contain_text("PNG, JPEG, BMP, TIFF and DICOM are read")
    expect(notice).to_contain_text("Status 415, unsupported_format")
    assert reading.locator("#pom").inner_text() == before  # what was shown stays
    reading.get_by_role("button", name="Close this message").click()
    expect(reading.locator("#notice")).to_be_empty()


def test_an_image_of_one_colour(page: Page, tmp_path: Path) -> None:
    Image.new("L", (90, 70), 0).save(tmp_path / "black.png")
    page.locator("#file").set_input_files(tmp_path / "black.png")
    expect(page.locator("#notice")).to_contain_text("black.png: this image cannot be used")
    expect(page.locator("#notice")).to_contain_text("all black")


def test_a_file_that_is_too_large(store: Store, open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "clip.dcm").write_bytes(bytes(40_000_000))
    limits = {"max_bytes": 20_000, "max_body_bytes": 60_000}
    with served(store, limits=limits) as address:
        page = open_page(address)
        open_example(page)
        expect(page.locator("#notice")).to_contain_text("the image is too large")
        expect(page.locator("#notice")).to_contain_text("at most 20,000 are read")
        page.locator("#file").set_input_files(tmp_path / "clip.dcm")
        expect(page.locator("#notice")).to_contain_text("clip.dcm: the image is too large")
        expect(page.locator("#notice")).to_contain_text("larger than 60,000 bytes")


def test_a_busy_server_is_asked_again_when_it_said(store: Store, open_page: OpenPage) -> None:
    with local_backend(store) as inner:
        backend = SometimesBusy(inner, busy(2), not_ready("no predictor can answer now", 1))
        with served(store, backend=backend) as address:
            page = open_page(address)
            open_example(page)
            expect(page.locator("#notice")).to_contain_text("The server is busy")
            expect(page.locator("#notice")).to_contain_text("Trying again in 2 s.")
            expect(page.locator("#notice")).to_contain_text("Trying again in 1 s.")
            page.locator("#pom").wait_for()
            expect(page.locator("#notice")).to_be_empty()
    assert backend.asked == 3


def test_a_busy_server_is_left_alone_on_request_and_after_five_tries(store: Store, open_page: OpenPage) -> None:
    with local_backend(store) as inner:
        backend = SometimesBusy(inner, *[busy(60)] * 6)
        with served(store, backend=backend) as address:
            page = open_page(address)
            open_example(page)
            expect(page.locator("#notice")).to_contain_text(
                "The server is busy"
            )  # before it, another Stop leaves the image unread
            page.get_by_role("button", name="Stop").click()
            expect(page.locator("#notice")).to_contain_text("The image was not read.")
            page.get_by_role("button", name="Try again").click()
            for _ in range(4):
                page.get_by_role("button", name="Try now").click()
            expect(page.locator("#notice")).to_contain_text("the server is still busy")
            expect(page.get_by_role("button", name="Try now")).to_have_count(0)
            page.get_by_role("button", name="Try again").click()
            page.locator("#pom").wait_for()


def test_a_server_that_is_gone_and_comes_back(store: Store, open_page: OpenPage) -> None:
    with served(store) as address:
        page = open_page(address)
        expect(page.locator("#state-text")).to_have_text("tiny, version 1")
    open_example(page)
    expect(page.locator("#notice")).to_contain_text("The server does not answer")
    expect(page.locator("#state-text")).to_have_text("The server does not answer")
    with served(store, port=int(address.rstrip("/").rpartition(":")[2])):
        page.locator("#pom").wait_for()  # by itself
        expect(page.locator("#notice")).to_be_empty()
        expect(page.locator("#state-text")).to_have_text("tiny, version 1")


@pytest.fixture
def protected(store: Store, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """An application that asks for tokens, and a token for it."""
    token = add_token(tmp_path / "tokens.json", "reader", ("predict",))
    with served(store, tokens_file=str(tmp_path / "tokens.json")) as address:
        yield address, token


def test_the_token_is_asked_for_and_kept_in_memory_alone(protected: tuple[str, str], open_page: OpenPage) -> None:
    address, token = protected
    page = open_page(address)
    open_example(page)
    dialog = page.get_by_role("dialog", name="This server asks for a token")
    field = dialog.get_by_label("Token")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("type", "password")
    field.fill("wsus_wrong")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("The token is not known here, or has expired.")
    expect(field).to_have_value("")
    field.fill(f"  {token} ")
    page.keyboard.press("Enter")
    page.locator("#pom").wait_for()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Model card", exact=True).click()  # not asked for twice
    expect(page.get_by_role("dialog", name="Model card: tiny")).to_be_visible()
    assert token not in page.content()
    assert page.evaluate("() => localStorage.length + sessionStorage.length") == 0
    page.reload()
    open_example(page)
    expect(dialog).to_be_visible()


def test_the_token_prompt_can_be_left(protected: tuple[str, str], open_page: OpenPage) -> None:
    page = open_page(protected[0])
    open_example(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#notice")).to_contain_text("this server asks for a token")
    expect(page.locator("#start")).to_be_visible()


def test_a_token_without_the_scope(store: Store, tmp_path: Path, open_page: OpenPage) -> None:
    token = add_token(tmp_path / "tokens.json", "operator", ("admin",))
    with served(store, tokens_file=str(tmp_path / "tokens.json")) as address:
        page = open_page(address)
        open_example(page)
        page.get_by_role("textbox", name="Token").fill(token)
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="This server asks for a token")
        expect(dialog.get_by_role("alert")).to_contain_text("this path needs predict")
        page.keyboard.press("Escape")
        expect(page.locator("#notice")).to_contain_text("this token may not read images")
        reader = add_token(tmp_path / "tokens.json", "reader", ("predict",))
        open_example(page)
        page.get_by_role("textbox", name="Token").fill(reader)
        page.keyboard.press("Enter")
        expect(page.locator("#pom")).to_be_visible()


def test_what_is_under_way_can_be_stopped(address: str, open_page: OpenPage) -> None:
    page = open_page(address)
    page.route("**/v1/predictions?*", lambda _: None)  # never answered
    open_example(page)
    page.get_by_role("button", name="Stop").first.click()
    expect(page.get_by_role("button", name="Stop").first).to_be_hidden()
    expect(page.locator("#start")).to_be_visible()
    page.unroute("**/v1/predictions?*")
    open_example(page)
    expect(page.locator("#pom")).to_be_visible()
