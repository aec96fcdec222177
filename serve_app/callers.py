"""Who asks, and how much of the server each may have: tokens, images a minute, requests at once. An ingress counts for itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from serve_app.problems import ProblemError
from serve_app.settings import Limits
from serve_app.tokens import Token, TokenBook

PROTECTED = ("/v1/", "/v2/models")
ADMIN = "/v1/admin/"
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_UNAUTHORIZED = {"WWW-Authenticate": 'Bearer realm="wsus"'}


@dataclass(eq=False, slots=True, weakref_slot=True)
class Caller:
    """One token's use of the server. name: the token's; None where there are no tokens.

    per_minute: images; a clip counts its frames once they are known, so that a caller can be in debt for a while.
    """

    name: str | None
    per_minute: int | None
    _clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _images: float = field(init=False)
    _at: float = field(init=False)
    requests: int = 0

    def __post_init__(self) -> None:
        self._images, self._at = float(self.per_minute or 0), self._clock()

    def charge(self, images: int = 1, *, owed: bool = False) -> None:
        """Count images. Raises ProblemError (429) where there are none left, unless they are owed already."""
        if self.per_minute is None:
            return
        now = self._clock()
        self._images = min(float(self.per_minute), self._images + (now - self._at) * self.per_minute / 60)
        self._at = now
        if self._images < 1 and not owed:
            wait_s = max(1, math.ceil((1 - self._images) * 60 / self.per_minute))
            detail = f"the token {self.name!r} may ask for {self.per_minute} images a minute; come again in {wait_s} s"
            raise ProblemError(429, "rate_limited", detail, retry_after_s=wait_s)
        self._images -= images


class Callers:
    """All callers of one ingress. tokens: None where it runs without protection, on this machine alone."""

    def __init__(self, tokens: TokenBook | None, limits: Limits) -> None:
        self._tokens, self._limits = tokens, limits
        self._known: dict[str | None, Caller] = {}

    def admit(self, headers: Headers, path: str) -> Caller:
        """Who asks for this path.

        Raises:
            ProblemError: 401, 403; without tokens, 403 for a page or name of elsewhere, which a browser lends this machine's.
        """
        if self._tokens is None:
            _refuse_foreign(headers)
            return self._caller(None, None)
        if not path.startswith(PROTECTED):
            return Caller(name=None, per_minute=None)
        token = self._authorized(self._tokens, headers, "admin" if path.startswith(ADMIN) else "predict")
        return self._caller(token.name, token.per_minute or self._limits.token_images_per_minute)

    @contextmanager
    def at_once(self, caller: Caller) -> Iterator[None]:
        """One of a caller's requests. Raises ProblemError (429) beyond those that it may have at once."""
        if caller.requests >= self._limits.token_requests:
            detail = f"{caller.requests} requests of this token are under way; at most so many are at once"
            raise ProblemError(429, "rate_limited", detail, retry_after_s=1)
        caller.requests += 1
        try:
            yield
        finally:
            caller.requests -= 1

    def _caller(self, name: str | None, per_minute: int | None) -> Caller:
        known = self._known.get(name)
        if known is None or known.per_minute != per_minute:
            known = self._known[name] = Caller(name=name, per_minute=per_minute)
        return known

    def _authorized(self, tokens: TokenBook, headers: Headers, scope: str) -> Token:
        scheme, _, presented = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not presented.strip():
            raise ProblemError(401, "unauthorized", "send `Authorization: Bearer TOKEN`", headers=_UNAUTHORIZED)
        token = tokens.find(presented.strip())
        if token is None:
            raise ProblemError(401, "unauthorized", "the token is not known here, or has expired", headers=_UNAUTHORIZED)
        if scope not in token.scopes:
            detail = f"the token has the scopes {', '.join(token.scopes)}; this path needs {scope}"
            raise ProblemError(403, "forbidden", detail)
        return token


def _refuse_foreign(headers: Headers) -> None:
    """A page of elsewhere may have its reader's browser ask 127.0.0.1, under that name or one of its own (DNS rebinding)."""
    host = headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name.lower() not in _LOCAL:
        raise ProblemError(403, "foreign_host", "without tokens this server answers to 127.0.0.1 and localhost alone")
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        raise ProblemError(403, "foreign_origin", "without tokens this server answers no page of another origin")
