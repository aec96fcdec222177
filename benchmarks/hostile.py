"""What hostile clients get, what they cost, and what an innocent neighbour notices: `wsus serve` on a CPU, with tokens.

    python benchmarks/hostile.py [--seconds 20] [--rounds 3] [--only corpus neighbours]

- corpus: each file of `tests/hostile_inputs.py` and request of `tests/hostile_requests.py`, in order, by a hostile token:
  statuses in a table, memory of the server (PSS of all its processes) before, at the most, and after.
- neighbours: 99 % of the answers to an innocent client, who asks one image after the other, alone and beside hostile ones with a
  token of their own (another process): bad files, images of 40 megapixels, batches, clips, bodies and headers that drip,
  readers that do not read, 500 idle connections, unknown tokens. By turns, in one run; what counts is the ratio.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from serving import Report, phantom_png, published, resident_mib, running

from serve_app.tokens import add_token

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dicom_files import dicom, speckle
from hostile_inputs import hostile_inputs
from hostile_requests import form, hostile_requests

PORT = 22_830
PARTS = ("corpus", "neighbours")


def main() -> int:
    """Print the table and the ratio; 1 where a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    asked = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="wsus-bench-") as name:
        folder = Path(name)
        innocent, hostile = (add_token(folder / "tokens.json", who, ("predict",)) for who in ("innocent", "hostile"))
        command = [Path(sys.executable).with_name("wsus"), "serve", "--store", str(published(folder)), "--port", str(PORT)]
        command += ["--tokens", str(folder / "tokens.json"), "--audit-log", str(folder / "audit.jsonl")]
        with running(command, PORT, "/readyz") as server:
            if "corpus" in asked.only:
                corpus(server, hostile, report)
            if "neighbours" in asked.only:
                neighbours(innocent, hostile, asked.seconds, asked.rounds, report)
    return report.end()


def corpus(server: psutil.Process, token: str, report: Report) -> None:
    """Send everything once."""
    for _ in range(20):
        sent("POST", "/v1/predictions", kind(token), form(("image", phantom_png())))
    statuses, wrong, peak = Counter[tuple[str, int]](), list[str](), Peak(server)
    count, slowest = 0, (0.0, "")
    with peak:
        for what, name, right, method, path, headers, body in everything(token):
            begun = time.perf_counter()
            status = sent(method, path, headers, body)
            slowest = max(slowest, (time.perf_counter() - begun, name))
            statuses[what, status] += 1
            count += 1
            if status not in right:
                wrong.append(f"{name}: {status}")
        time.sleep(5)
    for (what, status), number in sorted(statuses.items()):
        print(f"{what:<9} {status:<4} {number:>4}")
    print(f"the slowest: {slowest[1]}, {slowest[0]:.1f} s; memory {peak.before:.0f} MiB before, {peak.after:.0f} after")
    report.line("hostile inputs", count, "", at_least=120)
    report.line("of them with another status than the documented ones", len(wrong), "", at_most=0)
    print("\n".join(wrong))
    report.line("memory at the most, beside that before", peak.most - peak.before, "MiB", at_most=2500)
    report.line("memory 5 s after the last, beside that before", peak.after - peak.before, "MiB", at_most=500)


def everything(token: str) -> Iterator[tuple[str, str, frozenset[int], str, str, dict[str, str], bytes]]:
    """Kind, name, statuses that are right, method, path, headers and body."""
    for one in hostile_inputs():
        right = frozenset({200}) if one.reason is None or one.reason.value == "frame_needed" else frozenset({413, 415, 422})
        yield "file", one.name, right, "POST", "/v1/predictions", kind(token), form(("image", one.content))
    for request in hostile_requests("resnet34"):
        right = request.statuses | {400}  # HAProxy's own word
        yield "request", request.name, right, request.method, request.path, {**bearer(token), **request.headers}, request.body


def neighbours(innocent: str, hostile: str, seconds: float, rounds: int, report: Report) -> None:
    """The innocent client alone and in company, by turns."""
    alone, beside, refused = list[float](), list[float](), 0
    for _ in range(rounds):
        alone += innocent_times(innocent, seconds)[0]
        with company(hostile) as counts:
            time.sleep(2)
            times, others = innocent_times(innocent, seconds)
        beside, refused = beside + times, refused + others
        print(f"hostile requests by status: {dict(counts)}", flush=True)
    quantiles = [1000 * float(np.quantile(times, share)) for times in (alone, beside) for share in (0.5, 0.99)]
    print(f"innocent: alone {len(alone)} answers, p50 {quantiles[0]:.0f} ms, p99 {quantiles[1]:.0f}; "
          f"in company {len(beside)}, p50 {quantiles[2]:.0f}, p99 {quantiles[3]:.0f}")  # fmt: skip
    report.line("innocent requests that were not answered", refused, "", at_most=0)
    report.line("p99 in company / alone", quantiles[3] / quantiles[1], "", at_most=3.0)


