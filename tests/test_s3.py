"""The store on a real S3 server: whole objects, one writer, clear refusals, and a network that fails."""

from __future__ import annotations

import logging
import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from pyarrow import fs
from s3_server import READER, WRITER, Faults, S3Server, faulty_proxy

from tune_jobs.tune_storage import tune_location
from wsus.errors import BundleError, ChangedError, ConfigError, StoreError
from wsus.models.registry import list_models, publish_model
from wsus.storage import Store, Tagged, open_store
from wsus.storage.s3 import PIECE_BYTES, S3Store
from wsus.storage.s3_errors import hint
from wsus.storage.s3_settings import S3Settings

pytestmark = pytest.mark.s3
LARGE = PIECE_BYTES + 100_000  # two parts


@pytest.fixture
def store(s3_address: str) -> S3Store:
    opened = open_store(s3_address)
    assert isinstance(opened, S3Store)
    return opened


@pytest.fixture
def proxied(s3: S3Server, s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Faults]]:
    """The store behind a proxy that fails as it is told."""
    with faulty_proxy(s3.endpoint) as (endpoint, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield open_store(s3_address), faults


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    return path


def test_objects_come_back_and_are_listed(store: S3Store) -> None:
    assert store.keys() == []
    store.write_bytes("a/b/c.txt", b"one")
    store.write_bytes("a/d.txt", b"two")
    store.write_bytes("ab/e.txt", b"three")
    assert store.keys() == ["a/b/c.txt", "a/d.txt", "ab/e.txt"]
    assert store.keys("a") == ["a/b/c.txt", "a/d.txt"]
    assert store.children("a") == ["b", "d.txt"]
    assert store.exists("a/d.txt")
    assert not store.exists("a/b")
    assert store.delete_below("a") == 2
    assert store.keys() == ["ab/e.txt"]
    store.check_writable()
    with pytest.raises(StoreError, match=r"/a/d\.txt: cannot be read .*NoSuchKey"):
        store.read_bytes("a/d.txt")


def test_large_file_goes_in_parts_and_comes_back(store: S3Store, s3: S3Server, large: Path, tmp_path: Path) -> None:
    store.upload(large, "x/large.bin")
    store.download("x/large.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()
    head = s3.owner().head_object(Bucket=store.bucket, Key=f"{store.prefix}/x/large.bin", ChecksumMode="ENABLED")
    assert head["ETag"].endswith('-2"')
    assert head["ChecksumSHA256"].endswith("-2")


def test_encryption_is_asked_for_with_every_write(s3: S3Server, s3_address: str, large: Path) -> None:
    store = open_store(f"{s3_address}?sse=AES256")
    assert isinstance(store, S3Store)
    store.write_bytes("x", b"1")
    store.write_if("y", b"2", None)
    store.upload(large, "z")
    for key in ("x", "y", "z"):
        head = s3.owner().head_object(Bucket=store.bucket, Key=f"{store.prefix}/{key}")
        assert head["ServerSideEncryption"] == "AES256", key
    assert open_store(store.locator).read_bytes("x") == b"1"


def test_conditional_write_takes_one_writer(store: S3Store) -> None:
    first = store.write_if("x", b"1", None)
    with pytest.raises(ChangedError, match="/x: another writer was first"):
        store.write_if("x", b"2", None)
    second = store.write_if("x", b"3", first)
    with pytest.raises(ChangedError, match="another writer was first"):
        store.write_if("x", b"4", first)
    assert store.read_tagged("x") == Tagged(b"3", second)
    assert store.read_tagged("none") is None
    with pytest.raises(ChangedError, match="another writer was first"):
        store.write_if("none", b"5", second)


def test_publishers_at_the_same_time_get_a_version_and_an_alias_each(store: S3Store, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")

    def publish(number: int) -> int:
        return publish_model(open_store(store.address), "m", tmp_path, alias=f"a{number}").version

    with ThreadPoolExecutor(5) as pool:
        versions = list(pool.map(publish, range(5)))
    assert sorted(versions) == [1, 2, 3, 4, 5]
    assert store.read_json("models/m/aliases.json") == {f"a{n}": version for n, version in enumerate(versions)}
    assert [model.version for model in list_models(store)] == [1, 2, 3, 4, 5]


def test_listing_does_not_read_every_object(store: S3Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.write_bytes(f"studies/s/tune/trial-{n}/result.json", b"{}"), range(1200)))
    store.write_bytes("studies/s/study.json", b"{}")
    asked: list[str] = []
    store._client.meta.events.register("before-send.s3.*", lambda request, **_: asked.append(f"{request.method} {request.url}"))
    assert store.children("studies") == ["s"]
    assert store.children("studies/s") == ["study.json", "tune"]
    assert len(asked) == 2
    asked.clear()
    assert len(store.children("studies/s/tune")) == 1200
    assert len(asked) == 2  # two pages of 1,000
    assert all("list-type=2" in one for one in asked)


def test_state_of_ray_tune_lies_in_the_same_place(store: S3Store, tmp_path: Path) -> None:
    path, filesystem = tune_location(store, "studies/s/tune")
    assert filesystem is not None
    source = tmp_path / "checkpoint"
    (source / "deep").mkdir(parents=True)
    (source / "a.bin").write_bytes(b"alpha")
    (source / "deep" / "b.bin").write_bytes(os.urandom(LARGE))
    fs.copy_files(str(source), f"{path}/c", destination_filesystem=filesystem)
    assert store.keys("studies/s") == ["studies/s/tune/c/a.bin", "studies/s/tune/c/deep/b.bin"]
    fs.copy_files(f"{path}/c", str(tmp_path / "back"), source_filesystem=filesystem)
    assert (tmp_path / "back/deep/b.bin").read_bytes() == (source / "deep/b.bin").read_bytes()

    kinds = [info.type for info in filesystem.get_file_info([f"{path}/c", f"{path}/c/a.bin", f"{path}/none"])]
    assert kinds == [fs.FileType.Directory, fs.FileType.File, fs.FileType.NotFound]
    listed = {info.path: info.type for info in filesystem.get_file_info(fs.FileSelector(f"{path}/c"))}
    assert listed == {f"{path}/c/a.bin": fs.FileType.File, f"{path}/c/deep": fs.FileType.Directory}
    filesystem.delete_dir(f"{path}/c")
    assert store.keys() == []


def test_state_that_is_as_it_was_is_not_sent_again(proxied: tuple[Store, Faults], tmp_path: Path) -> None:
    store, faults = proxied
    path, filesystem = tune_location(store, "studies/s/tune")
    assert filesystem is not None
    (tmp_path / "trial/checkpoint_000000").mkdir(parents=True)
    files = {name: tmp_path / "trial" / name for name in ("params.json", "result.json", "checkpoint_000000/fit.pt")}

    def written(**changed: bytes) -> int:
        for name, content in changed.items():
            files[f"{name}.json"].write_bytes(content)
        before = faults.seen["PUT"]
        fs.copy_files(str(tmp_path / "trial"), path, destination_filesystem=filesystem)
        return faults.seen["PUT"] - before

    files["checkpoint_000000/fit.pt"].write_bytes(b"weights")
    assert written(params=b"{}", result=b"1") == 3
    assert written(result=b"1, 2") == 2
    assert written() == 1, "a checkpoint is written whatever was before: another process may have deleted it"
    assert store.read_bytes(f"{path}/result.json") == b"1, 2"
    filesystem.delete_file(f"{path}/params.json")
    assert written() == 2
    filesystem.delete_dir(path)
    assert store.keys(path) == []
    assert written() == 3
    assert store.keys(path) == sorted(f"{path}/{name}" for name in files)


def test_file_systems_of_a_process_share_a_client(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune hands on each checkpoint with a file system of its own; a client each would cost more than the upload."""
    path, filesystem = tune_location(store, "studies/s/tune")
    assert filesystem is not None
    store.write_bytes(f"{path}/a", b"1")
    made = []
    connect = S3Store._connect
    monkeypatch.setattr(S3Store, "_connect", lambda self: made.append(self) or connect(self))
    for _ in range(3):
        copy = pickle.loads(pickle.dumps(filesystem))
        assert copy.get_file_info(f"{path}/a").size == 1
    assert len(made) == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("AWS_ACCESS_KEY_ID", "stranger", "does not know the key: set AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "the secret does not belong to the key: set AWS_SECRET_ACCESS_KEY"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "127.0.0.1:9 does not answer: set AWS_ENDPOINT_URL"),
        ("AWS_PROFILE", "nobody", "AWS_PROFILE names a profile"),
    ],
)
def test_wrong_setting_is_named(
    variable: str, value: str, message: str, s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsus.storage.s3._FIRST_PATIENCE_S", 0.0)
    monkeypatch.setenv(variable, value)
    with pytest.raises(StoreError, match=message):
        open_store(s3_address).check_writable()


def test_missing_credentials_are_named(s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="no credentials were found: set AWS_ACCESS_KEY_ID"):
        open_store(s3_address).check_writable()


def test_missing_bucket_is_named(s3_address: str) -> None:
    with pytest.raises(StoreError, match="has no bucket 'no-such-bucket': make it, or change the address"):
        open_store("s3://no-such-bucket/prefix").keys()


def test_missing_permission_is_named(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER[1])
    store = open_store(s3_address)
    assert store.keys() == []
    with pytest.raises(StoreError, match=r"the credentials do not allow it, .*: allow s3:PutObject on"):
        store.check_writable()


def test_credentials_that_were_replaced_are_read_again(s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = expired\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store(s3_address)
    with pytest.raises(StoreError, match="does not know the key"):
        store.write_bytes("x", b"1")
    file.write_text(f"[default]\naws_access_key_id = {WRITER[0]}\naws_secret_access_key = {WRITER[1]}\n")
    store.write_bytes("x", b"1")
    assert store.read_bytes("x") == b"1"


def test_third_of_the_requests_may_fail(proxied: tuple[Store, Faults], large: Path, tmp_path: Path) -> None:
    store, faults = proxied
    faults.error_share = 0.3
    for number in range(20):
        store.write_if(f"small/{number}", b"%d" % number, None)
    store.upload(large, "large")
    store.download("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert [store.read_bytes(f"small/{number}") for number in range(20)] == [b"%d" % number for number in range(20)]
    assert faults.seen["500"] + faults.seen["503"] > 10


def test_cut_connection_leaves_no_half_object(proxied: tuple[Store, Faults], large: Path, tmp_path: Path) -> None:
    store, faults = proxied
    faults.cut_uploads = 3
    store.upload(large, "large")
    faults.cut_downloads = 2
    store.download("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert store.keys() == ["large"]
    assert faults.seen["cut_uploads"] == 3
    assert faults.seen["cut_downloads"] == 2


def test_conditional_write_whose_answer_was_lost_is_ours(proxied: tuple[Store, Faults]) -> None:
    store, faults = proxied
    faults.lose_answers = 1
    tag = store.write_if("x", b"ours", None)
    assert faults.seen["lose_answers"] == 1
    assert store.read_tagged("x") == Tagged(b"ours", tag)


def test_server_that_is_down_for_a_while_is_waited_for(proxied: tuple[Store, Faults], caplog: pytest.LogCaptureFixture) -> None:
    store, faults = proxied
    store.write_bytes("x", b"1")
    faults.down = True
    timer = threading.Timer(6, lambda: setattr(faults, "down", False))
    timer.start()
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, logger="wsus.storage"):
        assert store.read_bytes("x") == b"1"
    assert time.monotonic() - start > 5
    waiting, again = (record.getMessage() for record in caplog.records)
    assert "does not answer: set AWS_ENDPOINT_URL" in waiting
    assert "waiting, " in waiting
    assert "answers again after" in again


def test_patience_ends(s3: S3Server, s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSUS_S3_PATIENCE_S", "1")
    with faulty_proxy(s3.endpoint) as (endpoint, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = open_store(s3_address)
        store.write_bytes("x", b"1")
        faults.down = True
        with pytest.raises(StoreError, match=r"/x: cannot be read .* does not answer"):
            store.read_bytes("x")


def test_upload_of_a_killed_writer_is_cleaned(store: S3Store, s3: S3Server) -> None:
    begun = {"Bucket": store.bucket, "Key": f"{store.prefix}/models/m/1/model.safetensors"}
    s3.owner().create_multipart_upload(**begun)
    assert store.clean(older_than_s=3600) == 0
    assert store.clean(older_than_s=-5) == 1
    assert s3.owner().list_multipart_uploads(Bucket=store.bucket, Prefix=store.prefix).get("Uploads", []) == []


def test_damaged_object_is_refused(store: S3Store, tmp_path: Path) -> None:
    source = tmp_path / "made"
    source.mkdir()
    (source / "a.txt").write_text("alpha")
    store.publish(source, "p")
    store.write_bytes("p/a.txt", b"changed")
    with pytest.raises(BundleError, match=r"p/a\.txt: its SHA-256 is not the one"):
        store.fetch("p", tmp_path / "fetched")


def refused(code: str, status: int) -> ClientError:
    """What AWS answers, by its list of error responses."""
    return ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (refused("PermanentRedirect", 301), "another region than eu-west-1: set AWS_REGION"),
        (refused("AuthorizationHeaderMalformed", 400), "another region than eu-west-1: set AWS_REGION"),
        (refused("ExpiredToken", 400), "have expired and could not be refreshed: set AWS_SESSION_TOKEN"),
        (refused("NoSuchBucket", 404), "AWS has no bucket 'bucket'"),
        (refused("RequestTimeTooSkewed", 403), "clock is wrong by more than 15 minutes"),
        (refused("NotImplemented", 501), "does not know conditional writes"),
        (refused("KMS.DisabledException", 400), "set WSUS_S3_KMS_KEY, or allow kms:GenerateDataKey"),
    ],
)
def test_refusals_that_this_server_does_not_give_are_named_too(error: ClientError, message: str) -> None:
    assert message in hint(error, "written", "bucket", S3Settings(region="eu-west-1"))


def test_settings_of_the_address_come_over_those_of_the_environment_and_travel() -> None:
    environment = {"AWS_ENDPOINT_URL": "http://a:1", "AWS_REGION": "eu-west-1", "WSUS_S3_PATIENCE_S": "60"}
    settings = S3Settings.of("endpoint=https://b&sse=aws:kms&kms_key=k", environment)
    assert settings == S3Settings(endpoint="https://b", region="eu-west-1", sse="aws:kms", kms_key="k", patience_s=60)
    assert S3Settings.of(settings.query, {}) == settings
    assert settings.addressing_style == "path"
    assert S3Settings.of("addressing=virtual&endpoint=https://b", {}).addressing_style == "virtual"
    assert S3Settings.of("", {}).query == ""


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("regoin=x", "unknown setting of an s3:// address 'regoin'. Did you mean 'region'"),
        ("endpoint=localhost:9000", "AWS_ENDPOINT_URL: expected http://host:port or https://host"),
        ("sse=yes", "WSUS_S3_SSE: AES256 or aws:kms; got 'yes'"),
        ("kms_key=k", "WSUS_S3_KMS_KEY: only with WSUS_S3_SSE=aws:kms"),
        ("patience_s=long", "WSUS_S3_PATIENCE_S: seconds, 0 or more; got 'long'"),
        ("addressing=x", "WSUS_S3_ADDRESSING: path, virtual or auto; got 'x'"),
    ],
)
def test_settings_that_cannot_be_are_refused(query: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        S3Settings.of(query, {})
