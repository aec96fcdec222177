"""Data sets in S3: each lands once per machine, verified, in a cache of bounded size.

What a listing says (names, sizes, ETags) is the set's snapshot. It names the folder below `sets/` in the cache folder, so
that a set that changes in the bucket is another set here, and a machine that has the snapshot asks the bucket nothing:

    <name>-<snapshot>/<name>/...                  the files, under the names that they have in the bucket
    <name>-<snapshot>/landing.json, landed.json   while it lands; when it is whole
    .<name>-<snapshot>.lock                       held shared by each process that uses the set, until it ends; its time: last use
    .landing.lock                                 held by the one process of the machine that lands or removes
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import logging
import os
import posixpath
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from wsus.data.cache import default_cache_dir, locked, open_lock
from wsus.errors import ChangedError, ConfigError, StoreError
from wsus.storage import open_store, write_atomically
from wsus.storage.files import os_errors
from wsus.storage.s3 import Listed, S3Store
from wsus.storage.s3_settings import S3Settings

logger = logging.getLogger(__name__)
GB = 10**9
_DEFAULT_LIMIT_GB = 50.0
_THREADS = 16  # as many connections as the client keeps
_FILES_AT_A_TIME = 512  # handed to the threads; a list of a million waiting ones would fill memory
_SAY_EVERY_S = 15.0
_LANDING, _LANDED = "landing.json", "landed.json"
_held: dict[Path, IO[str]] = {}  # the sets that this process uses; the kernel lets go of them however it ends


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """A data set from S3 on this machine, in use until the process ends.

    address: with its settings, so that another machine means the same.  path: the folder, or the manifest's CSV in it.
    """

    address: str
    snapshot: str
    path: Path

    @property
    def folder(self) -> Path:
        return self.path.parent if _is_manifest(self.address) else self.path

    def here(self) -> Landed:
        """The same set on the machine that this runs on. Raises as `land`."""
        return land(self.address, snapshot=self.snapshot, patient=True)


def is_remote(address: str) -> bool:
    """Whether a data set's address is one in S3, not a path."""
    return address.startswith("s3://")


def local_path(address: str) -> Path:
    """A path as it is; a data set in S3 lands first. Raises as `land`."""
    return land(address).path if is_remote(address) else Path(address)


def land(address: str, *, snapshot: str | None = None, patient: bool = False, say: Callable[[str], None] = logger.info) -> Landed:
    """Bring a data set from S3 onto this machine, if it is not there yet.

    Args:
        address: `s3://bucket/prefix` of a folder, or of a manifest's CSV, with which the files land that it names.
        snapshot: of the set that is wanted; what lies in the bucket now where None.
        patient: as `open_store` takes it.
        say: is told what lands, and how far it is.
    Raises:
        StoreError: the bucket cannot be read, nothing lies there, or there is no room for it.
        ChangedError: what lies there is not the wanted snapshot, or changes while it lands.
    """
    address = with_settings(address)
    folder, csv_name, name = _parsed(address)
    if snapshot is not None and _taken(entry := _entry(name, snapshot)):
        return Landed(address=address, snapshot=snapshot, path=entry / name / (csv_name or ""))
    store = _opened(folder, patient)
    items = _listing(store, csv_name)
    found = _snapshot(items)
    if snapshot not in (None, found):
        raise ChangedError(
            f"{store.address}: the data set is not the one that was read first ({len(items):,} files now); put back what was "
            "there, or start a new study with another --name"
        )
    entry = _entry(name, found)
    if not _taken(entry):
        with locked(entry.parent / "landing"):
            if not (entry / _LANDED).exists():
                _fill(store, items, entry, name, say)
            _taken(entry)  # before another process may make room
    return Landed(address=address, snapshot=found, path=entry / name / (csv_name or ""))


def snapshot_of(address: str) -> str:
    """The snapshot of what lies there now, by one listing. Raises as `land`."""
    folder, csv_name, _ = _parsed(address)
    return _snapshot(_listing(_opened(folder), csv_name))


def with_settings(address: str) -> str:
    """The address with this process's settings of S3 in it, so that another machine means the same. Raises ConfigError."""
    parts = urlsplit(address)
    return parts._replace(query=S3Settings.of(parts.query).query).geturl()


def _is_manifest(address: str) -> bool:
    return urlsplit(address).path.lower().endswith(".csv")


def _parsed(address: str) -> tuple[str, str | None, str]:
    """The address of the set's folder, the name of the manifest in it, and the folder's own name."""
    parts = urlsplit(address)
    path, csv_name = PurePosixPath(parts.path or "/"), None
    if _is_manifest(address):
        path, csv_name = path.parent, path.name
    if ".." in path.parts:
        raise StoreError(f"{address}: a prefix without '..' is expected; correct the address in --data")
    return parts._replace(path=str(path)).geturl(), csv_name, (path.name or parts.netloc)[:80]


def _opened(address: str, patient: bool = False) -> S3Store:
    store = open_store(address, patient=patient)
    assert isinstance(store, S3Store)
    return store


def _entry(name: str, snapshot: str) -> Path:
    return (default_cache_dir() / "sets" / f"{name}-{snapshot[:20]}").resolve()


def _taken(entry: Path) -> bool:
    """Whether the set is here and whole; then no process of this machine removes it before this one ends."""
    lock = open_lock(entry)
    fcntl.flock(lock, fcntl.LOCK_SH)
    if not (entry / _LANDED).exists():
        lock.close()
        return False
    os.utime(lock.fileno())
    if _held.setdefault(entry, lock) is not lock:
        lock.close()
    return True


