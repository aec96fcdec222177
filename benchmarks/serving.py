"""How fast is the server, beside what the same machine does without one? ResNet34 at 224 px on a CPU, maps and boxes included.

    python benchmarks/serving.py [--overload-s 60] [--only throughput latency plain overload start]

Everything runs on the same cores, the load's own processes too; what they cost is printed. All ratios are of one run.

- bare: a loop over `Predictor.predict`, the same engine, decoded images, in batches as large as those that the server forms;
  beside it, all of the largest size that the server allows.
- plain: what one writes first: FastAPI, eager torch, pytorch-grad-cam (`beside/plain_service.py`; `make bench` installs it).
- the clients: threads of this process (`beside/clients.py`).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil
from beside.clients import Client, closed_load, open_load
from PIL import Image

from wsus.data.images import decode_image
from wsus.data.roi import CropConfig
from wsus.data.sources.phantom import PhantomConfig, make_patient
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import read_bundle, write_bundle
from wsus.models.card import ModelCard
from wsus.models.registry import bundle_folder, publish_model
from wsus.storage import open_store
from wsus.types import Mode

PORT, PLAIN_PORT = 22_810, 22_811
BATCH = 8
PARTS = ("throughput", "latency", "plain", "overload", "start")
MIB = 2**20


def main() -> int:
    """Print the figures and whether each keeps its limit; 1 where one does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overload-s", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement of throughput")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    asked = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="wsus-bench-") as folder:
        store, image = published(Path(folder)), phantom_png()
        bare = Bare(store, image)
        print(f"{len(os.sched_getaffinity(0))} cores; image {len(image) / 1024:.0f} KiB PNG; engine {bare.engine}")
        with served(store, report if "start" in asked.only else None) as server:
            if "throughput" in asked.only:
                throughput(bare, image, asked.seconds, report)
            if "latency" in asked.only:
                latency(bare, image, report)
            if "overload" in asked.only:
                overload(image, asked.overload_s, server, report)
        if "plain" in asked.only:
            with served(store, None), plain_service():
                beside_plain(image, asked.seconds, report)
    return report.end()


@dataclass
class Report:
    """Lines with a limit each."""

    missed: list[str] = field(default_factory=list)

    def line(self, what: str, value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None) -> None:
        """Print one figure beside its limit."""
        limit = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}" if at_most is not None else ""
        good = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        print(f"{what:<66} {value:9.2f} {unit:<9} {limit:<9} {'' if good else 'MISSED'}", flush=True)
        if not good:
            self.missed.append(what)

    def end(self) -> int:
        """Exit status."""
        print(f"missed: {'; '.join(self.missed)}" if self.missed else "every limit is kept")
        return 1 if self.missed else 0


class Bare:
    """The engine without a server."""

    def __init__(self, store: Path, content: bytes) -> None:
        with bundle_folder(str(store)) as folder:
            self._predictor = Predictor(read_bundle(folder), batch_size=BATCH)
        self.engine, self._content = self._predictor.engine_name, content
        self._image = DecodedImage(image_id="x", image_HW=decode_image(content, name="x").grey_HW)
        self.images_per_s(2.0, [BATCH])

    def images_per_s(self, seconds: float, sizes: Sequence[int]) -> float:
        """Maps and boxes included, decoding not. sizes: of the batches, one after the other and over again."""
        begun, count, coming = time.perf_counter(), 0, cycle(sizes)
        while time.perf_counter() - begun < seconds:
            self._predictor.predict([self._image] * (size := next(coming)))
            count += size
        return count / (time.perf_counter() - begun)

    def latency_ms(self, repeats: int) -> tuple[float, float]:
        """Medians of inference with its map and boxes, and of decoding."""
        infer, decode = [], []
        for _ in range(repeats):
            begun = time.perf_counter()
            decode_image(self._content, name="x")
            decoded = time.perf_counter()
            self._predictor.predict([self._image])
            infer.append(time.perf_counter() - decoded)
            decode.append(decoded - begun)
        return 1000 * float(np.median(infer)), 1000 * float(np.median(decode))


