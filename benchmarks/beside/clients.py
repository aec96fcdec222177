"""Clients of a server that is measured: threads of this process, each with one connection and one prepared request."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

_INFER_MS = re.compile(rb'"infer":([0-9.e-]+)')


@dataclass
class Load:
    """What came back: (seconds, status) of each request; cpu_s: what the clients cost.

    inferences: the times that the answers name, as they stand there; those of one batch name the same.
    """

    answers: list[tuple[float, int]]
    seconds: float
    cpu_s: float
    inferences: list[bytes] = field(default_factory=list)

    def batches(self) -> list[int]:
        """How many images the server answered together, each time."""
        return list(Counter(self.inferences).values())

    def rate(self, status: int = 200) -> float:
        """Answers of a status per second."""
        return sum(found == status for _, found in self.answers) / self.seconds

    def quantile_ms(self, share: float) -> float:
        """Of the accepted requests."""
        return 1000 * float(np.quantile([took for took, status in self.answers if status == 200], share))

    def statuses(self) -> dict[int, int]:
        """How many of each."""
        return {status: sum(found == status for _, found in self.answers) for status in {found for _, found in self.answers}}


class Client:
    """One kept connection that sends one prepared request: as little work as a load generator in C would have."""

    def __init__(self, image: bytes, port: int, path: str) -> None:
        body = (
            b'--wsus\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
            + image
            + b"\r\n--wsus--\r\n"
        )
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: multipart/form-data; boundary=wsus\r\n"
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self._port = port
        self._socket: socket.socket | None = None
        self.answer = b""

    def post(self) -> tuple[float, int]:
        """Seconds and status; status 0 where the connection broke."""
        begun = time.perf_counter()
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=120)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(self._request)
            head, self.answer = self._received(self._socket)
        except OSError:
            self._close()
            return time.perf_counter() - begun, 0
        seconds = time.perf_counter() - begun
        if b"connection: close" in head.lower():
            self._close()
        return seconds, int(head.split(maxsplit=2)[1])

    def _received(self, connection: socket.socket) -> tuple[bytes, bytes]:
        content = b""
        while (end := content.find(b"\r\n\r\n")) < 0:
            content += self._more(connection)
        head, body = content[:end], content[end + 4 :]
        if (length := re.search(rb"content-length: (\d+)", head, re.IGNORECASE)) is None:
            raise ConnectionError("an answer without Content-Length")
        while len(body) < int(length[1]):
            body += self._more(connection)
        return head, body

    def _more(self, connection: socket.socket) -> bytes:
        if not (part := connection.recv(256 * 1024)):
            raise ConnectionResetError("the server closed the connection")
        return part

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def closed_load(image: bytes, clients: int, seconds: float, port: int, path: str = "/v1/predictions") -> Load:
    """Each client sends its next request when it has the answer to the one before."""
    answers: list[tuple[float, int]] = []
    inferences: list[bytes] = []
    ended = threading.Event()

    def loop() -> None:
        client = Client(image, port, path)
        while not ended.is_set():
            answers.append(answer := client.post())
            if answer[1] == 200 and (found := _INFER_MS.search(client.answer)) is not None:
                inferences.append(found[1])

    begun, cpu = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=loop) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    ended.set()
    for thread in threads:
        thread.join()
    return Load(answers, time.perf_counter() - begun, time.process_time() - cpu, inferences)


def open_load(image: bytes, per_s: float, seconds: float, port: int) -> Load:
    """Requests come at random times at this rate, whether or not the ones before are answered."""
    rng, local, answers = np.random.default_rng(0), threading.local(), []

    def one() -> None:
        if not hasattr(local, "client"):
            local.client = Client(image, port, "/v1/predictions")
        answers.append(local.client.post())

    begun, cpu, due = time.perf_counter(), time.process_time(), 0.0
    with ThreadPoolExecutor(256) as pool:
        while due < seconds:
            due += float(rng.exponential(1 / per_s))
            time.sleep(max(0.0, begun + due - time.perf_counter()))
            pool.submit(one)
    return Load(answers, time.perf_counter() - begun, time.process_time() - cpu)
