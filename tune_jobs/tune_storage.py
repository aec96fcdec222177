"""Where Ray Tune keeps its own state: in the study's store, behind the same client, settings, retries and patience."""

from __future__ import annotations

import hashlib
import tempfile
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileSystemHandler, FileType, PyFileSystem

from wsus.storage import FolderStore, Store, open_store
from wsus.storage.base import clean_key
from wsus.storage.s3 import PIECE_BYTES, S3Store


def tune_location(store: Store, key: str) -> tuple[str, FileSystem | None]:
    """`storage_path` and `storage_filesystem` for Ray Tune's own state under this key."""
    if isinstance(store, FolderStore):
        return str(store.root / clean_key(key)), None
    if isinstance(store, S3Store):
        return clean_key(key), arrow_filesystem(store.locator)
    raise TypeError(f"Ray Tune cannot keep its state in a {type(store).__name__}; give it a file system here")


def arrow_filesystem(locator: str) -> FileSystem:
    """The file system of an s3:// store; its paths are the store's keys. It can be pickled: workers open it themselves."""
    return PyFileSystem(_StoreHandler(locator))


_SMALL_BYTES = 2**20  # of state that is compared with what was written last


class _StoreHandler(FileSystemHandler):
    """Folders are not made and need not be: S3 has none, a folder is what keys lie below.

    Tune writes all of its state, a handful of files of every trial, each time that something of it changed. What this file
    system wrote to the same key last is not sent again.
    """

    def __init__(self, locator: str) -> None:
        self._locator = locator
        self._written: dict[str, bytes] = {}  # SHA-256 of the content, by key

    def __reduce__(self) -> tuple[Any, ...]:
        return (_StoreHandler, (self._locator,))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StoreHandler) and other._locator == self._locator

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    @property
    def _store(self) -> S3Store:
        return _opened(self._locator)

    def get_type_name(self) -> str:
        return "wsus-s3"

    def normalize_path(self, path: str) -> str:
        return clean_key(path) if path else path

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        base = clean_key(selector.base_dir) if selector.base_dir else ""
        files: dict[str, FileInfo] = {}
        folders: set[str] = set()
        delimiter: dict[str, str] = {} if selector.recursive else {"Delimiter": "/"}
        for page in self._store.pages(base, **delimiter):
            for item in page.get("Contents", []):
                key = self._store.key_of(item["Key"])
                files[key] = FileInfo(key, FileType.File, mtime=item["LastModified"], size=item["Size"])
                folders |= {str(parent) for parent in PurePosixPath(key).parents}
            folders |= {self._store.key_of(item["Prefix"]).rstrip("/") for item in page.get("CommonPrefixes", [])}
        if not files and not folders and not selector.allow_not_found:
            raise FileNotFoundError(f"{self._store.url(base)}: nothing lies below it")
        below = sorted(folder for folder in folders if folder != base and folder.startswith(f"{base}/" if base else ""))
        return [*(FileInfo(folder, FileType.Directory) for folder in below if folder != "."), *files.values()]

    def create_dir(self, path: str, recursive: bool) -> None:
        return

    def delete_dir(self, path: str) -> None:
        for key in [key for key in self._written if key.startswith(f"{path}/")]:
            del self._written[key]
        self._store.delete_below(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.delete_dir(path)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("a store is not emptied as a whole")

    def delete_file(self, path: str) -> None:
        self._written.pop(path, None)
        self._store.delete(path)

    def move(self, src: str, dest: str) -> None:
        raise NotImplementedError("S3 does not rename")

    def copy_file(self, src: str, dest: str) -> None:
        raise NotImplementedError("Ray Tune copies between this machine and the store alone")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        if not self._store.exists(path):
            raise FileNotFoundError(f"{self._store.url(path)}: no such object")
        with tempfile.NamedTemporaryFile(prefix="wsus-read-") as copy:
            self._store.download(path, Path(copy.name))
            return pa.PythonFile(open(copy.name, "rb"), mode="r")

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return pa.PythonFile(_Upload(self, path), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        raise NotImplementedError("S3 does not append")

    def write(self, source: IO[bytes], key: str) -> None:
        """Make what a file holds an object; another process deletes checkpoints, so they are written whatever was before."""
        if source.tell() > _SMALL_BYTES or "/checkpoint_" in key:
            self._store.upload_stream(source, key)
            return
        source.seek(0)
        content = source.read()
        digest = hashlib.sha256(content).digest()
        if self._written.get(key) != digest:
            self._store.write_bytes(key, content)
            self._written[key] = digest

    def _info(self, path: str) -> FileInfo:
        head = self._store.head(path)
        if head is not None:
            return FileInfo(path, FileType.File, mtime=head["LastModified"], size=head["ContentLength"])
        page = next(self._store.pages(path, MaxKeys=1))
        return FileInfo(path, FileType.Directory if page.get("KeyCount") else FileType.NotFound)


@cache
def _opened(locator: str) -> S3Store:
    """One store a process: each checkpoint that Tune hands on brings a file system of its own, and a client costs 0.1 s."""
    store = open_store(locator, patient=True)
    assert isinstance(store, S3Store)
    return store


class _Upload:
    """What is written goes into memory or a local file, and becomes an object, whole, when it is closed."""

    def __init__(self, handler: _StoreHandler, key: str) -> None:
        self._handler, self._key = handler, key
        self._stream: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=PIECE_BYTES)  # noqa: SIM115  closed below
        self.closed = False

    def write(self, content: Any) -> int:
        return self._stream.write(content)

    def tell(self) -> int:
        return self._stream.tell()

    def flush(self) -> None:
        return

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        with self._stream as stream:
            self._handler.write(stream, self._key)
