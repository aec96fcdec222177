"""Spans stand below the caller's, as W3C Trace Context says; shown with OpenTelemetry's own exporter."""

import subprocess
import sys

SCRIPT = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.datastructures import Headers

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
from serve_app.tracing import request_span, step_span, trace_id

async def ask(traceparent):
    with request_span("POST", Headers({"traceparent": traceparent})):
        with step_span("decode"):
            await asyncio.sleep(0)
        print(trace_id())

asyncio.run(ask("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
asyncio.run(ask("00-nonsense-01"))
for span in spans.get_finished_spans():
    print(span.name, f"{span.context.trace_id:032x}"[:4], f"{span.parent.span_id:016x}" if span.parent else None)
"""


def test_spans_continue_the_caller_s_trace_and_nonsense_begins_a_new_one() -> None:
    """In a process of its own, since a provider is set once."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True)
    trace, other, decode, request, _, begun = done.stdout.splitlines()
    assert trace == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert len(other) == 32
    assert other != trace
    assert decode.startswith("decode 4bf9")
    assert request == "POST 4bf9 00f067aa0ba902b7"
    assert begun.endswith("None")