def throughput(bare: Bare, image: bytes, seconds: float, report: Report) -> None:
    """16 clients against the bare loop, by turns, so that all see the same machine."""
    formed = closed_load(image, 16, 5.0, PORT).batches()
    rounds = []
    for _ in range(5):
        before = [bare.images_per_s(seconds / 10, sizes) for sizes in (formed, [BATCH])]
        load = closed_load(image, 16, seconds / 2, PORT)
        after = [bare.images_per_s(seconds / 10, sizes) for sizes in (load.batches(), [BATCH])]
        formed = load.batches()
        share = load.cpu_s / (load.seconds * len(os.sched_getaffinity(0)))
        ratio, of_largest = (2 * load.rate() / (one + other) for one, other in zip(before, after, strict=True))
        rounds.append((load.rate(), np.mean(formed), share, ratio, ratio / (1 - share), of_largest))
    rate, size, share, ratio, without_clients, of_largest = np.median(rounds, axis=0)
    report.line("served, 16 clients", rate, "images/s")
    report.line("images in one of its batches, on average", size, "")
    report.line("share of the processors that the clients took", share, "")
    report.line("served / bare loop with batches as the server's", ratio, "", at_least=0.8)
    report.line("the same, with the clients' share taken off", without_clients, "", at_least=0.9)
    report.line(f"served / bare loop with batches of {BATCH} alone, the largest", of_largest, "")


def latency(bare: Bare, image: bytes, report: Report) -> None:
    """One client against bare inference and decoding, by turns: medians of 20 rounds."""
    rounds, stages = [], []
    client = Client(image, PORT, "/v1/predictions")
    for _ in range(20):
        infer_ms, decode_ms = bare.latency_ms(12)
        times = []
        for _ in range(25):
            times.append(1000 * client.post()[0])
            stages.append(json.loads(client.answer)["timing_ms"] | {"client": times[-1]})
        p50_ms = float(np.median(times))
        rounds.append((p50_ms, infer_ms, decode_ms, p50_ms - infer_ms - decode_ms))
    p50_ms, infer_ms, decode_ms, extra_ms = np.median(rounds, axis=0)
    report.line("one client: p50", p50_ms, "ms")
    report.line("bare inference / bare decoding", infer_ms, f"/ {decode_ms:.1f} ms")
    report.line("one client: p50 beyond bare inference and decoding", extra_ms, "ms", at_most=6.0)
    decode, hop, infer, inside, outside = np.median(
        [[one[stage] for stage in ("decode", "queue", "infer", "total", "client")] for one in stages], axis=0
    )
    report.line("  of it: to a decoder's process and back, outlines, metrics", decode - decode_ms + infer - infer_ms, "ms")
    report.line("  Ray Serve, from the ingress to the predictor and back", hop, "ms")
    report.line("  the ingress: the body, the answer", inside - decode - hop - infer, "ms")
    report.line("  the client, HAProxy, HTTP", outside - inside, "ms")


def overload(image: bytes, seconds: float, server: psutil.Process, report: Report) -> None:
    """Four times what it can do."""
    capacity = closed_load(image, 16, 10.0, PORT).rate()
    calm = open_load(image, 0.8 * capacity, max(20.0, seconds / 2), PORT)
    before = resident_mib(server)
    open_load(image, 4 * capacity, seconds / 3, PORT)
    within = resident_mib(server)
    storm = open_load(image, 4 * capacity, seconds, PORT)
    print(f"overload: {storm.statuses()} at {4 * capacity:.0f} requests/s for {seconds:.0f} s; calm: {calm.statuses()}")
    others = sum(count for status, count in storm.statuses().items() if status not in (200, 429, 503))
    report.line("overload: answers that are neither 200, 429 nor 503", others, "", at_most=0)
    report.line("p99 at 80 % load", calm.quantile_ms(0.99), "ms")
    report.line(
        "overload: p99 of the accepted / p99 at 80 % load", storm.quantile_ms(0.99) / calm.quantile_ms(0.99), "", at_most=3.0
    )
    report.line("overload: accepted / capacity", storm.rate() / capacity, "")
    report.line("overload: memory of all processes beyond the calm", within - before, "MiB")
    report.line("overload: its growth within the overload", resident_mib(server) - within, "MiB", at_most=30)


