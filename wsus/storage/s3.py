"""A store in a bucket of S3 or of a server that speaks it."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

from wsus.errors import ChangedError, StoreError
from wsus.storage.base import Store, Tagged, clean_key
from wsus.storage.files import os_errors
from wsus.storage.s3_errors import CHANGED, error_code, hint, http_status, may_pass, wants_new_credentials
from wsus.storage.s3_settings import S3Settings

if TYPE_CHECKING:
    pass

_log = logging.getLogger(__name__)
T = TypeVar("T")
PIECE_BYTES = 8 * 2**20  # of multipart uploads and ranged downloads
_FIRST_PATIENCE_S = 8.0  # for a server that never answered: most likely a typing mistake
_LONGEST_PAUSE_S = 5.0
_MOST_PER_DELETE = 1000  # what DeleteObjects takes
_MD5 = re.compile(r'"[0-9a-f]{32}"')


class Listed(NamedTuple):
    """An object as a listing gave it: what a later reading must still find. key: of the store.  etag: with its quotes."""

    key: str
    size: int
    etag: str


class S3Store(Store):
    """A store in a bucket, through boto3 and its usual chain of credentials (web identity included).

    Requests are retried twice over: by botocore (a few times, with jitter), then by `_ask`, which waits for a server
    that is down for up to `settings.patience_s` and says so in the log.
    """

    def __init__(self, bucket: str, prefix: str = "", settings: S3Settings | None = None, *, patient: bool = False) -> None:
        self.bucket, self.prefix = bucket, prefix.strip("/")
        self.settings = settings or S3Settings.of()
        self.address = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self._has_answered = patient
        self._renewing = threading.Lock()
        self._client, self._credentials = self._connect()

    @property
    def locator(self) -> str:
        query = self.settings.query
        return f"{self.address}?{query}" if query else self.address

    def read_bytes(self, key: str) -> bytes:
        return self._ask(key, "read", lambda: bytes(self._get(key)["Body"].read()))

    def read_tagged(self, key: str) -> Tagged | None:
        def get() -> Tagged | None:
            try:
                answer = self._get(key)
            except self._client.exceptions.NoSuchKey:
                return None
            return Tagged(bytes(answer["Body"].read()), answer["ETag"])

        return self._ask(key, "read", get)

    def write_bytes(self, key: str, content: bytes) -> None:
        self._ask(key, "written", lambda: self._put(key, content))

    def write_if(self, key: str, content: bytes, tag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}

        def put() -> str | None:
            from botocore.exceptions import ClientError

            try:
                return str(self._put(key, content, **condition)["ETag"])
            except ClientError as error:
                gone = tag is not None and error_code(error) == "NoSuchKey"
                if error_code(error) in CHANGED or gone:
                    return None
                raise

        new_tag = self._ask(key, "written", put)
        if new_tag is not None:
            return new_tag
        lies_there = self.read_tagged(key)
        if lies_there is not None and lies_there.content == content:
            return lies_there.tag  # our own earlier attempt, whose answer was lost
        raise ChangedError(f"{self.url(key)}: another writer was first; run the same line again")

    def upload(self, path: Path, key: str) -> None:
        with os_errors(str(path), "read"), path.open("rb") as source:
            self.upload_stream(source, key)

    def upload_stream(self, source: IO[bytes], key: str) -> None:
        """Copy what an open file holds, from its beginning, to a key; in several parts where it is large."""

        def put() -> None:
            source.seek(0)
            content = source.read(PIECE_BYTES)
            if len(content) < PIECE_BYTES:
                self._put(key, content)  # a transfer manager starts threads for every file
                return
            source.seek(0)
            self._client.upload_fileobj(
                _KeptOpen(source),
                self.bucket,
                self._full(key),
                ExtraArgs=self.settings.write_arguments,
                Config=_transfer_config(),
            )

        self._ask(key, "written", put)

    def download(self, key: str, path: Path) -> None:
        def get() -> None:
            with path.open("wb") as target:
                self._client.download_fileobj(self.bucket, self._full(key), target, Config=_transfer_config())

        self._ask(key, "read", get)

    def download_listed(self, item: Listed, path: Path) -> None:
        """Copy an object to a local file in one stream, if it is still the one that was listed; verified and on the disk.

        botocore compares the checksum that was stored with the object, if one was; size and MD5 (the ETag of an object that
        was written in one part, and not with a key of KMS) are compared here.

        Raises:
            ChangedError: the object was replaced or deleted since.
            StoreError: what arrived is not what was stored.
        """
        with os_errors(str(path), "written"):
            size, md5 = self._ask(item.key, "read", lambda: self._stream_listed(item, path))
        if size != item.size or md5 not in (None, item.etag.strip('"')):
            raise StoreError(
                f"{self.url(item.key)}: {size:,} bytes with the MD5 {md5} arrived, {item.size:,} with {item.etag} were listed; "
                "it is damaged on the way or in the store: run the same line again, then upload it again"
            )

    def _stream_listed(self, item: Listed, path: Path) -> tuple[int, str | None]:
        """The size of what arrived, and its MD5 where the ETag is one."""
        from botocore.exceptions import ClientError

        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full(item.key), IfMatch=item.etag)
        except ClientError as error:
            if error_code(error) not in (*CHANGED, "NoSuchKey"):
                raise
            raise ChangedError(
                f"{self.url(item.key)}: was replaced or deleted since it was listed; run the same line again when nobody writes "
                "there any more"
            ) from error
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        with path.open("wb") as target:
            for piece in answer["Body"].iter_chunks(2**20):
                digest.update(piece)
                size += target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        return size, digest.hexdigest() if _is_md5(item.etag, answer, self.bucket) else None

    def exists(self, key: str) -> bool:
        return self.head(key) is not None

    def head(self, key: str) -> dict[str, Any] | None:
        """What the server says of an object (`ContentLength`, `LastModified`); None where there is none."""

        def look() -> dict[str, Any] | None:
            from botocore.exceptions import ClientError

            try:
                return dict(self._client.head_object(Bucket=self.bucket, Key=self._full(key)))
            except ClientError as error:
                if http_status(error) == 404:
                    return None
                raise

        return self._ask(key, "looked up", look)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(self.key_of(item["Key"]) for page in self.pages(prefix) for item in page.get("Contents", []))

    def listed(self) -> Iterator[Listed]:
        """All objects of the store, a page at a time, without the empty ones that consoles make to stand for a folder."""
        for page in self.pages():
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):
                    yield Listed(self.key_of(item["Key"]), item["Size"], item["ETag"])

    def children(self, prefix: str = "") -> list[str]:
        names = set()
        for page in self.pages(prefix, Delimiter="/"):
            names |= {PurePosixPath(item["Key"]).name for item in page.get("Contents", [])}
            names |= {PurePosixPath(item["Prefix"]).name for item in page.get("CommonPrefixes", [])}
        return sorted(names)

    def delete(self, key: str) -> None:
        self._ask(key, "deleted", lambda: self._client.delete_object(Bucket=self.bucket, Key=self._full(key)))

    def delete_below(self, prefix: str) -> int:
        keys = [{"Key": self._full(key)} for key in self.keys(prefix)]
        for start in range(0, len(keys), _MOST_PER_DELETE):
            wanted = {"Objects": keys[start : start + _MOST_PER_DELETE], "Quiet": True}
            answer = self._ask(prefix, "deleted", lambda: self._client.delete_objects(Bucket=self.bucket, Delete=wanted))  # noqa: B023
            for refused in answer.get("Errors", []):
                raise StoreError(f"s3://{self.bucket}/{refused['Key']}: cannot be deleted ({refused.get('Message')})")
        return len(keys)

    def clean(self, *, older_than_s: float) -> int:
        """Abort multipart uploads that were begun and never ended: they are invisible, and are paid for."""
        below = f"{self.prefix}/" if self.prefix else ""
        found = self._ask("", "listed", lambda: self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=below))
        old = [item for item in found.get("Uploads", []) if _age_s(item["Initiated"]) >= older_than_s]
        for item in old:
            names = {"Bucket": self.bucket, "Key": item["Key"], "UploadId": item["UploadId"]}
            self._ask("", "deleted", lambda: self._client.abort_multipart_upload(**names))  # noqa: B023
        return len(old)

    def pages(self, prefix: str = "", **more: Any) -> Iterator[dict[str, Any]]:
        """The pages of a listing below a prefix, 1,000 keys each."""
        below = self._full(prefix) + "/" if prefix else (self.prefix + "/" if self.prefix else "")
        wanted: dict[str, Any] = {"Bucket": self.bucket, "Prefix": below, **more}
        while True:
            page = self._ask(prefix, "listed", lambda: self._client.list_objects_v2(**wanted))
            yield page
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def key_of(self, full: str) -> str:
        """A bucket's key as a key of this store."""
        return full[len(self.prefix) + 1 :] if self.prefix else full

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{clean_key(key)}" if self.prefix else clean_key(key)

    def _get(self, key: str) -> Any:
        return self._client.get_object(Bucket=self.bucket, Key=self._full(key))

    def _put(self, key: str, content: bytes, **more: str) -> Any:
        return self._client.put_object(
            Bucket=self.bucket, Key=self._full(key), Body=content, **self.settings.write_arguments, **more
        )

    def _connect(self) -> tuple[Any, Any]:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            retries={"mode": "standard", "max_attempts": 4},
            s3={"addressing_style": self.settings.addressing_style},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=16,
        )
        try:
            session = boto3.Session()
            client = session.client("s3", endpoint_url=self.settings.endpoint, region_name=self.settings.region, config=config)
            found = session.get_credentials()
            return client, found.get_frozen_credentials() if found else None
        except (BotoCoreError, ValueError) as error:
            raise self._error(error, "", "read") from error

    def _ask(self, key: str, verb: str, request: Callable[[], T]) -> T:
        """The request's answer. Raises StoreError where it is refused, or nobody answers for as long as patience lasts."""
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        start, said, pause_s = time.monotonic(), False, 0.2
        while True:
            try:
                answer = request()
            except (BotoCoreError, ClientError, HTTPError) as error:
                if wants_new_credentials(error) and self._renewed():
                    continue
                waited_s = time.monotonic() - start
                patience_s = self.settings.patience_s if self._has_answered else _FIRST_PATIENCE_S
                if not may_pass(error) or waited_s >= patience_s:
                    raise self._error(error, key, verb) from error
                level = logging.INFO if said else logging.WARNING
                _log.log(level, "%s; waiting, %.0f s so far of %.0f", self._error(error, key, verb), waited_s, patience_s)
                said = True
                time.sleep(random.uniform(0, pause_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self._has_answered = True
                if said:
                    _log.warning("%s: answers again after %.0f s", self.address, time.monotonic() - start)
                return answer

    def _renewed(self) -> bool:
        """Ask the chain for credentials again; whether it gave others than before."""
        with self._renewing:
            client, credentials = self._connect()
            if credentials is None or credentials == self._credentials:
                return False
            self._client, self._credentials = client, credentials
            return True

    def _error(self, error: BaseException, key: str, verb: str) -> StoreError:
        return StoreError(f"{self.url(key)}: cannot be {verb} ({error}); {hint(error, verb, self.bucket, self.settings)}")


class _KeptOpen:
    """An open file that a transfer may close; so that another attempt can read it again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.read, self.seek, self.tell = stream.read, stream.seek, stream.tell

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        return


def _is_md5(etag: str, answer: Mapping[str, Any], bucket: str) -> bool:
    """Whether S3 promises that this ETag is the MD5 of the content."""
    other = answer.get("ServerSideEncryption", "").startswith("aws:kms") or "SSECustomerAlgorithm" in answer
    return _MD5.fullmatch(etag) is not None and not other and not bucket.endswith("--x-s3")  # a directory bucket


def _transfer_config() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=PIECE_BYTES, multipart_chunksize=PIECE_BYTES, max_concurrency=4)


def _age_s(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()
