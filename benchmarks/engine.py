"""How fast are the engines, how much does the inference path add, how soon is a replica ready and how large is it?

    python benchmarks/engine.py [--backbone resnet34] [--size 224] [--rounds 15]

Variants are timed in turn within each round, so that a busy machine slows all of them; figures are medians. An untrained
network of the asked architecture is published into a temporary folder first: weights do not change the speed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from wsus.data.roi import CropConfig
from wsus.inference.engines.choose import make_engine
from wsus.inference.engines.engine import Engine, EngineChoice
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import Bundle, ModelCard, read_bundle, write_bundle
from wsus.types import Mode

COLD_START_S, RESIDENT_MIB, FASTER = 20.0, 1024.0, 1.1
REPLICA = """
import sys, time
from pathlib import Path
import numpy as np
from wsus.inference.predict import DecodedImage, Predictor
from wsus.inference.self_test import self_test
from wsus.models.bundle import read_bundle
predictor = Predictor(read_bundle(Path(sys.argv[1])), engine=sys.argv[2])
difference = self_test(predictor)
ready = time.time() - float(sys.argv[3])
images = [DecodedImage(image_id="i", image_HW=np.random.default_rng(0).integers(1, 256, (500, 600), dtype=np.uint8))] * 8
for _ in range(4):
    predictor.predict(images)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
resident, peak = (int(status[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
print(ready, resident, peak, "torch" in sys.modules, difference)
"""


def main() -> int:
    """Print the figures; 1 where a limit of the project is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet34")
    parser.add_argument("--size", type=int, default=224, help="side of the input in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{asked.backbone}, {asked.size} px, CPU, {cores} cores, median of {asked.rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="wsus-bench-") as folder:
        bundle = published(Path(folder), asked.backbone, asked.size)
        kept = replicas(bundle)
        kept &= speed(bundle, asked.rounds, cores)
    limits = f"ready < {COLD_START_S:g} s, resident < {RESIDENT_MIB:g} MiB, onnx >= {FASTER} x torch"
    print(f"limits ({limits}): {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


def published(folder: Path, backbone: str, size_px: int) -> Bundle:
    """An untrained network as `wsus publish` leaves it."""
    import torch

    from wsus.inference.publishing import write_servable
    from wsus.nets.cam_net import CamNet, NetConfig

    torch.manual_seed(0)
    net = NetConfig(backbone=backbone)
    card = ModelCard(name="bench", net=net, mode=Mode.WEAK, crop=CropConfig(size_px=size_px))
    write_bundle(folder / "trained", card, CamNet(net))
    start = time.perf_counter()
    bundle = write_servable(read_bundle(folder / "trained"), folder / "published", card)
    assert bundle.card.onnx is not None
    differences = ", ".join(f"{name} {value:.1g}" for name, value in bundle.card.onnx.max_difference.items())
    print(f"published in {time.perf_counter() - start:.0f} s; onnx against torch: {differences}")
    return bundle


def speed(bundle: Bundle, rounds: int, cores: int) -> bool:
    """Time the engines alone, the bare network and session, and the whole inference path."""
    import torch

    from wsus.nets.cam_net import scale_to_unit

    torch.set_num_threads(cores)
    engines = {name: make_engine(bundle, name, threads=cores) for name in ("torch", "onnx")}
    net = read_bundle(bundle.folder).net  # contiguous, as torch makes it
    session = engines["onnx"]._wide  # type: ignore[attr-defined]
    size_px, kept = bundle.card.crop.size_px, True
    source_HW = np.random.default_rng(0).integers(1, 256, (480, 640), dtype=np.uint8)
    for batch in (1, 8):
        inputs_BHW = np.random.default_rng(1).integers(1, 256, (batch, size_px, size_px), dtype=np.uint8)
        images = [DecodedImage(image_id="i", image_HW=source_HW)] * batch

        def bare_torch(inputs_BHW: np.ndarray = inputs_BHW) -> None:
            with torch.inference_mode():
                net(scale_to_unit(torch.from_numpy(inputs_BHW)))

        variants: dict[str, Callable[[], object]] = {
            "bare torch module": bare_torch,
            "bare onnx session": lambda x=inputs_BHW: session.run(None, {"images_BHW": x}),
            "engine torch": lambda x=inputs_BHW: engines["torch"].infer(x),
            "engine onnx": lambda x=inputs_BHW: engines["onnx"].infer(x),
            "predict by torch": lambda p=Predictor(bundle, engine=engines["torch"]), i=images: p.predict(i),
            "predict by onnx": lambda p=Predictor(bundle, engine=engines["onnx"]), i=images: p.predict(i),
        }
        seconds = in_turn(variants, rounds)
        reference = seconds["engine torch"]
        for name, value in seconds.items():
            rate = f"{batch / value:6.1f} images/s  {reference / value:4.2f} x engine torch"
            print(f"  batch {batch}  {name:18} {1000 * value:7.1f} ms  {rate}")
        path_ms = 1000 * (seconds["predict by onnx"] - seconds["engine onnx"]) / batch
        print(f"  batch {batch}  the path around the engine: {path_ms:.1f} ms per image of 640 x 480 px (crop, map, boxes)")
        kept &= reference / seconds["engine onnx"] >= FASTER
    callers(engines["onnx"], np.random.default_rng(1).integers(1, 256, (8, size_px, size_px), dtype=np.uint8), rounds)
    return kept


def callers(engine: Engine, inputs_BHW: np.ndarray, rounds: int) -> None:
    """What callers at the same time get done, beside one whose calls have all the cores."""
    with ThreadPoolExecutor(engine.callers) as threads:
        together: dict[str, Callable[[], object]] = {
            "one after the other": lambda: [engine.infer(inputs_BHW) for _ in range(engine.callers)],
            "at the same time": lambda: list(threads.map(engine.infer, [inputs_BHW] * engine.callers)),
        }
        seconds = in_turn(together, rounds)
    alone, beside = seconds.values()
    print(f"  {engine.callers} callers of batches of 8: {alone / beside:.2f} x one caller")


def in_turn(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median wall time of each variant in seconds, one call of each per round after two to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 2):
        for name, call in variants.items():
            start = time.perf_counter()
            call()
            if number >= 2:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def replicas(bundle: Bundle) -> bool:
    """From the start of a process to a predictor that passed its self-test, and its memory after batches of 8."""
    kept = True
    engines: tuple[EngineChoice, ...] = ("torch", "onnx")
    for engine in engines:
        run = [sys.executable, "-c", REPLICA, str(bundle.folder), engine, str(time.time())]
        result = subprocess.run(run, capture_output=True, text=True, check=True)
        ready, resident, peak, with_torch, difference = result.stdout.split()
        memory = f"{float(resident):.0f} MiB resident, {float(peak):.0f} at most"
        loaded = "torch loaded" if with_torch == "True" else "without torch"
        print(f"  replica by {engine:5}  ready in {float(ready):4.1f} s  {memory}, {loaded}, self-test {float(difference):.1g}")
        kept &= engine == "torch" or (float(ready) < COLD_START_S and float(peak) < RESIDENT_MIB)
    return kept


if __name__ == "__main__":
    raise SystemExit(main())
