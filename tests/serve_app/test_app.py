"""The application on Ray Serve: answers as the command line does, and loses no request when parts of it change or die."""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from published_models import png, publish

from cluster.session import ray_session
from serve_app.client import Client, ServerError, cam_array
from serve_app.proxy import laptop_environment, proxy_folder
from serve_app.running import running
from serve_app.settings import Limits, ServeSettings
from serve_app.tokens import add_token
from wsus.inference.files import predict_files
from wsus.models.registry import promote_model
from wsus.storage import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]
PORT = 22_873  # outside the ports that systems and Ray give to processes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three versions: the first is in production, the third has a damaged byte."""
    root = tmp_path_factory.mktemp("app")
    for seed in (1, 2, 3):
        store = publish(root, seed=seed)
    content = bytearray(store.read_bytes("models/tiny/3/model.safetensors"))
    content[-1] ^= 1
    store.write_bytes("models/tiny/3/model.safetensors", bytes(content))
    promote_model(store, "tiny", 1)
    return store


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens") / "tokens.json"


@pytest.fixture(scope="module")
def client(store: Store, token_file: Path) -> Iterator[Client]:
    """The application as `wsus serve` starts it, and a client with a token."""
    token = add_token(token_file, "tests", ("predict", "admin"))
    settings = ServeSettings(
        store=store.address, tokens_file=str(token_file), poll_s=0.3, max_batch_size=4, limits=Limits(body_timeout_s=2)
    )
    with pytest.MonkeyPatch.context() as patch, proxy_folder() as folder:
        for variable, value in laptop_environment(folder).items():
            patch.setenv(variable, value)
        with ray_session(num_cpus=2), running(settings, port=PORT) as address, Client(address, token=token) as made:
            yield made


class Load:
    """Requests in a loop from a few threads; statuses and versions are counted."""

    def __init__(self, client: Client, threads: int = 3) -> None:
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[int] = Counter()
        self._client, self._ended = client, threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(number,)) for number in range(threads)]

    def _loop(self, number: int) -> None:
        content, headers = png(number), dict(self._client._session.headers)
        with requests.Session() as session:
            while not self._ended.is_set():
                response = session.post(
                    f"{self._client.url}/v1/predictions", files={"image": content}, headers=headers, timeout=90
                )
                self.statuses[response.status_code] += 1
                if response.ok:
                    self.versions[response.json()["model"]["version"]] += 1

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def wait_until(true: Callable[[], Any], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


@contextmanager
def loaded(client: Client) -> Iterator[Load]:
    """Run under load; no request may fail but for the documented 429 and 503."""
    with Load(client) as load:
        wait_until(lambda: load.statuses[200] > 5)
        yield load
        before = load.statuses[200]
        wait_until(lambda: load.statuses[200] > before + 5)
    assert set(load.statuses) <= {200, 429, 503}, load.statuses


def ready(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{client.url}/readyz", timeout=30).json()
    return found


def test_http_and_the_command_line_give_the_same(client: Client, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(5))
    (offline,) = predict_files([path], store.address)
    online = client.predict(path, cam="array")
    assert online["pom"] == pytest.approx(offline["pom"], abs=1e-4)
    assert online["localisation"]["boxes_xyxy_px"] == offline["boxes_xyxy_px"]
    assert cam_array(online).shape == (90, 120)
    assert [model["version"] for model in client.models()] == [1]
    assert client.card("tiny")["name"] == "tiny"


def test_a_token_is_asked_for(client: Client) -> None:
    with Client(client.url) as stranger, pytest.raises(ServerError, match="401, send `Authorization") as caught:
        stranger.models()
    assert caught.value.reason == "unauthorized"


def test_a_batch_answers_each_item(client: Client) -> None:
    items = client.predict_batch([png(1), b"text", png(2)], ["s3://elsewhere/image.png"])
    assert [(item.get("problem") or {}).get("status") for item in items] == [None, 415, None, 403]


def raw(content: bytes) -> bytes:
    """What the server answers to these bytes and to nothing after them."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=20) as connection:
        connection.sendall(content)
        return connection.recv(4096)


def test_hostile_bytes_on_the_wire_get_their_status_through_the_proxy_too(client: Client) -> None:
    token = client._session.headers["Authorization"]
    head = f"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n"
    assert b"408" in raw(f"{head}Content-Length: 5000\r\n\r\n--b\r\n".encode())
    assert b"413" in raw(f"{head}Content-Length: 99000000000\r\n\r\n".encode())
    assert b"401" in raw(b"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n")
    for wrong in (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000,
        b"\x16\x03\x01\x02\x00",
        b"NONSENSE\r\n\r\n",
    ):
        assert raw(wrong).startswith(b"HTTP/1.1 4")
    assert ready(client)["ready"] is True


def test_no_request_is_lost_when_a_version_is_promoted(client: Client, store: Store) -> None:
    with loaded(client) as load:
        promote_model(store, "tiny", 2)
        wait_until(lambda: load.versions[2] > 5)
    assert load.versions[1] > 0
    assert set(load.statuses) == {200}


def test_a_broken_version_is_refused_and_the_old_one_goes_on(client: Client, store: Store) -> None:
    with loaded(client) as load:
        promote_model(store, "tiny", 3)
        wait_until(lambda: ready(client)["refused"])
        assert ready(client)["ready"] is True
    assert set(load.statuses) == {200}
    assert set(load.versions) == {2}
    promote_model(store, "tiny", 2)
    wait_until(lambda: not ready(client)["refused"])


def test_no_request_is_lost_when_a_predictor_is_killed(client: Client) -> None:
    with loaded(client) as load:
        (victim,) = (
            process
            for process in psutil.Process(os.getpid()).children(recursive=True)
            if "ServeReplica:wsus:Predictor" in " ".join(process.cmdline())
        )
        victim.kill()
        victim.wait(30)
        seen = load.statuses[200]
        wait_until(lambda: load.statuses[200] > seen + 10)
    print(f"statuses while a predictor was killed: {dict(load.statuses)}")  # noqa: T201  the figure belongs in the log
