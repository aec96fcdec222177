"""Requests that a stranger may send beside hostile files: each with the statuses that are right. Bytes as they go over the wire.

The tests of the routes and `benchmarks/hostile.py` share them. Where HAProxy stands in front, it may refuse one itself, with 400.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from dicom_files import dicom, speckle
from hostile_inputs import image_bytes

BODY_ERRORS = frozenset({400, 413, 415, 422})


@dataclass(frozen=True, kw_only=True)
class HostileRequest:
    """statuses: those that are right."""

    name: str
    statuses: frozenset[int]
    method: str = "POST"
    path: str = "/v1/predictions"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def hostile_requests(model: str = "tiny") -> tuple[HostileRequest, ...]:
    """All of them, with unique names."""
    return (*_charsets(), *_forms(), *_queries(), *_paths(), *_headers(), *_batches(), *_tensors(f"/v2/models/{model}/infer"))


def form(*parts: tuple[str, bytes], boundary: str = "b", disposition: str = 'form-data; name="{}"; filename="a.png"') -> bytes:
    """A multipart body."""
    pieces = [
        f"--{boundary}\r\nContent-Disposition: {disposition.format(name)}\r\n\r\n".encode() + part + b"\r\n"
        for name, part in parts
    ]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


def _kind(more: str = "", boundary: str = "b") -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={boundary}{more}"}


def _charsets() -> Iterator[HostileRequest]:
    slow = form(("addresses", b"a-" * 200_000), disposition='form-data; name="{}"')
    for charset in ("punycode", "idna", "utf-7", "unicode_escape", "utf-16", "rot13", "zlib", "raw_unicode_escape", "nosuch"):
        yield HostileRequest(
            name=f"form in {charset}",
            statuses=frozenset({415}),
            path="/v1/predictions:batch",
            headers=_kind(f"; charset={charset}"),
            body=slow,
        )
    for encoding in ("gzip", "br", "deflate", "zstd", "gzip, gzip, gzip"):
        yield HostileRequest(
            name=f"body in {encoding}",
            statuses=frozenset({415}),
            headers=_kind() | {"Content-Encoding": encoding},
            body=b"\x1f\x8b",
        )


def _forms() -> Iterator[HostileRequest]:
    png = image_bytes()
    forms = {
        "5,000 parts": (form(*(("image", b"x") for _ in range(5000))), BODY_ERRORS),
        "5,000 fields": (form(*(("x", b"y") for _ in range(5000)), disposition='form-data; name="{}"'), BODY_ERRORS),
        "1 MiB of a part's name": (form(("x" * 2**20, png)), BODY_ERRORS),
        "1 MiB of a part's header": (
            form(("image", png), disposition='form-data; name="{}"; x="' + "y" * 2**20 + '"'),
            BODY_ERRORS,
        ),
        "1 MiB of carriage returns": (form(("image", b"\r" * 2**20)), BODY_ERRORS),
        "1 MiB of half a boundary": (form(("image", b"\r\n--" * 2**18)), BODY_ERRORS),
        "no end": (form(("image", png))[:-8], frozenset({200, 400, 422})),
        "nothing": (b"", BODY_ERRORS),
        "no boundary in it": (png, BODY_ERRORS),
        "an image as a field": (form(("image", b"text"), disposition='form-data; name="{}"'), BODY_ERRORS),
        "a field of bytes that are no text": (
            form(("addresses", b"\xff\xfe\x80"), disposition='form-data; name="{}"'),
            BODY_ERRORS,
        ),
        "a file name of control signs": (
            form(("image", png), disposition='form-data; name="{}"; filename="\x01\x02../../../etc/passwd"'),
            frozenset({200, 400, 422}),
        ),
    }
    for name, (body, statuses) in forms.items():
        yield HostileRequest(name=f"form: {name}", statuses=statuses, headers=_kind(), body=body)
    for name, body in (("ampersands", b"&" * 2**20), ("percents", b"%41" * 2**18), ("fields", b"a=1&" * 2**18)):
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        yield HostileRequest(name=f"form: 1 MiB of {name}", statuses=frozenset({413}), headers=kind, body=body)
    yield HostileRequest(name="form: a boundary of 10 kB", statuses=BODY_ERRORS, headers=_kind(boundary="b" * 10_000), body=b"")
    yield HostileRequest(
        name="form: no boundary", statuses=BODY_ERRORS, headers={"Content-Type": "multipart/form-data"}, body=b"x"
    )
    yield HostileRequest(name="body: JSON", statuses=frozenset({415}), headers={"Content-Type": "application/json"}, body=b"{}")
    yield HostileRequest(name="body: no type", statuses=frozenset({415}), body=b"x")


def _queries() -> Iterator[HostileRequest]:
    body = form(("image", image_bytes()))
    for query in (
        "cam=all", "cam_threshold=nan", "cam_threshold=inf", "cam_threshold=-1", "cam_threshold=1e999", "frame=-1", "frame=1e30",
        "frame=99999999999999999999", "region=256", "class=" + "x" * 4000, "site=../../etc/passwd", "image=bmp",
        "cam=png&cam=png%00",
    ):  # fmt: skip
        statuses = frozenset({422})
        yield HostileRequest(
            name=f"query {query[:40]}", statuses=statuses, path=f"/v1/predictions?{query}", headers=_kind(), body=body
        )


def _paths() -> Iterator[HostileRequest]:
    for path in (
        "/../../etc/passwd", "/static/../settings.py", "/static/%2e%2e/%2e%2e/settings.py", "/static/..%2fsettings.py", "/%00",
        "//evil.example/", "/v1/models/..%2f..%2fetc/card", "/v2/models/%2e%2e", "/" + "a" * 6000,
    ):  # fmt: skip
        yield HostileRequest(name=f"path {path[:40]}", statuses=frozenset({400, 404}), method="GET", path=path)
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND"):
        yield HostileRequest(name=f"method {method}", statuses=frozenset({400, 405}), method=method, path="/v1/predictions")


def _headers() -> Iterator[HostileRequest]:
    models = frozenset({200})
    headers = {
        "a traceparent of nonsense": ({"traceparent": "00-" + "z" * 500}, models),
        "a tracestate of 6 kB": ({"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "tracestate": "x=y," * 1500}, models),
        "a forwarded host": ({"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "'; DROP TABLE"}, models),
        "its own request's number": ({"x-request-id": "../../" * 100}, models),
        "its own time limit": ({"x-request-timeout-seconds": "-1"}, models),
        "an Accept of nonsense": ({"Accept": "text/evil;q=nan"}, models),
        "a range": ({"Range": "bytes=0-1,2-3"}, models),
        "an upgrade": ({"Connection": "Upgrade", "Upgrade": "websocket"}, frozenset({200, 400, 403, 404, 426})),
    }
    for name, (sent, statuses) in headers.items():
        yield HostileRequest(name=f"header: {name}", statuses=statuses, method="GET", path="/v1/models", headers=sent)


def _batches() -> Iterator[HostileRequest]:
    png, path = image_bytes(), "/v1/predictions:batch"
    clip = dicom(np.stack([speckle(seed=seed) for seed in range(3)]))
    addresses = ("file:///etc/passwd", "http://169.254.169.254/latest", "s3://bucket/../x", "s3://", "s3://bucket/" + "x" * 5000)
    yield HostileRequest(
        name="batch: 17 items", statuses=frozenset({413}), path=path, headers=_kind(), body=form(*[("images", png)] * 17)
    )
    yield HostileRequest(
        name="batch: one bad among good",
        statuses=frozenset({200}),
        path=path,
        headers=_kind(),
        body=form(("images", png), ("images", b"x")),
    )
    yield HostileRequest(
        name="batch: all frames of a clip and of text", statuses=frozenset({200}), path=f"{path}?frames=all", headers=_kind(),
        body=form(("images", clip), ("images", b"x")),
    )  # fmt: skip
    yield HostileRequest(
        name="stream: text",
        statuses=frozenset({200}),
        path="/v1/predictions:stream",
        headers=_kind(),
        body=form(("images", b"x")),
    )
    for address in addresses:
        body = form(("addresses", address.encode()), disposition='form-data; name="{}"')
        yield HostileRequest(name=f"batch: {address[:30]}", statuses=frozenset({200}), path=path, headers=_kind(), body=body)


def _tensors(path: str) -> Iterator[HostileRequest]:
    encoded = base64.b64encode(image_bytes()).decode()

    def tensor(**changes: object) -> bytes:
        return json.dumps(
            {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [encoded]} | changes]}
        ).encode()

    refused = frozenset({400, 413, 415, 422})
    bodies = {
        "a million brackets": b"[" * 10**6,
        "a million objects": b'{"a":' * 10**6,
        "a million numbers": b'{"inputs":[' + b"1," * 10**6 + b"1]}",
        "a shape of 10^30": tensor(shape=[10**30]),
        "a shape below zero": tensor(shape=[-7]),
        "no base64": tensor(data=["%"]),
        "another model's tensor": tensor(name="input__0", datatype="FP32"),
        "NaN as a threshold": tensor()[:-1] + b', "parameters": {"cam_threshold": NaN}}',
        "bytes that are no UTF-8": b'{"inputs": "\xff"}',
        "an element that is longer than the body": tensor(data=None, parameters={"binary_data_size": 4})
        + struct.pack("<I", 2**32 - 1),
    }
    for name, body in bodies.items():
        yield HostileRequest(name=f"tensor: {name}", statuses=refused, path=path, body=body)
    for length in ("-1", "99999999999999999999", "x", "1e9"):
        header = {"Inference-Header-Content-Length": length}
        yield HostileRequest(
            name=f"tensor: a header of {length} bytes", statuses=refused, path=path, headers=header, body=tensor()
        )
