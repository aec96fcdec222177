"""Images that clients name by address: s3:// below an allowed prefix, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serve_app.problems import ProblemError

_MISSING = ("NoSuchKey", "NoSuchBucket", "404")


class ObjectReader:
    """Reads objects below a few prefixes, with this process's credentials. Without prefixes everything is refused."""

    def __init__(self, prefixes: Sequence[str], max_bytes: int, *, retry_after_s: int) -> None:
        self._prefixes, self._max_bytes, self._retry_after_s = tuple(prefixes), max_bytes, retry_after_s
        self._client: Any = None

    def read(self, address: str) -> bytes:
        """An object's content.

        Raises:
            ProblemError: 403 outside the prefixes, 404 no such object, 413 too large, 503 the object store refuses.
        """
        if not address.startswith(self._prefixes) or "/../" in address or "/./" in address:
            raise ProblemError(403, "address_not_allowed", "the address lies outside the prefixes that are allowed here")
        bucket, _, key = address.removeprefix("s3://").partition("/")
        if not key or key.endswith("/"):
            raise ProblemError(422, "invalid_address", "the address names no object; expected s3://bucket/folder/file")
        return self._content(bucket, key)

    def _content(self, bucket: str, key: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = self._s3().get_object(Bucket=bucket, Key=key)
            if found["ContentLength"] > self._max_bytes:
                raise ProblemError(413, "too_large", f"the object is larger than {self._max_bytes:,} bytes")
            return bytes(found["Body"].read(self._max_bytes))
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                raise ProblemError(404, "no_such_object", "no object lies under this address") from error
            raise self._unreachable() from error
        except BotoCoreError as error:
            raise self._unreachable() from error

    def _s3(self) -> Any:
        if self._client is None:
            import boto3
            from botocore.config import Config

            config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})
            self._client = boto3.client("s3", config=config)
        return self._client

    def _unreachable(self) -> ProblemError:
        return ProblemError(
            503, "object_store", "the object store did not answer or refused this server", retry_after_s=self._retry_after_s
        )
