"""What stands before every route: who asks, limits of the body in bytes and time, headers, and how an answer leaves. Plain
ASGI, so that nothing of a body is read before its sender is known."""

from __future__ import annotations

import asyncio
import logging
import time

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.callers import PROTECTED, Callers
from serve_app.metrics import Metrics
from serve_app.problems import ProblemError, problem_response
from serve_app.settings import Limits
from serve_app.tracing import request_span

_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_log = logging.getLogger(__name__)
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"ascii")
_MAX_CONTENT_TYPE = 512
_PIECE_BYTES = 64 * 1024
_MOST_TEXT_BYTES = 64 * 1024


class _SlowReaderError(Exception):
    """A client does not take its answer."""


class Protect:
    """ASGI middleware. Whoever asks stands in the scope as `wsus.caller`."""

    def __init__(self, app: ASGIApp, *, limits: Limits, callers: Callers, metrics: Metrics) -> None:
        self._app, self._limits, self._callers, self._metrics = app, limits, callers, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["wsus.begun"] = time.perf_counter()
        if scope["method"] == "HEAD":  # as GET, of which the server below sends no body
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        if len(scope["path"]) > 1 and scope["path"].endswith("/") and not scope["path"].startswith("/static"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        answer = _Counted(scope, send, self._metrics, self._limits.read_timeout_s)
        headers = Headers(scope=scope)
        try:
            caller = scope["wsus.caller"] = self._callers.admit(headers, scope["path"])
            self._check(headers)
            with self._callers.at_once(caller), request_span(scope["method"], headers):
                await self._app(scope, self._limited(receive, self._most_bytes(headers)), answer.send)
        except _SlowReaderError:  # the connection ends, since its answer is not whole
            self._metrics.count("wsus_rejections", reason="slow_reader")
        except ProblemError as error:  # raised before a route, or by a body that went on while the route had answered
            if not answer.started:
                self._metrics.count("wsus_rejections", reason=error.reason)
                await problem_response(error, scope["path"])(scope, receive, answer.send)
        except Exception as error:
            _log.error("a defect of this server", exc_info=error)
            if answer.started:
                raise
            self._metrics.count("wsus_rejections", reason="defect")
            defect = ProblemError(500, "defect", "a defect of this server; its log says more")
            await problem_response(defect, scope["path"])(scope, receive, answer.send)
        finally:
            answer.count()

    def _check(self, headers: Headers) -> None:
        _check_coding(headers)
        length = headers.get("content-length")
        if length is not None and length.isdigit() and int(length) > (most := self._most_bytes(headers)):
            raise self._too_large(most)

    def _most_bytes(self, headers: Headers) -> int:
        """Of a body; texts that are walked through sign by sign, as addresses are at times, have no reason to be long."""
        kind = headers.get("content-type", "").strip().lower()
        return _MOST_TEXT_BYTES if kind.startswith("application/x-www-form-urlencoded") else self._limits.max_body_bytes

    def _limited(self, receive: Receive, most_bytes: int) -> Receive:
        """The body's parts, until they are too many bytes or take too long."""
        seen = 0
        deadline = asyncio.get_running_loop().time() + self._limits.body_timeout_s
        ended = False

        async def limited() -> Message:
            nonlocal seen, ended
            if ended:
                return await receive()  # waits for the client to go away, as long as that takes
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                detail = f"the request's body did not arrive within {self._limits.body_timeout_s:g} s"
                raise ProblemError(408, "slow_request", detail, headers={"Connection": "close"}) from None
            seen += len(message.get("body", b""))
            ended = message["type"] != "http.request" or not message.get("more_body", False)
            if seen > most_bytes:
                raise self._too_large(most_bytes)
            return message

        return limited

    def _too_large(self, most_bytes: int) -> ProblemError:
        detail = f"the request's body is larger than {most_bytes:,} bytes; send fewer or smaller images"
        return ProblemError(413, "too_large", detail, headers={"Connection": "close"})


def _without_body(send: Send) -> Send:
    async def heads(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return heads


def _check_coding(headers: Headers) -> None:
    """What a client says of its body chooses no codec here: a charset such as punycode takes the square of its length.

    Raises:
        ProblemError: 415.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise ProblemError(415, "unsupported_body", "the body has a Content-Encoding; send it as it is")
    content_type = headers.get("content-type", "")
    if len(content_type) > _MAX_CONTENT_TYPE:
        raise ProblemError(415, "unsupported_body", "the Content-Type is longer than one needs to be")
    charset = parse_options_header(content_type)[1].get(b"charset", b"utf-8").strip().lower()
    if charset not in _CHARSETS:
        raise ProblemError(415, "unsupported_body", "the body's charset is not UTF-8; leave it out, or send charset=utf-8")


class _Counted:
    """Adds the headers to an answer, hands it over in pieces, and counts it by its status."""

    def __init__(self, scope: Scope, send: Send, metrics: Metrics, read_timeout_s: float) -> None:
        self._scope, self._send, self._metrics, self._read_timeout_s = scope, send, metrics, read_timeout_s
        self._status, self._seconds = 0, 0.0
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self._status = True, message["status"]
            self._seconds = time.perf_counter() - self._scope["wsus.begun"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            cached = "no-store" if self._scope["path"].startswith(PROTECTED) else "no-cache"  # or a page mixes two versions
            headers.setdefault("Cache-Control", cached)
        body = message.get("body", b"")
        if len(body) <= _PIECE_BYTES:
            await self._handed(message)
            return
        for start in range(0, len(body), _PIECE_BYTES):  # the server below waits for its client before the next
            piece, more = body[start : start + _PIECE_BYTES], message.get("more_body", False)
            await self._handed({**message, "body": piece, "more_body": more or start + _PIECE_BYTES < len(body)})

    async def _handed(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                await self._send(message)
        except TimeoutError:
            raise _SlowReaderError from None

    def count(self) -> None:
        """Once the answer is on its way, so that nobody waits for it."""
        if self.started:
            route = route_name(self._scope)
            self._metrics.count("wsus_requests", route=route, status=str(self._status))
            self._metrics.observe("wsus_request_seconds", self._seconds, route=route)


def route_name(scope: Scope) -> str:
    """The route's template, so that a client cannot make new series by asking for new paths."""
    return str(getattr(scope.get("route"), "path", None) or "none")
