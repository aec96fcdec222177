"""The store: one folder or one s3://bucket/prefix, behind one small interface."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from wsus.errors import StoreError
from wsus.storage.base import Store, Tagged
from wsus.storage.files import SUMS, folder_built_beside, parse_sums, sums_of, write_atomically
from wsus.storage.folder import FolderStore

__all__ = [
    "SUMS",
    "FolderStore",
    "Store",
    "Tagged",
    "folder_built_beside",
    "open_store",
    "parse_sums",
    "sums_of",
    "write_atomically",
]


def open_store(address: str | Path, *, patient: bool = False) -> Store:
    """A folder's path, or s3://bucket/prefix, with settings as a query where they are not the environment's.

    Args:
        patient: wait from the first request on for an S3 server that does not answer, as a worker of a running study
            should; a person's typing mistake in the endpoint is better told at once.
    Raises:
        StoreError: the address is neither.
    """
    text = str(address)
    if text.startswith("s3://"):
        from wsus.storage.s3 import S3Store
        from wsus.storage.s3_settings import S3Settings

        parsed = urlsplit(text)
        if not parsed.netloc:
            raise StoreError(f"{text}: expected s3://bucket/prefix")
        return S3Store(parsed.netloc, parsed.path, S3Settings.of(parsed.query), patient=patient)
    if "://" in text:
        raise StoreError(f"{text}: expected a folder or s3://bucket/prefix")
    return FolderStore(Path(text))
