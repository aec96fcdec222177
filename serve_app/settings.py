"""How the serving application is set up: the `args` of Ray Serve's config file, or the options of `wsus serve`."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from wsus.errors import ConfigError
from wsus.models.registry import PRODUCTION

MIB = 1024 * 1024
APP_NAME = "wsus"
STORE_VARIABLE = "WSUS_STORE"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Limits(_Frozen):
    """What a client may send. Times are in seconds.

    max_bytes: one image.  max_body_bytes: a whole request.  max_items: of a batch.  max_frames: of one file, where all of
    them are asked for.  body_timeout_s: until the last byte of a request has come.
    decode_timeout_s: then the decoder's process is ended.  decode_memory_bytes: address space of a decoder's process.
    request_timeout_s: from the first byte to the answer; of a batch, what is not answered by then has a problem in its place.
    stream_timeout_s: the same of a stream.  read_timeout_s: for a client to take 64 KiB of an answer.
    max_array_pixels: of maps as numbers in one answer, four bytes each.  max_batches: inside at once, of one ingress.
    token_requests: of one token, under way at once.  token_images_per_minute: of a token that has no number of its own; None
        for no limit. Each ingress counts for itself.
    """

    max_bytes: int = Field(32 * MIB, ge=1024)
    max_body_bytes: int = Field(64 * MIB, ge=1024)
    max_pixels: int = Field(40_000_000, ge=256)
    max_items: int = Field(16, ge=1, le=256)
    max_frames: int = Field(256, ge=1)
    body_timeout_s: float = Field(30.0, gt=0)
    decode_timeout_s: float = Field(10.0, gt=0)
    decode_memory_bytes: int = Field(2048 * MIB, ge=256 * MIB)
    request_timeout_s: float = Field(60.0, gt=0)
    stream_timeout_s: float = Field(1800.0, gt=0)
    read_timeout_s: float = Field(30.0, gt=0)
    max_array_pixels: int = Field(4_000_000, ge=256)
    max_batches: int = Field(8, ge=1)
    token_requests: int = Field(128, ge=1)
    token_images_per_minute: int | None = Field(None, ge=1)

    @property
    def proxy_timeout_s(self) -> float:
        """What the proxy before the application grants a request: more than the application does, which says why it ends."""
        return self.body_timeout_s + max(self.request_timeout_s, self.stream_timeout_s) + 30

    @model_validator(mode="after")
    def _body_holds_an_image(self) -> Limits:
        if self.max_body_bytes < self.max_bytes:
            raise ValueError(f"max_body_bytes ({self.max_body_bytes}) is smaller than max_bytes ({self.max_bytes})")
        return self


class ServeSettings(_Frozen):
    """The whole application.

    store, model, alias: which published model answers; without `store`, of the one that the environment's WSUS_STORE names;
        without `model`, the only one in the store.
    tokens_file: hashed bearer tokens (`wsus tokens add`); without it only `insecure` starts, which needs a loopback address.
    audit_log: a file that gets a line for each image (`serve_app.audit`); None for none.
    require_signature: a file of public keys (PEM); only versions that one of them signed are loaded (`wsus models sign`).
    s3_prefixes: addresses below these may be named by clients (`s3://bucket/prefix/`); none by default.
    engine, threads: `wsus.inference.engines.choose`; threads inside a replica, None for its share of the cores that
        its machine or container grants.
    poll_s: how often a replica looks whether the alias has moved.
    max_batch_size: images per pass.
    max_queue: images that an ingress decodes or has answered at once; requests beyond that are asked to come again. None for two
        batches per predictor, shared among the ingresses (more would not be answered sooner, only wait longer), and at least the
        items of one request. 0 lets nobody in.
    min_replicas, max_replicas, num_cpus, num_gpus: of the predictor.  ingress_replicas, decode_workers: of the ingress.
    """

    store: str
    model: str | None = None
    alias: str = PRODUCTION
    tokens_file: str | None = None
    insecure: bool = False
    audit_log: str | None = None
    require_signature: str | None = None
    s3_prefixes: tuple[str, ...] = ()
    engine: Literal["auto", "torch", "onnx"] = "auto"
    threads: int | None = Field(None, ge=1)
    poll_s: float = Field(5.0, gt=0)
    max_batch_size: int = Field(8, ge=1, le=256)
    max_queue: int | None = Field(None, ge=0)
    retry_after_s: int = Field(2, ge=1)
    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    num_cpus: float = Field(1.0, ge=0)
    num_gpus: float = Field(0.0, ge=0)
    ingress_replicas: int = Field(1, ge=1)
    decode_workers: int = Field(2, ge=1)
    limits: Limits = Limits()

    @property
    def queue(self) -> int:
        """`max_queue`, or what follows from the number of predictors."""
        if self.max_queue is not None:
            return self.max_queue
        return max(self.limits.max_items, -(-2 * self.max_batch_size * self.max_replicas // self.ingress_replicas))

    @model_validator(mode="before")
    @classmethod
    def _store_of_the_environment(cls, values: Any) -> Any:
        named = os.environ.get(STORE_VARIABLE)
        return {"store": named, **values} if named and isinstance(values, dict) else values

    @field_validator("s3_prefixes")
    @classmethod
    def _prefixes_end_in_a_slash(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            if not prefix.startswith("s3://") or not prefix.endswith("/") or prefix.count("/") < 3:
                raise ValueError(f"a prefix looks like s3://bucket/folder/ with the last slash; got {prefix!r}")
        return prefixes

    @model_validator(mode="after")
    def _protected_or_said_so(self) -> ServeSettings:
        if self.tokens_file is None and not self.insecure:
            raise ValueError("tokens_file is missing: make one with `wsus tokens add`, or set insecure (this machine alone)")
        if self.tokens_file is not None and self.insecure:
            raise ValueError("tokens_file and insecure exclude each other: with insecure the tokens would not be asked for")
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas ({self.max_replicas}) is smaller than min_replicas ({self.min_replicas})")
        return self


def settings_from(args: dict[str, Any]) -> ServeSettings:
    """Settings from plain values. Raises ConfigError, naming each setting that is wrong."""
    try:
        return ServeSettings(**args)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"serving: {wrong}") from error
