"""What every store offers: objects under keys, conditional writes, folders that are published and fetched.

Keys are relative, with forward slashes. What is written appears whole or not at all: a folder's file by rename, an
object by S3's own atomic PUT; a folder of files (`publish`) becomes visible when its last file, `SHA256SUMS`, lands.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from wsus.errors import BundleError, ChangedError, StoreError
from wsus.storage.files import SUMS, digest_of, os_errors, parse_sums, sums_of

if TYPE_CHECKING:
    pass

_UPDATE_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object as it was read, with the tag that `write_if` compares: an ETag, or a digest of the content."""

    content: bytes
    tag: str


class Store(ABC):
    """Objects under keys. Every method raises StoreError, naming the address, where the place refuses.

    address: for people.  locator: what `open_store` takes, here or on another machine, to mean the same place.
    """

    address: str

    @property
    def locator(self) -> str:
        return self.address

    @abstractmethod
    def read_bytes(self, key: str) -> bytes:
        """The object's content. Raises StoreError where there is none."""

    @abstractmethod
    def write_bytes(self, key: str, content: bytes) -> None:
        """Write an object, whole or not at all; an older one is replaced."""

    @abstractmethod
    def read_tagged(self, key: str) -> Tagged | None:
        """The object with its tag; None where there is none."""

    @abstractmethod
    def write_if(self, key: str, content: bytes, tag: str | None) -> str:
        """Write an object only if the one that lies there has this tag (None: only if none lies there); returns the new tag.

        Raises:
            ChangedError: another writer was first.
        """

    @abstractmethod
    def upload(self, path: Path, key: str) -> None:
        """Copy a local file to a key in pieces, so that it need not fit into memory; whole or not at all."""

    @abstractmethod
    def download(self, key: str, path: Path) -> None:
        """Copy an object to a local file in pieces. Raises StoreError where there is none."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether an object lies under this very key."""

    @abstractmethod
    def keys(self, prefix: str = "") -> list[str]:
        """The keys below a prefix (a folder), sorted."""

    @abstractmethod
    def children(self, prefix: str = "") -> list[str]:
        """The names directly below a prefix, files and folders, sorted; does not walk what lies deeper."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete one object; none there is no error."""

    @abstractmethod
    def delete_below(self, prefix: str) -> int:
        """Delete everything below a prefix (a folder); returns how many objects that were."""

    @abstractmethod
    def clean(self, *, older_than_s: float) -> int:
        """Remove what writers that were killed left half done and nobody can read; returns how many pieces."""

    def url(self, key: str = "") -> str:
        """A person's address of a key."""
        return f"{self.address.rstrip('/')}/{clean_key(key)}" if key else self.address

    def read_json(self, key: str) -> Any:
        """The object parsed as JSON. Raises StoreError where it is missing or no JSON."""
        return self._parsed(key, self.read_bytes(key))

    def write_json(self, key: str, value: Any) -> None:
        """Write a value as JSON, sorted and indented, so that two versions can be compared."""
        self.write_bytes(key, as_json(value))

    def update_json(self, key: str, change: Callable[[Any], Any]) -> Any:
        """Replace a JSON object by `change(old)` so that no other writer's change is lost; returns the new value.

        Args:
            change: from the value that lies there (None: nothing) to the new one; asked again where another writer was first.
        Raises:
            ChangedError: other writers were first every time.
        """
        for attempt in range(_UPDATE_ATTEMPTS):
            old = self.read_tagged(key)
            new = change(None if old is None else self._parsed(key, old.content))
            try:
                self.write_if(key, as_json(new), None if old is None else old.tag)
            except ChangedError:
                if attempt == _UPDATE_ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
            else:
                return new
        raise AssertionError("not reached")

    def check_writable(self) -> None:
        """Raise StoreError now rather than after hours of training."""
        probe = f".wsus-write-probe-{os.getpid()}"
        self.write_bytes(probe, b"probe")
        self.delete(probe)

    def publish(self, folder: Path, prefix: str) -> None:
        """Copy a local folder under a prefix; `SHA256SUMS` is written last and says that the rest is whole."""
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS)
        self.delete(f"{prefix}/{SUMS}")
        for path in files:
            self.upload(path, f"{prefix}/{path.relative_to(folder).as_posix()}")
        self.write_bytes(f"{prefix}/{SUMS}", sums_of(folder).encode())

    def is_published(self, prefix: str) -> bool:
        """Whether `publish` under this prefix came to its end."""
        return self.exists(f"{prefix}/{SUMS}")

    def fetch(self, prefix: str, folder: Path) -> Path:
        """Copy what was published under a prefix into a local folder, and verify every digest.

        Raises:
            BundleError: a file is missing or does not match its digest.
        """
        sums = self.read_bytes(f"{prefix}/{SUMS}")
        for name, digest in parse_sums(sums, self.url(prefix)).items():
            target = folder / name
            with os_errors(str(target), "written"):
                target.parent.mkdir(parents=True, exist_ok=True)
                self.download(f"{prefix}/{name}", target)
            if digest_of(target) != digest:
                raise BundleError(
                    f"{self.url(prefix)}/{name}: its SHA-256 is not the one in {SUMS}; do not use it, publish again"
                )
        with os_errors(str(folder / SUMS), "written"):
            (folder / SUMS).write_bytes(sums)
        return folder

    @contextmanager
    def fetched(self, prefix: str) -> Iterator[Path]:
        """`fetch` into a temporary folder that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="wsus-") as folder:
            yield self.fetch(prefix, Path(folder))

    def _parsed(self, key: str, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            raise StoreError(f"{self.url(key)}: not valid JSON ({error}); it was damaged or edited by hand") from error


def as_json(value: Any) -> bytes:
    """A value as JSON, sorted and indented."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def clean_key(key: str) -> str:
    """A key without needless parts. Raises ValueError where it leads outside the store."""
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or ".." in parts:
        raise ValueError(f"a key is relative and stays inside the store; got {key!r}")
    return "/".join(parts)
