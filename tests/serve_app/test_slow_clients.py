"""Clients that send slowly, stop, or go away, over a real socket: they are let go, and others are answered."""

import io
import socket
import time
from collections.abc import Callable

import requests
from dicom_files import speckle
from PIL import Image
from published_models import png

from serve_app.metrics import MemoryMetrics
from serve_app.settings import Limits

HEAD = (
    "POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    "Content-Length: 5000\r\n\r\n"
    '--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
)


def test_a_body_that_stops_is_answered_408_in_time(port: int) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(HEAD.encode())
        answer = client.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "slow_request" in answer
    assert 0.8 < time.monotonic() - begun < 5


def test_a_body_that_drips_does_not_win_time(port: int) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(HEAD.encode())
        client.settimeout(0.2)
        answer = b""
        while not answer and time.monotonic() - begun < 8:
            client.sendall(b"x")
            try:
                answer = client.recv(4096)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - begun < 5


def test_who_goes_away_or_crowds_does_not_hurt_others(port: int) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(HEAD.encode())
    crowd = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(50)]
    try:
        response = requests.post(f"http://127.0.0.1:{port}/v1/predictions", files={"image": png()}, timeout=30)
    finally:
        for client in crowd:
            client.close()
    assert response.status_code == 200


def test_a_client_that_does_not_read_is_let_go(serve_at: Callable[..., int]) -> None:
    """What its answer takes is freed: it is handed over in pieces, each in time."""
    metrics = MemoryMetrics()
    port = serve_at(metrics, limits=Limits(read_timeout_s=0.5))
    body = io.BytesIO()
    Image.fromarray(speckle(1800, 1800)).save(body, "PNG")  # a map of 13 MB, 17 MB as base64
    request = requests.Request(
        "POST", f"http://127.0.0.1:{port}/v1/predictions?cam=array", files={"image": body.getvalue()}
    ).prepare()
    assert isinstance(request.body, bytes)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(f"POST {request.path_url} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n".encode() + request.body)
        deadline = time.monotonic() + 30
        while not metrics.of("wsus_rejections", reason="slow_reader"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=10).ok
