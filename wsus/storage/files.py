"""Files and folders that appear whole or not at all, and the digests that say so."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from wsus.errors import BundleError, StoreError

SUMS = "SHA256SUMS"


def write_atomically(target: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file beside its target, then rename; a full disk leaves what was there before."""
    put_atomically(target, lambda stream: stream.write(content), mode=mode)


def put_atomically(target: Path, fill: Callable[[BinaryIO], object], *, mode: int = 0o644) -> None:
    """As `write_atomically`, for content that `fill` writes into the open file."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            fill(stream)
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
    with os_errors(str(target), "made"):
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        with os_errors(str(target), "written"):
            yield building
            os.chmod(building, 0o755)
            os.rename(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def digest_of(path: Path) -> str:
    """A file's SHA-256, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sums_of(folder: Path) -> str:
    """The lines of `sha256sum` for all files below a folder, without the sums file itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS)
    return "".join(f"{digest_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)


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


@contextmanager
def os_errors(address: str, verb: str) -> Iterator[None]:
    """What the system refuses becomes a StoreError that names the address."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{address}: cannot be {verb} ({error.strerror or error}); check the path, its permissions and room on the disk"
        ) from error
