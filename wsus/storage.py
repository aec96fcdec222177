"""The store: one folder or one s3://bucket/prefix, behind one small interface.

Keys are relative, with forward slashes. What is written appears whole or not at all: a folder's file by rename, an
object by S3's own atomic PUT; a folder of files (`publish`) becomes visible when its last file, `SHA256SUMS`, lands.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from wsus.errors import BundleError, StoreError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SUMS = "SHA256SUMS"


class Store(ABC):
    """Objects under keys. Every method raises StoreError, naming the address, where the place refuses."""

    address: str

    @abstractmethod
    def read_bytes(self, key: str) -> bytes:
        """The object's content. Raises StoreError where there is none."""

    @abstractmethod
    def write_bytes(self, key: str, content: bytes) -> None:
        """Write an object, whole or not at all; an older one is replaced."""

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
    def tune_location(self, key: str) -> tuple[str, FileSystem | None]:
        """`storage_path` and `storage_filesystem` for Ray Tune's own state under this key."""

    def url(self, key: str = "") -> str:
        """A person's address of a key."""
        return f"{self.address.rstrip('/')}/{_clean(key)}" if key else self.address

    def read_json(self, key: str) -> Any:
        """The object parsed as JSON. Raises StoreError where it is missing or no JSON."""
        try:
            return json.loads(self.read_bytes(key))
        except ValueError as error:
            raise StoreError(f"{self.url(key)}: not valid JSON ({error}); it was damaged or edited by hand") from error

    def write_json(self, key: str, value: Any) -> None:
        """Write a value as JSON, sorted and indented, so that two versions can be compared."""
        self.write_bytes(key, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())

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
            self.write_bytes(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        self.write_bytes(f"{prefix}/{SUMS}", sums_of(folder).encode())

    def is_published(self, prefix: str) -> bool:
        """Whether `publish` under this prefix came to its end."""
        return self.exists(f"{prefix}/{SUMS}")

    def fetch(self, prefix: str, folder: Path) -> Path:
        """Copy what was published under a prefix into a local folder, and verify every digest.

        Raises:
            BundleError: a file is missing or does not match its digest.
        """
        for name, digest in parse_sums(self.read_bytes(f"{prefix}/{SUMS}"), self.url(prefix)).items():
            content = self.read_bytes(f"{prefix}/{name}")
            if hashlib.sha256(content).hexdigest() != digest:
                raise BundleError(
                    f"{self.url(prefix)}/{name}: its SHA-256 is not the one in {SUMS}; do not use it, publish again"
                )
            target = folder / name
            with _os_errors(str(target), "written"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        (folder / SUMS).write_bytes(self.read_bytes(f"{prefix}/{SUMS}"))
        return folder

    @contextmanager
    def fetched(self, prefix: str) -> Iterator[Path]:
        """`fetch` into a temporary folder that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="wsus-") as folder:
            yield self.fetch(prefix, Path(folder))


class FolderStore(Store):
    """A store in a local or shared folder; made where it does not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.address = str(self.root)

    def read_bytes(self, key: str) -> bytes:
        with _os_errors(self.url(key), "read"):
            return (self.root / _clean(key)).read_bytes()

    def write_bytes(self, key: str, content: bytes) -> None:
        target = self.root / _clean(key)
        with _os_errors(self.url(key), "written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)

    def exists(self, key: str) -> bool:
        return (self.root / _clean(key)).is_file()

    def keys(self, prefix: str = "") -> list[str]:
        base = self.root / _clean(prefix) if prefix else self.root
        return sorted(path.relative_to(self.root).as_posix() for path in base.rglob("*") if path.is_file())

    def children(self, prefix: str = "") -> list[str]:
        base = self.root / _clean(prefix) if prefix else self.root
        return sorted(path.name for path in base.iterdir()) if base.is_dir() else []

    def delete(self, key: str) -> None:
        with _os_errors(self.url(key), "deleted"):
            (self.root / _clean(key)).unlink(missing_ok=True)

    def tune_location(self, key: str) -> tuple[str, FileSystem | None]:
        return str(self.root / _clean(key)), None


class S3Store(Store):
    """A store in a bucket, through boto3's client and its usual chain of credentials.

    endpoint_url: for servers other than AWS; default: the environment's AWS_ENDPOINT_URL.
    """

    def __init__(self, bucket: str, prefix: str = "", endpoint_url: str | None = None) -> None:
        import boto3
        from botocore.config import Config

        self.bucket, self.prefix = bucket, prefix.strip("/")
        self.endpoint_url = endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self.address = f"s3://{bucket}/{self.prefix}".rstrip("/")
        style = {"addressing_style": "path"} if self.endpoint_url else {}
        config = Config(retries={"mode": "standard", "max_attempts": 8}, s3=style)
        self._client = boto3.client("s3", endpoint_url=self.endpoint_url, config=config)

    def read_bytes(self, key: str) -> bytes:
        with self._s3_errors(key, "read"):
            return bytes(self._client.get_object(Bucket=self.bucket, Key=self._full(key))["Body"].read())

    def write_bytes(self, key: str, content: bytes) -> None:
        with self._s3_errors(key, "written"):
            self._client.put_object(Bucket=self.bucket, Key=self._full(key), Body=content)

    def exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        with self._s3_errors(key, "looked up"):
            try:
                self._client.head_object(Bucket=self.bucket, Key=self._full(key))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
        return True

    def keys(self, prefix: str = "") -> list[str]:
        start = len(self.prefix) + 1 if self.prefix else 0
        return sorted(item["Key"][start:] for page in self._pages(prefix) for item in page.get("Contents", []))

    def children(self, prefix: str = "") -> list[str]:
        names = set()
        for page in self._pages(prefix, Delimiter="/"):
            names |= {PurePosixPath(item["Key"]).name for item in page.get("Contents", [])}
            names |= {PurePosixPath(item["Prefix"]).name for item in page.get("CommonPrefixes", [])}
        return sorted(names)

    def delete(self, key: str) -> None:
        with self._s3_errors(key, "deleted"):
            self._client.delete_object(Bucket=self.bucket, Key=self._full(key))

    def tune_location(self, key: str) -> tuple[str, FileSystem | None]:
        from pyarrow.fs import S3FileSystem

        path = f"{self.bucket}/{self._full(key)}"
        if not self.endpoint_url:
            return path, S3FileSystem()
        parsed = urlparse(self.endpoint_url)
        return path, S3FileSystem(endpoint_override=parsed.netloc, scheme=parsed.scheme)

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{_clean(key)}" if self.prefix else _clean(key)

    def _pages(self, prefix: str, **more: str) -> Iterator[dict[str, Any]]:
        below = self._full(prefix) + "/" if prefix else (self.prefix + "/" if self.prefix else "")
        with self._s3_errors(prefix, "listed"):
            yield from self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=below, **more)

    @contextmanager
    def _s3_errors(self, key: str, verb: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            hint = "check the bucket, its permissions, AWS_ENDPOINT_URL and the credentials"
            raise StoreError(f"{self.url(key)}: cannot be {verb} ({error}); {hint}") from error


def open_store(address: str | Path) -> Store:
    """A folder's path, or s3://bucket/prefix.

    Raises:
        StoreError: the address is neither.
    """
    text = str(address)
    if text.startswith("s3://"):
        parsed = urlparse(text)
        if not parsed.netloc:
            raise StoreError(f"{text}: expected s3://bucket/prefix")
        return S3Store(parsed.netloc, parsed.path)
    if "://" in text:
        raise StoreError(f"{text}: expected a folder or s3://bucket/prefix")
    return FolderStore(Path(text))


def write_atomically(target: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file beside its target, then rename; a full disk leaves what was there before."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, mode)
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


@contextmanager
def folder_built_beside(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` when the block ends well, and is gone when it does not."""
    with _os_errors(str(target), "made"):
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        with _os_errors(str(target), "written"):
            yield building
            os.chmod(building, 0o755)
            os.rename(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def sums_of(folder: Path) -> str:
    """The lines of `sha256sum` for all files below a folder, without the sums file itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files)


def parse_sums(content: bytes, name: str) -> dict[str, str]:
    """File name -> SHA-256 of a sums file. Raises BundleError where a line is none, or names a path outside the folder."""
    sums = {}
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{name}: {SUMS} is not text ({error}); it is damaged: do not use what it names") from error
    for line in text.splitlines():
        digest, _, file_name = line.partition("  ")
        parts = PurePosixPath(file_name).parts
        if len(digest) != 64 or not file_name or file_name.startswith("/") or ".." in parts:
            raise BundleError(f"{name}: {SUMS} holds the line {line!r}, which is not 'digest  relative/file'")
        sums[file_name] = digest
    return sums


def _clean(key: str) -> str:
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or ".." in parts:
        raise ValueError(f"a key is relative and stays inside the store; got {key!r}")
    return "/".join(parts)


@contextmanager
def _os_errors(address: str, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{address}: cannot be {verb} ({error.strerror or error}); check the path, its permissions and room on the disk"
        ) from error
