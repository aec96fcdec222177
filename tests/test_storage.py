"""What is written into a store appears whole or not at all, and is verified when it is fetched."""

import errno
import hashlib
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wsus.errors import BundleError, ChangedError, StoreError
from wsus.storage import SUMS, FolderStore, Tagged, folder_built_beside, open_store, parse_sums, sums_of
from wsus.storage.s3 import S3Store


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to publish."""
    made = tmp_path / "made"
    (made / "sub").mkdir(parents=True)
    (made / "a.txt").write_text("alpha")
    (made / "sub" / "b.bin").write_bytes(bytes(range(256)))
    return made


def test_objects_come_back_and_are_listed(store: FolderStore) -> None:
    assert store.keys() == []
    assert store.children() == []
    store.write_bytes("a/b/c.txt", b"one")
    store.write_bytes("a/d.txt", b"two")
    store.write_bytes("a/d.txt", b"three")

    assert store.read_bytes("a/d.txt") == b"three"
    assert store.keys() == ["a/b/c.txt", "a/d.txt"]
    assert store.keys("a/b") == ["a/b/c.txt"]
    assert store.children("a") == ["b", "d.txt"]
    assert store.exists("a/d.txt")
    assert not store.exists("a/b")  # a folder is no object
    store.delete("a/d.txt")
    store.delete("a/d.txt")
    assert not store.exists("a/d.txt")


def test_json_is_sorted_so_that_versions_can_be_compared(store: FolderStore) -> None:
    store.write_json("x.json", {"b": 1, "a": [None, 0.5]})
    assert store.read_bytes("x.json") == b'{\n "a": [\n  null,\n  0.5\n ],\n "b": 1\n}\n'
    assert store.read_json("x.json") == {"a": [None, 0.5], "b": 1}


@pytest.mark.parametrize("content", [b"{cut", b"", b"\xff\xfe"])
def test_damaged_json_is_named(content: bytes, store: FolderStore) -> None:
    store.write_bytes("x.json", content)
    with pytest.raises(StoreError, match=r"store/x\.json: not valid JSON"):
        store.read_json("x.json")


def test_missing_object_is_named(store: FolderStore) -> None:
    with pytest.raises(StoreError, match=r"store/none\.txt: cannot be read \(No such file"):
        store.read_bytes("none.txt")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "", "a/.."])
def test_keys_stay_inside_the_store(key: str, store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a key is relative and stays inside the store"):
        store.write_bytes(key, b"x")
    with pytest.raises(ValueError, match="a key is relative and stays inside the store"):
        store.read_bytes(key)
    assert list(tmp_path.iterdir()) == []


def _full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_keeps_the_old_object_and_no_rest(call: str, store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("a/x", b"old")
    monkeypatch.setattr(os, call, _full)
    with pytest.raises(StoreError, match=r"a/x: cannot be written \(No space left on device\); check .* room on the disk"):
        store.write_bytes("a/x", b"new")
    assert store.read_bytes("a/x") == b"old"
    assert store.keys() == ["a/x"]


def test_write_that_breaks_off_keeps_the_old_object_and_no_rest(store: FolderStore) -> None:
    """The kernel refuses what is beyond the limit, in the middle of the object."""
    store.write_bytes("x", b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"x: cannot be written \(File too large\)"):
            store.write_bytes("x", bytes(300_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.read_bytes("x") == b"old"
    assert store.keys() == ["x"]


def test_readers_never_see_half_an_object(store: FolderStore) -> None:
    contents = [bytes([value]) * 200_000 for value in range(8)]
    store.write_bytes("x", contents[0])
    seen: set[bytes] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(store.read_bytes("x"))

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents * 3:
        store.write_bytes("x", content)
    over.set()
    reader.join()
    assert seen <= set(contents)
    assert store.keys() == ["x"]


def test_place_that_cannot_be_written_is_said_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"file/.* cannot be written .*check the path, its permissions"):
        FolderStore(tmp_path / "file").check_writable()


def test_folder_without_permission_is_said_beforehand(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(StoreError, match=r"cannot be written \(Permission denied\)"):
        store.check_writable()


def test_writable_place_is_left_as_it_was(store: FolderStore) -> None:
    store.check_writable()
    assert store.keys() == []


def test_published_folder_is_fetched_as_it_was(store: FolderStore, folder: Path, tmp_path: Path) -> None:
    assert not store.is_published("models/m/1")
    store.publish(folder, "models/m/1")
    assert store.is_published("models/m/1")

    fetched = store.fetch("models/m/1", tmp_path / "fetched")

    assert (fetched / "a.txt").read_text() == "alpha"
    assert (fetched / "sub" / "b.bin").read_bytes() == bytes(range(256))
    assert (fetched / SUMS).read_text() == sums_of(folder)


def test_temporary_copy_is_gone_afterwards(store: FolderStore, folder: Path) -> None:
    store.publish(folder, "p")
    with store.fetched("p") as copy:
        assert (copy / "a.txt").read_text() == "alpha"
    assert not copy.exists()


def test_half_published_folder_is_not_published(store: FolderStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.publish(folder, "p")
    upload = store.upload

    def fails_in_the_middle(path: Path, key: str) -> None:
        if key.endswith("b.bin"):
            raise StoreError("the disk is full")
        upload(path, key)

    monkeypatch.setattr(store, "upload", fails_in_the_middle)
    with pytest.raises(StoreError, match="the disk is full"):
        store.publish(folder, "p")  # over an older one: which now is not whole any more, and says so
    assert not store.is_published("p")


def test_damaged_file_is_refused(store: FolderStore, folder: Path, tmp_path: Path) -> None:
    store.publish(folder, "p")
    store.write_bytes("p/sub/b.bin", b"changed")
    with pytest.raises(BundleError, match=r"p/sub/b\.bin: its SHA-256 is not the one in SHA256SUMS; do not use it"):
        store.fetch("p", tmp_path / "fetched")


def test_missing_file_is_refused(store: FolderStore, folder: Path, tmp_path: Path) -> None:
    store.publish(folder, "p")
    store.delete("p/a.txt")
    with pytest.raises(StoreError, match=r"p/a\.txt: cannot be read"):
        store.fetch("p", tmp_path / "fetched")


def test_sums_are_those_of_sha256sum(folder: Path) -> None:
    alpha, octets = hashlib.sha256(b"alpha").hexdigest(), hashlib.sha256(bytes(range(256))).hexdigest()
    (folder / SUMS).write_text("is not summed itself")
    assert sums_of(folder) == f"{alpha}  a.txt\n{octets}  sub/b.bin\n"
    assert parse_sums(sums_of(folder).encode(), "x") == {"a.txt": alpha, "sub/b.bin": octets}


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ""])
def test_sums_name_files_inside_their_folder_alone(name: str) -> None:
    with pytest.raises(BundleError, match=r"SHA256SUMS holds the line .* which is not 'digest  relative/file'"):
        parse_sums(f"{'0' * 64}  {name}\n".encode(), "x")


def test_sums_that_are_no_text_are_refused() -> None:
    with pytest.raises(BundleError, match="x: SHA256SUMS is not text"):
        parse_sums(b"\xff\x00\xfe", "x")


def test_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with folder_built_beside(target) as building:
        (building / "x").write_text("1")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["target"]
    assert (target / "x").read_text() == "1"


def test_folder_that_could_not_be_built_leaves_nothing(tmp_path: Path) -> None:
    def build() -> None:
        with folder_built_beside(tmp_path / "target") as building:
            (building / "x").write_text("1")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        build()
    assert list(tmp_path.iterdir()) == []


def test_conditional_write_takes_one_writer(store: FolderStore) -> None:
    first = store.write_if("a/x", b"1", None)
    with pytest.raises(ChangedError, match=r"a/x: another writer was first"):
        store.write_if("a/x", b"2", None)
    second = store.write_if("a/x", b"3", first)
    with pytest.raises(ChangedError, match="another writer was first"):
        store.write_if("a/x", b"4", first)
    assert store.read_tagged("a/x") == Tagged(b"3", second)
    assert store.read_tagged("a/none") is None
    with pytest.raises(ChangedError, match="another writer was first"):
        store.write_if("a/none", b"5", second)
    assert store.keys() == ["a/x"]  # the lock is the store's own and is not listed
    assert store.children("a") == ["x"]


def test_no_change_is_lost_between_writers(store: FolderStore) -> None:
    def count(_: int) -> None:
        store.update_json("n.json", lambda old: {"n": (old or {"n": 0})["n"] + 1})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(40)))
    assert store.read_json("n.json") == {"n": 40}


def test_orderthing_below_a_folder_is_deleted(store: FolderStore) -> None:
    for key in ("a/x", "a/b/y", "ab/z"):
        store.write_bytes(key, b"1")
    assert store.delete_below("a") == 2
    assert store.delete_below("none") == 0
    assert store.keys() == ["ab/z"]


def test_what_a_killed_writer_left_is_cleaned(store: FolderStore) -> None:
    store.write_bytes("a/x", b"1")
    (store.root / "a" / ".y.abcd").write_bytes(b"half")
    assert store.keys() == ["a/x"]
    assert store.clean(older_than_s=3600) == 0
    assert store.clean(older_than_s=0) == 1
    assert store.read_bytes("a/x") == b"1"


def test_address_decides_the_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert isinstance(open_store(tmp_path), FolderStore)
    bucket = open_store("s3://bucket/some/prefix/")
    assert isinstance(bucket, S3Store)
    assert (bucket.bucket, bucket.prefix, bucket.address) == ("bucket", "some/prefix", "s3://bucket/some/prefix")
    assert bucket.url("a/b") == "s3://bucket/some/prefix/a/b"


@pytest.mark.parametrize("address", ["s3://", "gs://bucket/prefix", "http://host/path"])
def test_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(StoreError, match=r"expected (a folder or )?s3://bucket/prefix"):
        open_store(address)
