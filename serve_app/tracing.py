"""Spans of OpenTelemetry, below the caller's `traceparent` (W3C Trace Context). Who exports them is set up outside, as
OpenTelemetry's own launcher does; nobody does by default, and then a span costs some microseconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers

_TRACER = trace.get_tracer("wsus")
_PROPAGATOR = TraceContextTextMapPropagator()


@contextmanager
def request_span(method: str, headers: Headers) -> Iterator[trace.Span]:
    """The span of one request."""
    carried = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
    with _TRACER.start_as_current_span(method, context=_PROPAGATOR.extract(carried), kind=SpanKind.SERVER) as span:
        yield span


@contextmanager
def step_span(name: str) -> Iterator[None]:
    """A span of one step of the current request."""
    with _TRACER.start_as_current_span(name):
        yield


def trace_id() -> str | None:
    """Of the current request, 32 hexadecimal digits; None where the caller sent no `traceparent` and nobody exports."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else None