def _listing(store: S3Store, csv_name: str | None) -> list[Listed]:
    """The set's objects, by name. Raises StoreError where there is none, or one that cannot be a file."""
    items = sorted(store.listed())
    if csv_name is not None:
        items = _named_by_manifest(store, csv_name, items)
    if not items:
        raise StoreError(f"{store.address}: nothing lies below this address; correct the bucket or the prefix in --data")
    for item in items:
        if posixpath.normpath(item.key) != item.key or item.key.startswith(("/", "../")) or item.key in (".", ".."):
            raise StoreError(f"{store.address}: the key {item.key!r} cannot be a file's name; rename the object")
    return items


def _named_by_manifest(store: S3Store, csv_name: str, items: Sequence[Listed]) -> list[Listed]:
    """The manifest and what it names; the reading of the manifest says what is missing or wrong in it."""
    table = next((item for item in items if item.key == csv_name), None)
    if table is None:
        raise StoreError(f"{store.url(csv_name)}: no such manifest in the bucket; correct the address in --data")
    found = store.read_tagged(csv_name)
    if found is None or found.tag != table.etag:
        raise ChangedError(f"{store.url(csv_name)}: was replaced while it was read; run the same line again")
    rows = csv.reader(io.StringIO(found.content.decode("utf-8-sig", errors="replace"), newline=""))
    header = [cell.strip().lower() for cell in next(rows, [])]
    columns = [header.index(column) for column in ("path", "mask_path") if column in header]
    cells = (row[column] for row in rows for column in columns if column < len(row))
    names = {posixpath.normpath(part.strip()) for cell in cells for part in cell.split(";")}
    return [item for item in items if item is table or item.key in names]


def _snapshot(items: Sequence[Listed]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.key}\0{item.size}\0{item.etag}\n".encode())
    return digest.hexdigest()


def _fill(store: S3Store, items: Sequence[Listed], entry: Path, name: str, say: Callable[[str], None]) -> None:
    """Download what is not there yet of a set that a killed process may have begun."""
    folder, size = entry / name, sum(item.size for item in items)
    missing = [item for item in items if not _lies_there(folder / item.key, item.size)]
    _make_room(store.address, entry, size, sum(item.size for item in missing))
    say(f"data set {store.address}: {len(missing):,} of {len(items):,} files, {size / GB:.2f} GB in all, land in {entry}")
    incoming, start = entry / "incoming", time.monotonic()

    def fetch(number: int) -> None:
        item, beside = missing[number], incoming / str(number)
        store.download_listed(item, beside)
        (folder / item.key).parent.mkdir(parents=True, exist_ok=True)
        os.replace(beside, folder / item.key)

    with os_errors(str(entry), "written"), ThreadPoolExecutor(_THREADS) as pool:
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        about = {"address": store.address, "bytes": size, "files": len(items)}
        write_atomically(entry / _LANDING, json.dumps(about, indent=1).encode())
        said = start
        for first in range(0, len(missing), _FILES_AT_A_TIME):
            if time.monotonic() - said > _SAY_EVERY_S:
                said = time.monotonic()
                say(f"data set {store.address}: {first:,} of {len(missing):,} files are here")
            list(pool.map(fetch, range(first, min(first + _FILES_AT_A_TIME, len(missing)))))
        incoming.rmdir()
        os.replace(entry / _LANDING, entry / _LANDED)
    say(f"data set {store.address}: whole and verified after {time.monotonic() - start:.0f} s")


def _lies_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _make_room(address: str, entry: Path, size: int, missing: int) -> None:
    """Remove sets that no process uses, the longest unused first, until this one has room. Called under `.landing.lock`."""
    limit, base = _limit_bytes(), entry.parent
    if size > limit:
        raise StoreError(
            f"{address}: {size / GB:.3g} GB; at most {limit / GB:.3g} GB are kept on a machine: set WSUS_DATA_CACHE_GB higher"
        )
    others = {folder: _bytes_of(folder) for folder in base.iterdir() if folder.is_dir() and folder != entry}
    for folder in sorted(others, key=_last_use):
        fits = size + sum(others.values()) <= limit and _free(base) >= missing * 1.05
        if not (fits and others[folder]) and _removed(folder):
            logger.info("removed %s to make room", folder)
            del others[folder]
    if size + sum(others.values()) > limit:
        raise StoreError(
            f"{address}: {size / GB:.3g} GB, beside {sum(others.values()) / GB:.3g} GB of data sets in use on this machine; at "
            f"most {limit / GB:.3g} GB are kept: set WSUS_DATA_CACHE_GB higher, or wait until the others have ended"
        )
    if (free := _free(base)) < missing * 1.05:
        raise StoreError(
            f"{base}: {missing / GB:.3g} GB are needed for {address}, {free / GB:.3g} GB are free; make room or set "
            "WSUS_CACHE_DIR to another folder"
        )


def _limit_bytes() -> float:
    text = os.environ.get("WSUS_DATA_CACHE_GB") or str(_DEFAULT_LIMIT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise ConfigError(f"WSUS_DATA_CACHE_GB: gigabytes above 0 that data sets from S3 may take; got {text!r}")
    return limit * GB


def _free(base: Path) -> int:
    with os_errors(str(base), "looked at"):
        return shutil.disk_usage(base).free


def _bytes_of(entry: Path) -> int:
    """What a set takes, or will; 0 where it was being removed."""
    for note in (entry / _LANDED, entry / _LANDING):
        if note.exists():
            return int(json.loads(note.read_text())["bytes"])
    return 0


def _last_use(entry: Path) -> float:
    with open_lock(entry) as lock:
        return os.fstat(lock.fileno()).st_mtime


def _removed(entry: Path) -> bool:
    """Remove a set unless a process uses it; one that is killed in the middle leaves a set that is not whole."""
    with open_lock(entry) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with os_errors(str(entry), "removed"):
            (entry / _LANDED).unlink(missing_ok=True)
            shutil.rmtree(entry)
    return True
