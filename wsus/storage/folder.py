"""A store in a local or shared folder."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wsus.errors import ChangedError
from wsus.storage.base import Store, Tagged, clean_key
from wsus.storage.files import os_errors, put_atomically, write_atomically

if TYPE_CHECKING:
    pass


class FolderStore(Store):
    """A store in a local or shared folder; made where it does not exist.

    Files whose names begin with a dot are the store's own: writes that are under way, and locks.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.address = str(self.root)

    def read_bytes(self, key: str) -> bytes:
        with os_errors(self.url(key), "read"):
            return self._path(key).read_bytes()

    def write_bytes(self, key: str, content: bytes) -> None:
        target = self._path(key)
        with os_errors(self.url(key), "written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)

    def read_tagged(self, key: str) -> Tagged | None:
        with os_errors(self.url(key), "read"):
            try:
                content = self._path(key).read_bytes()
            except FileNotFoundError:
                return None
        return Tagged(content, _tag(content))

    def write_if(self, key: str, content: bytes, tag: str | None) -> str:
        with os_errors(self.url(key), "written"), self._locked(key):
            lies_there = self.read_tagged(key)
            if (lies_there.tag if lies_there is not None else None) != tag:
                raise ChangedError(f"{self.url(key)}: another writer was first; run the same line again")
            self.write_bytes(key, content)
        return _tag(content)

    def upload(self, path: Path, key: str) -> None:
        target = self._path(key)
        with os_errors(self.url(key), "written"), path.open("rb") as source:
            target.parent.mkdir(parents=True, exist_ok=True)
            put_atomically(target, lambda stream: shutil.copyfileobj(source, stream, 2**20))

    def download(self, key: str, path: Path) -> None:
        with os_errors(self.url(key), "read"), self._path(key).open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self._files(prefix) if not path.name.startswith("."))

    def children(self, prefix: str = "") -> list[str]:
        base = self._path(prefix) if prefix else self.root
        return sorted(path.name for path in base.iterdir() if not path.name.startswith(".")) if base.is_dir() else []

    def delete(self, key: str) -> None:
        with os_errors(self.url(key), "deleted"):
            self._path(key).unlink(missing_ok=True)

    def delete_below(self, prefix: str) -> int:
        count = len(self.keys(prefix))
        if self._path(prefix).is_dir():
            with os_errors(self.url(prefix), "deleted"):
                shutil.rmtree(self._path(prefix))
        return count

    def clean(self, *, older_than_s: float) -> int:
        before, count = time.time() - older_than_s, 0
        for path in list(self._files("")):
            with os_errors(str(path), "deleted"):
                half_written = path.name.startswith(".") and not path.name.endswith(".lock")
                if half_written and path.exists() and path.stat().st_mtime < before:
                    path.unlink()
                    count += 1
        return count

    def _path(self, key: str) -> Path:
        return self.root / clean_key(key)

    def _files(self, prefix: str) -> Iterator[Path]:
        return (path for path in (self._path(prefix) if prefix else self.root).rglob("*") if path.is_file())

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the lock of a key; a lock file of its own, since a shared folder may lock no directory."""
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / f".{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
