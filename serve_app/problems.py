"""Errors of the HTTP interface as RFC 9457 problem documents, and the list of all statuses that a client can meet."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from serve_app.schemas import Problem

CONTENT_TYPE = "application/problem+json"
STATUSES = {  # OpenAPI and docs/serving.md say these words
    400: "The request cannot be parsed.",
    401: "No bearer token, or one that is not known.",
    403: "The token lacks the scope, or the address is not below an allowed prefix; without tokens: another host or origin.",
    404: "No such path, model or object.",
    405: "The path does not answer this method.",
    408: "The body, or the answer, did not arrive in time.",
    413: "Too many bytes, pixels, frames or items, or too large a map as numbers.",
    415: "Another kind of body or image: an unsupported format or compression, a CT, a report, an animation; "
    "a body of another charset than UTF-8, or with a Content-Encoding.",
    422: "A parameter out of its range, or an image that cannot be used: damaged, blank, too small or narrow, "
    "without that frame or region; a site without a profile.",
    429: "All predictors are busy, or the token has had its share; Retry-After says when to come again.",
    503: "No predictor can answer now: none is ready, or one is being replaced; Retry-After says when to come again.",
}
OF_THE_PROXY = (502, 503, 504)
_OF_THE_ROUTER = {  # what FastAPI refuses by itself: a slug for machines, a sentence for people
    400: ("malformed", "the request cannot be parsed"),
    404: ("not_found", "no such path"),
    405: ("method_not_allowed", "this path does not answer this method"),
}


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


def problem_response(error: ProblemError, path: str = "") -> JSONResponse:
    """The answer to a client, Retry-After included; below /v2/ with the member that the Open Inference Protocol asks for."""
    headers = dict(error.headers or {})
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return JSONResponse(
        error.problem.model_dump(exclude_none=True) | ({"error": error.detail} if path.startswith("/v2") else {}),
        status_code=error.status_code,
        headers=headers,
        media_type=CONTENT_TYPE,
    )


def problem_of_the_proxy(status: int) -> ProblemError:
    """What HAProxy answers where the application does not."""
    return ProblemError(status, "not_ready", "the application does not answer now; come again", retry_after_s=2)


def as_problem(error: HTTPException) -> ProblemError:
    """An error of the framework's own as a problem."""
    slug, detail = _OF_THE_ROUTER.get(error.status_code, ("refused", str(error.detail)))
    return ProblemError(error.status_code, slug, detail, headers=dict(error.headers or {}))


def problem_documents(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of these statuses."""
    return {status: problem_document(STATUSES[status]) for status in statuses}


def problem_document(description: str) -> dict[str, Any]:
    """What OpenAPI says of one."""
    return {"description": description, "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def busy(retry_after_s: int) -> ProblemError:
    """The queue is full."""
    return ProblemError(429, "busy", f"all predictors are busy; come again in {retry_after_s} s", retry_after_s=retry_after_s)


def not_ready(detail: str, retry_after_s: int) -> ProblemError:
    """No predictor can answer at the moment."""
    return ProblemError(503, "not_ready", detail, retry_after_s=retry_after_s)