def innocent_times(token: str, seconds: float) -> tuple[list[float], int]:
    """Seconds of each answer, and how many requests had none."""
    times, others, body = list[float](), 0, form(("image", phantom_png()))
    end = time.perf_counter() + seconds
    connection = HTTPConnection("127.0.0.1", PORT, timeout=120)
    while (begun := time.perf_counter()) < end:
        connection.request("POST", "/v1/predictions", body, kind(token))
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - begun)
        others += answer.status != 200
    connection.close()
    return times, others


@contextmanager
def company(token: str) -> Iterator[Counter[int]]:
    """Hostile clients in a process of their own, until the block ends; what they were answered, afterwards."""
    counts, (here, there) = Counter[int](), multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=be_hostile, args=(token, there), daemon=True)
    process.start()
    here.recv()
    try:
        yield counts
    finally:
        here.send(None)
        counts.update(here.recv())
        process.join(30)


def be_hostile(token: str, link: multiprocessing.connection.Connection) -> None:
    """Twelve clients of different habits, and 500 connections that say nothing."""
    os.nice(5)  # their own work is not what is measured
    ended, counts = threading.Event(), Counter[int]()
    idle = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(500)]
    habits = [files, files, large, large, batches, batches, clips, drips, drips, headers, unread, unknown]
    for number, habit in enumerate(habits):
        threading.Thread(target=again, args=(habit, token, random.Random(number), ended, counts), daemon=True).start()
    link.send("ready")
    link.recv()
    ended.set()
    time.sleep(1)
    link.send(dict(counts))
    for connection in idle:
        connection.close()


Habit = Callable[[str, random.Random], int]


def again(habit: Habit, token: str, chance: random.Random, ended: threading.Event, counts: Counter[int]) -> None:
    while not ended.is_set():
        with suppress(OSError, HTTPException):
            status = habit(token, chance)
            counts[status] += 1
            if status in (429, 503):
                time.sleep(0.2)  # sooner than it was told


def files(token: str, chance: random.Random) -> int:
    return sent("POST", "/v1/predictions", kind(token), form(("image", chance.choice(hostile_inputs()).content)))


def large(token: str, chance: random.Random) -> int:
    return sent("POST", f"/v1/predictions?cam=png&x={chance.random()}", kind(token), form(("image", _large())))


def batches(token: str, _: random.Random) -> int:
    return sent("POST", "/v1/predictions:batch", kind(token), form(*[("images", phantom_png())] * 16))


def clips(token: str, _: random.Random) -> int:
    clip = dicom(np.stack([speckle(seed=seed) for seed in range(40)]))
    return sent("POST", "/v1/predictions:batch?frames=all", kind(token), form(*[("images", clip)] * 4))


def drips(token: str, _: random.Random) -> int:
    with _opened("POST", "/v1/predictions", {**kind(token), "Content-Length": "100000"}) as connection:
        for _ in range(20):
            connection.sendall(b"-")
            time.sleep(0.5)
    return 0


def headers(_: str, __: random.Random) -> int:
    with socket.create_connection(("127.0.0.1", PORT)) as connection:
        connection.sendall(b"POST /v1/predictions HTTP/1.1\r\n")
        for number in range(20):
            connection.sendall(b"X-%d: y\r\n" % number)
            time.sleep(0.5)
    return 0


def unread(token: str, _: random.Random) -> int:
    body = form(("image", _unread()))
    with _opened("POST", "/v1/predictions?cam=array", {**kind(token), "Content-Length": str(len(body))}) as connection:
        connection.sendall(body)
        time.sleep(10)
    return 0


def unknown(_: str, __: random.Random) -> int:
    return sent("POST", "/v1/predictions", kind("wsus_unknown"), form(("image", b"x" * 10**6)))


def _opened(method: str, path: str, sent_headers: dict[str, str]) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", PORT), timeout=30)
    head = "".join(f"{name}: {value}\r\n" for name, value in sent_headers.items())
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
    return connection


def _picture(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(Image.effect_noise((width // 8, height // 8), 60).resize((width, height)))).save(stream, "PNG")
    return stream.getvalue()


_MADE: dict[str, bytes] = {}


def _large() -> bytes:
    return _MADE.setdefault("large", _MADE.get("large") or _picture(8000, 5000))


def _unread() -> bytes:
    return _MADE.setdefault("unread", _MADE.get("unread") or _picture(2000, 1900))


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


def kind(token: str) -> dict[str, str]:
    """The headers of a form."""
    return {**bearer(token), "Content-Type": "multipart/form-data; boundary=b"}


def sent(method: str, path: str, sent_headers: dict[str, str], body: bytes) -> int:
    """The status of one request on a connection of its own; 0 where it has none."""
    connection = HTTPConnection("127.0.0.1", PORT, timeout=120)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in ({"Content-Length": str(len(body))} | sent_headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was read
            connection.send(body)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


class Peak:
    """Memory of a process and its children, looked at twice a second."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._ended = process, threading.Event()
        self.before = self.most = self.after = resident_mib(process)
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            with suppress(psutil.Error):
                self.most = max(self.most, resident_mib(self._process))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.after = resident_mib(self._process)


if __name__ == "__main__":
    raise SystemExit(main())
