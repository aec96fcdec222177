"""Errors of the HTTP interface as RFC 9457 problem documents: every one that a client can meet, in one place.

400 malformed            the request cannot be parsed
401 unauthorized         no bearer token, or one that is not known
403 forbidden            the token lacks the scope, or the address lies outside the allowed prefixes
404 not_found            no such path, model or object
405 method_not_allowed
408 slow_request         the body did not arrive in time; request_timeout: no answer in time
413 too_large            bytes, pixels, frames, items
415 unsupported_*        another kind of body or image
422 invalid_*, damaged.. a parameter out of its range; an image that cannot be used
429 busy                 the queue is full; Retry-After says when to come again
503 not_ready            no model is loaded yet, or the predictor is being replaced; Retry-After likewise
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from serve_app.schemas import Problem

CONTENT_TYPE = "application/problem+json"


class ProblemError(HTTPException):
    """An error that is answered as a problem document; it leaves Starlette's own parsing unchanged."""

    def __init__(
        self, status: int, reason: str, detail: str, *, retry_after_s: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status_code=status, detail=detail, headers=headers)
        self.reason, self.retry_after_s = reason, retry_after_s

    @property
    def problem(self) -> Problem:
        """The document itself."""
        return Problem(
            title=HTTPStatus(self.status_code).phrase,
            status=self.status_code,
            detail=self.detail,
            reason=self.reason,
            retry_after_s=self.retry_after_s,
        )


def problem_response(error: ProblemError) -> JSONResponse:
    """The answer to a client, Retry-After included."""
    headers = dict(error.headers or {})
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return JSONResponse(
        error.problem.model_dump(exclude_none=True), status_code=error.status_code, headers=headers, media_type=CONTENT_TYPE
    )


def busy(retry_after_s: int) -> ProblemError:
    """The queue is full."""
    return ProblemError(429, "busy", f"all predictors are busy; come again in {retry_after_s} s", retry_after_s=retry_after_s)


def not_ready(detail: str, retry_after_s: int) -> ProblemError:
    """No predictor can answer at the moment."""
    return ProblemError(503, "not_ready", detail, retry_after_s=retry_after_s)
