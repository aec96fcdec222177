"""The real application under uvicorn on a loopback port, for a real browser."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from serve_app.backend import Backend
from serve_app.http import create_app
from serve_app.local import LocalBackend
from serve_app.metrics import MemoryMetrics
from serve_app.settings import ServeSettings
from serve_app.shelf import ModelShelf, loader
from wsus.storage import Store

START_S = 30.0


@contextmanager
def served(store: Store, *, backend: Backend | None = None, port: int = 0, **settings: Any) -> Iterator[str]:
    """Serve the store's model until the block ends; gives the page's address. Without tokens by default."""
    if "tokens_file" not in settings:
        settings["insecure"] = True
    chosen = ServeSettings(store=store.address, decode_workers=1, **settings)
    with local_backend(store, chosen) as own, listening(port) as listener:
        server = uvicorn.Server(
            uvicorn.Config(create_app(chosen, backend or own, MemoryMetrics()), log_level="warning", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_S
        while not server.started:
            assert thread.is_alive(), "uvicorn ended instead of starting"
            assert time.monotonic() < deadline, f"uvicorn did not start within {START_S} s"
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(START_S)


@contextmanager
def local_backend(store: Store, settings: ServeSettings | None = None) -> Iterator[LocalBackend]:
    """A backend that answers in this process."""
    chosen = settings or ServeSettings(store=store.address, insecure=True)
    shelf = ModelShelf(store, None, MemoryMetrics(), load=loader(chosen))
    try:
        yield LocalBackend(shelf)
    finally:
        shelf.close()


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that listens already, so that nobody can take its port; 0 takes a free one."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        yield listener
