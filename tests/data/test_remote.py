"""Data sets on a real S3 server land once per machine, whole and verified, in a cache that stays within its size."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from s3_server import GUEST, READER, Faults, S3Server, faulty_proxy
from typer.testing import CliRunner

from tune_jobs.data import StudyData, load_data
from tune_jobs.study import DataConfig, SourceConfig
from wsus.cli import app
from wsus.data import remote
from wsus.data.manifest import read_manifest, write_manifest
from wsus.data.remote import land, snapshot_of, with_settings
from wsus.data.sources import read_source
from wsus.data.splits import SplitConfig
from wsus.errors import ChangedError, ConfigError, StoreError
from wsus.storage import open_store
from wsus.storage.s3 import PIECE_BYTES

pytestmark = pytest.mark.s3
FILES = 12
LANDING = "import sys; from wsus.data.remote import land; print(land(sys.argv[1]).path, flush=True); sys.stdin.read()"
CONTENT = b"bytes of a data set" * 200


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own."""
    monkeypatch.setenv("WSUS_CACHE_DIR", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    let_go()


def let_go() -> None:
    """As if this process had ended: it uses no data set any more."""
    while remote._held:
        remote._held.popitem()[1].close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of class folders; no two pictures are alike."""
    place = tmp_path_factory.mktemp("local") / "images"
    rng = np.random.default_rng(0)
    for number in range(FILES):
        path = place / ("benign", "malignant")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(1, 255, (48, 48), dtype=np.uint8)).save(path)
    return place


@pytest.fixture
def address(s3_address: str, folder: Path) -> str:
    """The same data set in the bucket."""
    store = open_store(s3_address)
    for path in folder.rglob("*.png"):
        store.upload(path, f"images/{path.relative_to(folder).as_posix()}")
    return f"{s3_address}/images"


@pytest.fixture
def proxied(s3: S3Server, address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """The server behind a proxy that counts requests and fails as it is told."""
    with faulty_proxy(s3.endpoint) as (endpoint, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield faults


def landing(address: str) -> subprocess.Popen[str]:
    """Another process of this machine, which uses the data set until its input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", LANDING, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def study_data(address: str) -> StudyData:
    splits = SplitConfig(train_per_class=3, internal_per_class=2, external_per_class=None, development_fraction=0.34, folds=2)
    return load_data(DataConfig(internal=SourceConfig(kind="class-folders", path=address), splits=splits))


def put(address: str, size: int) -> str:
    """A data set of one file of so many bytes; its address."""
    open_store(address).write_bytes("file.bin", os.urandom(size))
    return address


def test_it_lands_once_and_is_what_lies_in_the_bucket(address: str, folder: Path, proxied: Faults) -> None:
    landed = land(address)
    assert contents(landed.path) == contents(folder)
    assert landed.path.name == "images"
    assert (proxied.seen["listings"], proxied.seen["GET"]) == (1, FILES)

    again = land(address)
    assert again == landed
    assert (proxied.seen["listings"], proxied.seen["GET"]) == (2, FILES)
    assert landed.here() == landed
    assert proxied.seen["requests"] == FILES + 2  # who knows the snapshot asks nothing


def test_the_digest_is_that_of_a_local_folder(address: str, folder: Path, s3: S3Server) -> None:
    marker = address.partition("://")[2].partition("/")[2] + "/benign/"
    s3.owner().put_object(Bucket="tests", Key=marker, Body=b"")  # a console makes it to show a folder
    splits = SplitConfig(train_per_class=3, internal_per_class=2, external_per_class=None, development_fraction=0.34, folds=2)

    def digest(path: str) -> str:
        return load_data(DataConfig(internal=SourceConfig(kind="class-folders", path=path), splits=splits)).digest

    assert digest(address) == digest(str(folder))


def test_a_manifest_lands_with_the_files_that_it_names(address: str, folder: Path, tmp_path: Path, proxied: Faults) -> None:
    beside = shutil.copytree(folder, tmp_path / "images")
    manifest = read_source("class-folders", beside).manifest
    few = manifest.with_records(manifest.records[:5])
    write_manifest(few, beside / "few.csv")
    open_store(address).upload(beside / "few.csv", "few.csv")
    proxied.seen.clear()

    landed = land(f"{address}/few.csv")

    assert read_manifest(landed.path).digest() == few.digest()
    assert len(contents(landed.folder)) == 6
    assert proxied.seen["GET"] == 7  # the table is read to know what it names


def test_another_machine_fills_its_own_cache_at_another_path(
    address: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = study_data(address)
    assert here.here() is here

    monkeypatch.setenv("WSUS_CACHE_DIR", str(tmp_path / "other"))
    there = here.here()

    assert all(record.path.is_relative_to(tmp_path / "other") for record in there.manifest.records)
    assert there.manifest.digest() == here.digest
    assert there.here() is there


@pytest.mark.slow
def test_processes_at_the_same_time_download_once(address: str, proxied: Faults) -> None:
    proxied.delay_s = 0.1
    others = [landing(address) for _ in range(3)]
    found = {one.communicate(timeout=60)[0].strip() for one in others}
    assert [one.returncode for one in others] == [0, 0, 0]
    assert found == {str(land(address).path)}
    assert proxied.seen["GET"] == FILES


@pytest.mark.slow
def test_a_killed_download_is_not_whole_and_the_next_goes_on(
    address: str, folder: Path, cache: Path, proxied: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_THREADS", 1)
    code = f"from wsus.data import remote; remote._THREADS = 1; {LANDING}"
    proxied.delay_s = 0.3
    killed = subprocess.Popen([sys.executable, "-c", code, address], stdin=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while proxied.seen["GET"] < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.kill()
    killed.wait(30)
    proxied.delay_s = 0.0
    (entry,) = (path for path in (cache / "sets").iterdir() if path.is_dir())
    assert not (entry / "landed.json").exists()
    there = len(contents(entry / "images"))
    assert 3 <= there < FILES
    time.sleep(0.5)  # what the proxy still answers the killed one
    before = proxied.seen["GET"]

    assert contents(land(address).path) == contents(folder)
    assert proxied.seen["GET"] - before == FILES - there
    assert sorted(path.name for path in entry.iterdir()) == ["images", "landed.json"]


def test_cuts_and_refusals_are_passed_over(address: str, folder: Path, proxied: Faults) -> None:
    proxied.error_share, proxied.cut_downloads = 0.2, 3
    assert contents(land(address).path) == contents(folder)
    assert proxied.seen["cut_downloads"] == 3


def test_damage_on_the_way_is_seen(s3: S3Server, s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stored checksum botocore sees it and asks again; without one the MD5 does, and nothing is left to be used."""
    store = open_store(f"{s3_address}/checked")
    store.write_bytes("a.bin", CONTENT)
    key = s3_address.partition("tests/")[2] + "/plain/a.bin"
    plain = s3.owner()
    plain.meta.config.request_checksum_calculation = "when_required"
    plain.put_object(Bucket="tests", Key=key, Body=CONTENT)
    with faulty_proxy(s3.endpoint) as (endpoint, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        faults.spoilt_downloads = 1
        assert (land(f"{s3_address}/checked").path / "a.bin").read_bytes() == CONTENT
        faults.spoilt_downloads = 1
        with pytest.raises(StoreError, match=r"/plain/a\.bin: 3,800 bytes with the MD5 .* arrived, .* run the same line again"):
            land(f"{s3_address}/plain")
        assert faults.seen["spoilt_downloads"] == 2
        assert (land(f"{s3_address}/plain").path / "a.bin").read_bytes() == CONTENT


def test_an_object_that_changes_while_the_set_lands_is_told(address: str) -> None:
    def replace(_: str) -> None:
        open_store(address).write_bytes("benign/0.png", b"another")

    with pytest.raises(ChangedError, match=r"/benign/0\.png: was replaced or deleted since it was listed"):
        land(address, say=replace)

    def delete(_: str) -> None:
        open_store(address).delete("malignant/1.png")

    with pytest.raises(ChangedError, match=r"/malignant/1\.png: was replaced or deleted since it was listed"):
        land(address, say=delete)


def test_a_set_that_is_another_by_now_is_not_taken_for_it(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = land(address)
    open_store(address).write_bytes("benign/0.png", b"another")
    assert land(address).path != first.path
    monkeypatch.setenv("WSUS_CACHE_DIR", str(tmp_path / "other"))
    with pytest.raises(ChangedError, match=r"the data set is not the one that was read first .* --name"):
        first.here()


def test_the_longest_unused_makes_room_and_one_in_use_never(
    s3_address: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSUS_DATA_CACHE_GB", str(250_000 / remote.GB))
    one, two, three = (put(f"{s3_address}/{name}", 100_000) for name in ("one", "two", "three"))
    paths = {name: land(name).path for name in (one, two)}
    let_go()
    land(one)  # used again, so that two is the older
    let_go()
    paths[three] = land(three).path
    assert [paths[name].exists() for name in (one, two, three)] == [True, False, True]

    land(one)
    with pytest.raises(StoreError, match=r"/two: 0\.0001 GB, beside 0\.0002 GB of data sets in use .* WSUS_DATA_CACHE_GB higher"):
        land(two)
    assert paths[one].exists()
    assert paths[three].exists()


@pytest.mark.slow
def test_a_set_that_another_process_uses_stays(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSUS_DATA_CACHE_GB", str(150_000 / remote.GB))
    one, two = put(f"{s3_address}/one", 100_000), put(f"{s3_address}/two", 100_000)
    other = landing(one)
    assert other.stdout is not None
    path = Path(other.stdout.readline().strip())
    with pytest.raises(StoreError, match="in use on this machine"):
        land(two)
    assert path.exists()
    other.kill()  # however it ends
    other.communicate(timeout=30)
    land(two)
    assert not path.exists()


def test_a_killed_removal_leaves_no_whole_set(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = put(f"{s3_address}/one", 1000)
    path = land(one).path
    let_go()
    (path.parent / "landed.json").unlink()  # as far as a removal came
    (path / "file.bin").unlink()
    assert land(one).path == path
    assert (path / "file.bin").stat().st_size == 1000


def test_locks_of_sets_are_shared_by_those_who_use_them(s3_address: str) -> None:
    path = land(put(f"{s3_address}/one", 1000)).path
    with (path.parents[1] / f".{path.parent.name}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_is_too_large_is_said_before_anything_is_downloaded(
    address: str, proxied: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSUS_DATA_CACHE_GB", "1e-6")
    with pytest.raises(StoreError, match="at most 1e-06 GB are kept on a machine: set WSUS_DATA_CACHE_GB higher"):
        land(address)
    monkeypatch.setenv("WSUS_DATA_CACHE_GB", "many")
    with pytest.raises(ConfigError, match=r"WSUS_DATA_CACHE_GB: gigabytes above 0 .* got 'many'"):
        land(address)
    monkeypatch.delenv("WSUS_DATA_CACHE_GB")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 100, 100))
    with pytest.raises(StoreError, match="GB are free; make room or set WSUS_CACHE_DIR to another folder"):
        land(address)
    assert proxied.seen["GET"] == 0


def test_bad_addresses_and_keys_are_told(address: str, s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"/imagse: nothing lies below this address; correct the bucket or the prefix in --data"):
        land(f"{s3_address}/imagse")
    with pytest.raises(StoreError, match=r"/images/all\.csv: no such manifest in the bucket"):
        land(f"{address}/all.csv")
    with pytest.raises(StoreError, match=r"has no bucket 'no-such-bucket': make it, or change the address .*--data"):
        land("s3://no-such-bucket/images")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="the secret does not belong to the key: set AWS_SECRET_ACCESS_KEY"):
        land(address)


def test_who_may_not_is_told_what_to_allow(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", GUEST[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", GUEST[1])
    with pytest.raises(StoreError, match=r"the credentials do not allow it, .*: allow s3:ListBucket on 'tests'"):
        land(address)


def test_a_whole_bucket_is_a_set_and_files_of_several_parts_too(s3: S3Server, s3_address: str) -> None:
    bucket, large = f"whole-{s3_address.split('/')[3]}", os.urandom(PIECE_BYTES + 100_000)
    s3.owner().create_bucket(Bucket=bucket)
    s3.owner().put_object(Bucket=bucket, Key="one/whole.bin", Body=large)
    s3.owner().upload_fileobj(io.BytesIO(large), bucket, "parts.bin")
    assert s3.owner().head_object(Bucket=bucket, Key="parts.bin")["ETag"].endswith('-2"')
    landed = land(f"s3://{bucket}")
    assert landed.path.name == bucket
    assert contents(landed.path) == {"one/whole.bin": large, "parts.bin": large}


def test_who_may_read_alone_can_land(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER[1])
    assert contents(land(address).path) == contents(folder)


def test_the_commands_take_a_set_in_the_bucket(address: str, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "manifest.csv"
    told = CliRunner().invoke(app, ["data", "import", "class-folders", address, "--manifest", str(table)])
    assert told.exit_code == 0, told.output
    assert f"{FILES} images taken, 0 left out" in told.output
    open_store(address).upload(table, "manifest.csv")
    local = read_source("class-folders", folder).manifest
    assert read_manifest(land(f"{address}/manifest.csv").path).digest() == local.digest()

    for source in (f"class-folders={address}", f"{address}/manifest.csv"):
        told = CliRunner().invoke(app, ["data", "audit", source, "--json"])
        assert (told.exit_code, json.loads(told.output)["images"]) == (0, FILES), source
    told = CliRunner().invoke(app, ["data", "import", "class-folders", address])
    assert "say where to write the manifest: --manifest CSV" in str(told.exception)


def test_what_a_node_sees_in_the_bucket_is_compared(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = with_settings(address)
    before = snapshot_of(everywhere)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert snapshot_of(everywhere) == before  # the settings travel in the address
    open_store(everywhere).write_bytes("benign/0.png", b"another")
    assert snapshot_of(everywhere) != before
