"""Fixtures that several rooms need. Real data and reference values come from folders that the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


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


def _folder(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names the folder with {what}")
    return Path(value)
