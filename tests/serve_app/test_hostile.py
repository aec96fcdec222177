"""Nothing that a stranger sends ends in a 500: hostile files, and what schemathesis makes of the OpenAPI document."""

import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection

import pytest
import requests
import schemathesis
from fastapi.testclient import TestClient
from hostile_inputs import HostileInput, hostile_inputs, image_bytes
from hostile_requests import HostileRequest, hostile_requests
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from serve_app.reading import problem_of
from wsus.data.images import DEFAULT_LIMITS, decode_image
from wsus.errors import ImageError, ImageReason

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
HEADERS_OF_STRANGERS = {"X-Forwarded-For": "'; DROP TABLE", "X-Long": "a" * 60_000, "Accept": "text/evil"}


@pytest.mark.slow
def test_order_hostile_file_gets_its_documented_status(client: TestClient) -> None:
    inputs, wrong, statuses = hostile_inputs(), [], Counter[int]()
    assert len(inputs) >= 60
    for one in inputs:
        response = client.post("/v1/predictions", files={"image": (one.filename, one.content, one.content_type)})
        statuses[response.status_code] += 1
        if response.status_code != expected_status(one) or "SECRET" in response.text or "Traceback" in response.text:
            wrong.append((one.name, response.status_code, response.text[:200]))
    assert wrong == []
    assert set(statuses) == {200, 413, 415, 422}
    assert client.get("/readyz").json()["ready"] is True


def expected_status(one: HostileInput) -> int:
    """What docs/serving.md says for the decoder's reason."""
    if one.reason in (None, ImageReason.FRAME_NEEDED):  # where no frame is named, the server looks at the first
        return 200
    return {
        ImageReason.TOO_LARGE: 413, ImageReason.TOO_MANY_PIXELS: 413, ImageReason.TOO_MANY_FRAMES: 413,
        ImageReason.TOO_COMPLEX: 413, ImageReason.UNSUPPORTED_FORMAT: 415,
        ImageReason.UNSUPPORTED_TRANSFER_SYNTAX: 415, ImageReason.WRONG_MODALITY: 415, ImageReason.NOT_AN_IMAGE: 415,
        ImageReason.ANIMATED: 415,
    }.get(one.reason, 422)  # fmt: skip


@pytest.mark.parametrize("reason", list(ImageReason))
def test_each_reason_of_the_decoder_has_a_client_s_status(reason: ImageReason) -> None:
    found = problem_of(ImageError("said", reason))
    assert found.status_code in (413, 415, 422)
    assert (found.reason, found.detail) == (reason.value, "said")


def test_strange_headers_and_paths(client: TestClient) -> None:
    for path in ("/static/../settings.py", "/static/%2e%2e/settings.py", "/v1/models/..%2f..%2fetc/card", "//etc/passwd", "/%00"):
        assert client.get(path).status_code in (404, 405), path
    assert client.get("/healthz", headers=HEADERS_OF_STRANGERS).status_code == 200
    assert client.get("/v1/models", params={"x": "y" * 50_000}).status_code == 200


def test_the_decoder_agrees_with_the_corpus_about_what_is_harmless() -> None:
    for one in hostile_inputs():
        if one.reason is None:
            assert decode_image(one.content, name="x", frame=0, limits=DEFAULT_LIMITS).grey_HW.size > 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_schemathesis_finds_no_500_and_no_status_that_is_not_documented(mode: schemathesis.GenerationMode, port: int) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    seen: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def calls(case: schemathesis.Case) -> None:
            seen[case.operation.label] += 1
            case.call_and_validate(checks=CHECKS)

        try:
            calls()
        except Unsatisfiable:  # an operation without parameters cannot be called wrongly
            assert mode is schemathesis.GenerationMode.NEGATIVE
    assert sum(count >= 10 for count in seen.values()) >= 4, seen


@pytest.fixture(scope="module")
def warm_port(port: int) -> int:
    """Of a server whose decoder's process has started."""
    requests.post(f"http://127.0.0.1:{port}/v1/predictions", files={"image": image_bytes()}, timeout=60).raise_for_status()
    return port


@pytest.mark.parametrize("sent", hostile_requests(), ids=lambda sent: sent.name)
def test_hostile_request_gets_its_documented_status(warm_port: int, sent: HostileRequest) -> None:
    """Over a real socket, each in less time than the slowest decoding may take."""
    connection = HTTPConnection("127.0.0.1", warm_port, timeout=20)
    begun = time.perf_counter()
    connection.putrequest(sent.method, sent.path, skip_accept_encoding=True)
    for name, value in ({"Content-Length": str(len(sent.body))} | sent.headers).items():
        connection.putheader(name, value)
    with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent: the answer is there
        connection.endheaders(sent.body)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status in sent.statuses, text[:300]
    assert "Traceback" not in text
    assert time.perf_counter() - begun < 10
    if answer.status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json" or answer.status in (400, 403, 426), text[:300]
