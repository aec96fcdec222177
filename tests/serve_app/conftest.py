"""One application without Ray for all tests of the routes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient
from published_models import publish

from serve_app.http import create_app
from serve_app.local import LocalBackend
from serve_app.metrics import MemoryMetrics
from serve_app.settings import Limits, ServeSettings
from serve_app.shelf import ModelShelf, loader
from wsus.storage import Store

HERE = "http://127.0.0.1"  # without tokens, the application answers to this machine's names alone
Serve = Callable[..., TestClient]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one published model, version 1."""
    return publish(tmp_path_factory.mktemp("serving"))


@pytest.fixture
def metrics() -> MemoryMetrics:
    return MemoryMetrics()


@pytest.fixture
def serve(store: Store, metrics: MemoryMetrics) -> Iterator[Serve]:
    """Start the application with these settings; without tokens by default."""
    with ExitStack() as stack:

        def start(**settings: Any) -> TestClient:
            if "tokens_file" not in settings:
                settings["insecure"] = True
            chosen = ServeSettings(store=store.address, decode_workers=1, **settings)
            shelf = ModelShelf(store, None, metrics, load=loader(chosen))
            stack.callback(shelf.close)
            app = create_app(chosen, LocalBackend(shelf), metrics)
            return stack.enter_context(TestClient(app, base_url=HERE, raise_server_exceptions=False))

        yield start


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[TestClient]:
    """The application with its default settings, for requests that change nothing."""
    measured = MemoryMetrics()
    settings = ServeSettings(store=store.address, insecure=True, decode_workers=1)
    shelf = ModelShelf(store, None, measured, load=loader(settings))
    with TestClient(create_app(settings, LocalBackend(shelf), measured), base_url=HERE, raise_server_exceptions=False) as started:
        yield started
    shelf.close()


@pytest.fixture(scope="module")
def serve_at(store: Store) -> Iterator[Callable[..., int]]:
    """Start the application under uvicorn with these settings; its port."""
    with ExitStack() as stack:

        def start(metrics: MemoryMetrics | None = None, **settings: Any) -> int:
            measured = metrics or MemoryMetrics()
            if "tokens_file" not in settings:
                settings["insecure"] = True
            chosen = ServeSettings(store=store.address, decode_workers=1, **settings)
            shelf = ModelShelf(store, None, measured, load=loader(chosen))
            stack.callback(shelf.close)
            app = create_app(chosen, LocalBackend(shelf), measured)
            server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
            thread = threading.Thread(target=server.run)
            stack.callback(thread.join)
            stack.callback(lambda: setattr(server, "should_exit", True))
            thread.start()
            while not server.started:
                time.sleep(0.02)
            return int(server.servers[0].sockets[0].getsockname()[1])

        yield start


@pytest.fixture(scope="module")
def port(serve_at: Callable[..., int]) -> int:
    """The application under uvicorn, with one second for a body."""
    return serve_at(limits=Limits(body_timeout_s=1.0))


@pytest.fixture
def tmp_tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"
