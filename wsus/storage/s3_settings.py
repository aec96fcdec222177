"""How a bucket is reached: endpoint, region, style of addresses, encryption, patience."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from wsus.errors import ConfigError, UnknownNameError

# setting -> the variables that give it, the first that is set counts
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "addressing": ("WSUS_S3_ADDRESSING",),
    "sse": ("WSUS_S3_SSE",),
    "kms_key": ("WSUS_S3_KMS_KEY",),
    "patience_s": ("WSUS_S3_PATIENCE_S",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Settings:
    """Settings of an S3 store. Credentials are none of them: they come from boto3's chain, on every machine its own.

    endpoint: of a server other than AWS.  addressing: "path" (the default with an endpoint), "virtual" or "auto".
    sse: "AES256" or "aws:kms" asks for encryption at rest with every write; kms_key: the key's id, the account's by default.
    patience_s: how long a server that answered before is waited for.
    """

    endpoint: str | None = None
    region: str | None = None
    addressing: str = ""
    sse: str | None = None
    kms_key: str | None = None
    patience_s: float = 300.0

    def __post_init__(self) -> None:
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"{_origin('endpoint')}: expected http://host:port or https://host; got {self.endpoint!r}")
        if self.addressing not in ("", "path", "virtual", "auto"):
            raise ConfigError(f"{_origin('addressing')}: path, virtual or auto; got {self.addressing!r}")
        if self.sse not in (None, "AES256", "aws:kms"):
            raise ConfigError(f"{_origin('sse')}: AES256 or aws:kms; got {self.sse!r}")
        if self.kms_key is not None and self.sse != "aws:kms":
            raise ConfigError(f"{_origin('kms_key')}: only with {_origin('sse')}=aws:kms")
        if not self.patience_s >= 0:
            raise ConfigError(f"{_origin('patience_s')}: seconds, 0 or more; got {self.patience_s!r}")

    @classmethod
    def of(cls, query: str = "", environment: Mapping[str, str] | None = None) -> S3Settings:
        """Settings of the environment, those of an address's query (`endpoint=http://...&region=...`) before them.

        Raises:
            UnknownNameError: no such setting.  ConfigError: a value that cannot be.
        """
        environment = os.environ if environment is None else environment
        found: dict[str, Any] = {}
        for name, variables in VARIABLES.items():
            value = next((environment[variable] for variable in variables if environment.get(variable)), None)
            if value is not None:
                found[name] = value
        for name, value in parse_qsl(query):
            if name not in VARIABLES:
                raise UnknownNameError("setting of an s3:// address", name, VARIABLES)
            found[name] = value
        if "patience_s" in found:
            found["patience_s"] = _seconds(found["patience_s"])
        return cls(**found)

    @property
    def query(self) -> str:
        """What differs from the defaults, as an address's query: so settings travel to other machines."""
        default = S3Settings()
        differing = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != getattr(default, f.name)}
        return urlencode({name: f"{value:g}" if isinstance(value, float) else value for name, value in differing.items()})

    @property
    def addressing_style(self) -> str:
        """As botocore names it."""
        return self.addressing or ("path" if self.endpoint else "auto")

    @property
    def write_arguments(self) -> dict[str, str]:
        """What goes with every write."""
        arguments = {"ChecksumAlgorithm": "SHA256"}
        if self.sse:
            arguments["ServerSideEncryption"] = self.sse
        if self.kms_key:
            arguments["SSEKMSKeyId"] = self.kms_key
        return arguments

    def patient_for(self, seconds: float) -> S3Settings:
        """The same with another patience."""
        return replace(self, patience_s=seconds)


def _origin(name: str) -> str:
    return VARIABLES[name][-1]


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{_origin('patience_s')}: seconds, 0 or more; got {text!r}") from None
