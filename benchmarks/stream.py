"""What do streamed images cost against images in memory, and does memory stay within its budget?

    python benchmarks/stream.py [--images 4000] [--budget-gb 0.05] [--epochs 2]

Studies of one trial on made images (noise, 224 px, a ResNet34 of a sixteenth of its width without augmentation: a net so small
that reading counts), one after the other on the same Ray, whose one processor the trial holds: a few images in memory, which
shows what a trial takes besides them; all in memory; all streamed from a folder; all streamed from a real S3 server (`weed`) of
this machine. Images/s are those of the median epoch without the first. The trial's memory is its process's peak resident size,
mapped files and objects of Ray included. What Ray's object store holds is asked for ten times a second.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from s3_server import BUCKET, s3_server

LEAST_RATIO = 0.8  # of the images/s in memory, streamed from a folder
BESIDE_MB = 150.0  # what a trial that streams may take beside its budget and what a trial of a few images takes: Ray Data itself
FEW, SIDE = 400, 224


def main() -> int:
    """Print the table; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000, help="training images")
    parser.add_argument("--budget-gb", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wsus-bench-") as name, s3_server(Path(name)) as server:
        settings = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_REGION": "us-east-1", "WSUS_CACHE_DIR": f"{name}/cache"}
        os.environ |= settings | {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner-secret"}
        few, many = made(Path(name) / "few", FEW), made(Path(name) / "many", asked.images)
        cases = {
            "few, in memory": (few, 4.0, f"{name}/store"),
            "in memory": (many, 4.0, f"{name}/store"),
            "streamed": (many, asked.budget_gb, f"{name}/store"),
            "streamed, S3": (many, asked.budget_gb, f"s3://{BUCKET}/bench"),
        }
        decoded_mb, budget_mb = asked.images * SIDE**2 / 1e6, asked.budget_gb * 1e3
        print(f"{asked.images} training images, {decoded_mb:.0f} MB decoded, budget {budget_mb:.0f} MB")
        print("                 images/s  waited  trial, peak MB  object store, peak MB  wall s")
        rows = dict(measured(cases, asked.epochs))
    return 0 if reported(rows, budget_mb) else 1


def made(folder: Path, images: int) -> Path:
    """A manifest of noise, small files that are enlarged as they are decoded; a malignant image is brighter."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    counts = {"train": images, "development": 200, "internal": 100}
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "patient_id", "path", "label", "split"])
        for split, count in counts.items():
            for number in range(count):
                label, image_id = ("benign", "malignant")[number % 2], f"{split}{number:06}"
                write_image(folder / f"images/{image_id}.png", rng.integers(1, 200 + 50 * (number % 2), (48, 48), dtype=np.uint8))
                writer.writerow([image_id, image_id, f"images/{image_id}.png", label, split])
    return folder / "manifest.csv"


def write_image(path: Path, grey_HW: Any) -> None:
    """A PNG, written fast."""
    from PIL import Image

    Image.fromarray(grey_HW).save(path, compress_level=1)


def measured(cases: dict[str, tuple[Path, float, str]], epochs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """(case, its figures), printed as they come."""
    from cluster.session import ray_session
    from tune_jobs.run import run_study
    from wsus.storage import open_store

    with ray_session(num_cpus=1), open(os.devnull, "w") as quiet:
        for case, (manifest, budget_gb, address) in cases.items():
            config = study(manifest, budget_gb, epochs, case.replace(", ", "-").replace(" ", "-").lower())
            start = time.perf_counter()
            with object_store_peak() as peak:
                outcome = run_study(config, address, progress(config, quiet))
            assert not outcome.failures, outcome.failures
            row = figures(open_store(address), config, peak[0]) | {"wall": time.perf_counter() - start}
            print(
                f"{case:<16} {row['rate']:>8.1f} {row['waited']:>7.1%} {row['trial']:>15.0f} {row['objects']:>22.0f} "
                f"{row['wall']:>7.0f}",
                flush=True,
            )
            yield case, row


def study(manifest: Path, budget_gb: float, epochs: int, name: str) -> Any:
    """One trial."""
    from tune_jobs.recipes import quick
    from tune_jobs.study import DataConfig, Resources, SourceConfig
    from wsus.data.roi import CropConfig
    from wsus.training.config import NO_AUGMENTATION, TrainConfig
    from wsus.types import Mode

    return replace(
        quick({}),
        name=name,
        data=DataConfig(internal=SourceConfig(kind="manifest", path=str(manifest)), splits_from_manifest=True),
        backbones=("resnet34",),
        modes=(Mode.WEAK,),
        width=1 / 16,
        stride=32,
        crop=CropConfig(size_px=SIDE),
        train=TrainConfig(epochs=epochs, batch_size=32, augment=NO_AUGMENTATION),
        resources=Resources(image_memory_gb=budget_gb),
    )


def figures(store: Any, config: Any, objects_mb: float) -> dict[str, float]:
    """Of a study that ended."""
    import io

    import pandas as pd

    from tune_jobs.keys import cell_key, study_key

    key = cell_key(config.name, "resnet34-weak")
    history = pd.read_csv(io.BytesIO(store.read_bytes(f"{key}/history.csv")))
    info = store.read_json(f"{key}/cell.json")
    train_s = statistics.median(history["train_s"][1:])
    count = int((pd.read_csv(io.BytesIO(store.read_bytes(study_key(config.name, "records.csv"))))["split"] == "train").sum())
    return {
        "rate": count / train_s,
        "waited": statistics.median(history["data_wait_s"][1:] / history["train_s"][1:]),
        "trial": info["training"]["peak_memory_mb"] * 2**20 / 1e6,
        "objects": objects_mb,
    }


@contextmanager
def object_store_peak() -> Iterator[list[float]]:
    """What Ray's object store holds at most within the block, over the least of that time, in MB: the list's one element."""
    import ray

    total, peak, over = ray.cluster_resources()["object_store_memory"], [0.0], threading.Event()
    used: list[float] = []

    def watch() -> None:
        while not over.wait(0.1):
            used.append((total - ray.available_resources().get("object_store_memory", total)) / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        peak[0] = max(used) - min(used)


def progress(config: Any, stream: Any) -> Any:
    """Lines that nobody reads."""
    from tune_jobs.progress import Progress

    return Progress(config.trials(), config.train.epochs, 1, stream=stream)


def reported(rows: dict[str, dict[str, float]], budget_mb: float) -> bool:
    """Print what the limits are held against; whether they are kept."""
    ratio = rows["streamed"]["rate"] / rows["in memory"]["rate"]
    beside = max(rows[case]["trial"] - rows["few, in memory"]["trial"] for case in ("streamed", "streamed, S3"))
    objects = max(rows[case]["objects"] for case in ("streamed", "streamed, S3"))
    from_s3 = rows["streamed, S3"]["rate"] / rows["in memory"]["rate"]
    print(f"images/s streamed / in memory: {ratio:.2f} (limit {LEAST_RATIO}); from S3: {from_s3:.2f}")
    print(f"a trial that streams, over one of a few images: {beside:.0f} MB (limit: the budget and {BESIDE_MB:.0f} MB)")
    print(f"object store: {objects:.0f} MB (limit: the budget)")
    kept = ratio >= LEAST_RATIO and beside <= budget_mb + BESIDE_MB and objects <= budget_mb
    print(f"limits: {'kept' if kept else 'MISSED'}")
    return kept


if __name__ == "__main__":
    raise SystemExit(main())
