"""Clients that send slowly, stop, or go away, over a real socket: they are let go, and others are answered."""

import socket
import time

import requests
from published_models import png

HEAD = (
    "POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n"
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
