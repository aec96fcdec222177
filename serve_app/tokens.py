"""Bearer tokens: names, scopes and SHA-256 hashes in a JSON file; the tokens themselves are shown once and never kept.

A token holds 256 random bits, so that a plain hash cannot be searched; a slow one would only slow each request.
The file is read again when it changes: a mounted secret can be rotated while requests come in.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from wsus.errors import ConfigError
from wsus.storage import write_atomically

SCOPES = ("predict", "admin")
_PREFIX = "wsus_"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """Who may do what.

    sha256: of the token.  expires: ISO date and time with zone, None for never.
    per_minute: images; None for the server's own number (`Limits.token_images_per_minute`).
    """

    name: str
    scopes: tuple[str, ...]
    sha256: str
    expires: str | None = None
    per_minute: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.scopes) - set(SCOPES))
        if not self.name or not self.scopes or unknown:
            raise ConfigError(f"token {self.name!r}: expected a name and scopes among {', '.join(SCOPES)}; got {self.scopes!r}")
        if self.per_minute is not None and (not isinstance(self.per_minute, int) or self.per_minute < 1):
            raise ConfigError(f"token {self.name!r}: per_minute must be a whole number of images, at least 1, or null")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ConfigError(f"token {self.name!r}: sha256 must have 64 hexadecimal digits; make tokens with `wsus tokens add`")
        if self.expires is not None and _instant(self.name, self.expires).tzinfo is None:
            raise ConfigError(f"token {self.name!r}: expires must name its zone, as 2027-01-31T00:00:00+00:00")

    def is_valid(self, now: datetime) -> bool:
        """Whether the token has not expired."""
        return self.expires is None or now < _instant(self.name, self.expires)


class TokenBook:
    """The tokens of a file, as they stand in it now.

    Raises:
        ConfigError: the file is missing or is not a token file. Later, one that was emptied revokes all tokens; one that
            became unreadable leaves the last good one in force, with a line in the log.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._stamp = _stamp(path)
        self._tokens = read_tokens(path)

    def find(self, presented: str, now: datetime | None = None) -> Token | None:
        """The token that was presented, or None; takes the same time wherever it stands in the file."""
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for token in self._current():
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found if found is not None and found.is_valid(now or datetime.now(UTC)) else None

    def _current(self) -> tuple[Token, ...]:
        with self._lock:
            try:
                stamp = _stamp(self._path)
                if stamp != self._stamp and not stamp[1]:  # whoever empties it wants nobody to come in
                    _log.warning("%s is empty: no token is known any more", self._path)
                    self._tokens, self._stamp = (), stamp
                elif stamp != self._stamp:
                    self._tokens, self._stamp = read_tokens(self._path), stamp
            except ConfigError as error:
                _log.warning("%s; the tokens read before stay in force", error)
            return self._tokens


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Read a token file. Raises ConfigError, naming the entry."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); make it with `wsus tokens add`") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error}); make it with `wsus tokens add`") from error
    entries = content.get("tokens") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f'{path}: expected {{"tokens": [...]}}; make it with `wsus tokens add`')
    return tuple(_token(entry, path) for entry in entries)


def add_token(path: Path, name: str, scopes: tuple[str, ...], expires: str | None = None, per_minute: int | None = None) -> str:
    """Add a token to a file, which is made where it does not exist, and return it; it cannot be read again.

    Raises:
        ConfigError: the name is taken, a scope is unknown, or the file cannot be used.
    """
    tokens = read_tokens(path) if path.exists() and path.stat().st_size else ()
    if name in {token.name for token in tokens}:
        raise ConfigError(
            f"{path}: has a token {name!r} already; remove it first (`wsus tokens remove {name}`) or choose another"
        )
    secret = _PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    token = Token(name=name, scopes=scopes, sha256=digest, expires=expires, per_minute=per_minute)
    _write(path, (*tokens, token))
    return secret


def remove_token(path: Path, name: str) -> None:
    """Remove a token from a file. Raises ConfigError where it has none of this name."""
    tokens = read_tokens(path)
    kept = tuple(token for token in tokens if token.name != name)
    if len(kept) == len(tokens):
        raise ConfigError(f"{path}: has no token {name!r}; it has {', '.join(token.name for token in tokens) or 'none'}")
    _write(path, kept)


def _write(path: Path, tokens: tuple[Token, ...]) -> None:
    text = json.dumps({"tokens": [asdict(token) for token in tokens]}, indent=1) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode(), mode=0o600)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def _token(entry: object, path: Path) -> Token:
    if not isinstance(entry, dict):
        raise ConfigError(f"{path}: a token is an object with name, scopes and sha256; got a {type(entry).__name__}")
    try:
        return Token(**{**entry, "scopes": tuple(entry["scopes"])})
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{path}: token {entry.get('name')!r} has a missing or unknown field ({error})") from error


def _instant(name: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"token {name!r}: expires is no ISO date and time ({error})") from error


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); make it with `wsus tokens add`") from error
    return status.st_ino, status.st_size, status.st_mtime_ns
