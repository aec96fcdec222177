"""Addresses that clients name, and a model served from S3: against a real S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from published_models import png, publish
from s3_server import BUCKET, S3Server

from serve_app.http import create_app
from serve_app.local import LocalBackend
from serve_app.metrics import MemoryMetrics
from serve_app.objects import ObjectReader
from serve_app.problems import ProblemError
from serve_app.settings import Limits, ServeSettings
from serve_app.shelf import ModelShelf, loader
from wsus.models.registry import publish_model
from wsus.storage import open_store

pytestmark = pytest.mark.s3


@pytest.fixture
def images(s3: S3Server, s3_address: str) -> str:
    """An allowed prefix with an image, a text and a large object; a secret beside it."""
    store = open_store(s3_address)
    for key, content in (("in/a.png", png(3)), ("in/b.txt", b"text"), ("in/large.png", b"x" * 300_000), ("secret.png", png(4))):
        store.write_bytes(key, content)
    return f"{s3_address}/in/"


@pytest.fixture
def client(tmp_path: Path, images: str) -> Iterator[TestClient]:
    """The application with model and images on S3."""
    local, address = publish(tmp_path), images.removesuffix("in/") + "store"
    remote = open_store(address)
    with local.fetched("models/tiny/1") as folder:
        publish_model(remote, "tiny", folder)
    limits = Limits(max_bytes=200_000)
    settings = ServeSettings(store=address, insecure=True, decode_workers=1, s3_prefixes=(images,), limits=limits)
    shelf = ModelShelf(remote, "tiny", MemoryMetrics(), load=loader(settings))
    with TestClient(
        create_app(settings, LocalBackend(shelf), MemoryMetrics()), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as started:
        yield started
    shelf.close()


def test_each_address_has_its_answer_or_its_own_problem(client: TestClient, images: str) -> None:
    outside = images.removesuffix("in/") + "secret.png"
    asked = [images + "a.png", images + "b.txt", images + "large.png", images + "none.png", outside]
    asked += [f"{images}../secret.png", "file:///etc/passwd", "http://127.0.0.1/latest", images, f"s3://{BUCKET}"]
    items = client.post("/v1/predictions:batch", data={"addresses": asked}).json()["items"]
    assert [(item["problem"] or {}).get("status") for item in items] == [None, 415, 413, 404, 403, 403, 403, 403, 422, 403]
    assert [item["source"] for item in items] == asked
    upload = client.post("/v1/predictions", files={"image": png(3)}).json()
    assert items[0]["prediction"]["pom"] == upload["pom"]


def test_a_server_that_is_away_is_said_and_not_the_client_s_fault(monkeypatch: pytest.MonkeyPatch, images: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ProblemError) as caught:
        ObjectReader((images,), 1000, retry_after_s=3).read(images + "a.png")
    assert (caught.value.status_code, caught.value.reason, caught.value.retry_after_s) == (503, "object_store", 3)


def test_without_prefixes_nothing_is_opened() -> None:
    with pytest.raises(ProblemError) as caught:
        ObjectReader((), 1000, retry_after_s=3).read("s3://bucket/key")
    assert caught.value.status_code == 403