def beside_plain(image: bytes, seconds: float, report: Report) -> None:
    """Both are up; each is asked alone, by turns."""
    ratios = []
    for _ in range(2):
        ours = closed_load(image, 16, seconds / 2, PORT).rate()
        plain = closed_load(image, 16, seconds / 2, PLAIN_PORT, "/predict").rate()
        ratios.append(ours / plain)
    report.line("plain FastAPI + eager torch + pytorch-grad-cam", plain, "images/s")
    report.line("ours / plain", float(np.median(ratios)), "", at_least=4.0)


@contextmanager
def served(store: Path, report: Report | None) -> Iterator[psutil.Process]:
    """`wsus serve` in a process of its own, ready."""
    begun = time.perf_counter()
    command = [Path(sys.executable).with_name("wsus"), "serve", "--insecure", "--store", str(store), "--port", str(PORT)]
    with running(command, PORT, "/readyz") as process:
        if report is not None:
            report.line("from the command to ready, Ray's start included", time.perf_counter() - begun, "s", at_most=20.0)
            replica = next(p for p in process.children(recursive=True) if "Predictor" in " ".join(p.cmdline()))
            for _ in range(20):
                Client(phantom_png(), PORT, "/v1/predictions").post()
            report.line("a predictor's resident memory", replica.memory_info().rss / MIB, "MiB", at_most=1024)
        yield process


@contextmanager
def plain_service() -> Iterator[psutil.Process]:
    """The service that one writes first."""
    command = [sys.executable, "-m", "uvicorn", "plain_service:app", "--port", str(PLAIN_PORT), "--log-level", "error"]
    with running(command, PLAIN_PORT, "/", cwd=Path(__file__).parent / "beside") as process:
        yield process


@contextmanager
def running(command: list[object], port: int, path: str, **options: object) -> Iterator[psutil.Process]:
    """A process of ours, once it answers; ended afterwards."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, **options)  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 180
            while not answers(port, path):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command}: did not answer\n{log.read().decode()[-2000:]}")
                time.sleep(0.05)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(90)


def answers(port: int, path: str) -> bool:
    """Whether a server is ready."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def resident_mib(process: psutil.Process) -> float:
    """Of a process and its children, shared pages counted once (PSS)."""
    everyone = [process, *process.children(recursive=True)]
    return sum(one.memory_full_info().pss for one in everyone if one.is_running()) / MIB


def published(folder: Path) -> Path:
    """A store with a ResNet34 of random weights, as `wsus publish` makes it."""
    import torch

    from wsus.inference.publishing import write_servable
    from wsus.nets.cam_net import CamNet, NetConfig

    torch.manual_seed(0)
    net = CamNet(NetConfig(backbone="resnet34")).eval()
    card = ModelCard(name="resnet34", net=net.config, mode=Mode.WEAK, crop=CropConfig(size_px=224))
    write_bundle(folder / "trained", card, net)
    write_servable(read_bundle(folder / "trained"), folder / "bundle", card)
    publish_model(open_store(folder / "store"), "resnet34", folder / "bundle")
    return folder / "store"


def phantom_png() -> bytes:
    """A made image of usual size."""
    pixels_HW = make_patient(PhantomConfig(patients_per_class=1, seed=3), 0).images[0].pixels_HW
    stream = io.BytesIO()
    Image.fromarray(np.asarray(Image.fromarray(pixels_HW).resize((560, 470)))).save(stream, "PNG")
    return stream.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
