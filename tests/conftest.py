"""What all tests share. Real data and reference values come from folders that the environment names."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from s3_server import BUCKET, WRITER, S3Server, s3_server

gc.disable()  # until all is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: its networks here are too small to gain from more
settings.register_profile("wsus", deadline=None)  # a busy machine is no mistake in the code
settings.register_profile("brief", parent=settings.get_profile("wsus"), max_examples=20)  # `make test-fast` draws less often
settings.load_profile("wsus")


def pytest_collection_finish() -> None:
    """What torch, scipy and the tests themselves have made stays for good: the collector need not look through it again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def test_data_dir() -> Path:
    """The folder with bus-bra/ and busi/ that WSUS_TEST_DATA names."""
    return _folder("WSUS_TEST_DATA", "real images")


@pytest.fixture(scope="session")
def test_reference_dir() -> Path:
    """The folder with stats/ that WSUS_TEST_REFERENCE names."""
    return _folder("WSUS_TEST_REFERENCE", "reference values from R")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images of tests stay out of the user's cache."""
    before = os.environ.get("WSUS_CACHE_DIR")
    os.environ["WSUS_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["WSUS_CACHE_DIR"]
    else:
        os.environ["WSUS_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server; started once, where a test asks for it."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_address(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://bucket/prefix with nothing below it, reached with the environment that a user would set."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", WRITER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WRITER[1])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}/prefix"


def _folder(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names the folder with {what}")
    return Path(value)
