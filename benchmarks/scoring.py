"""What does `wsus score` cost against a bare loop over the same files, and does its memory stay flat?

    python benchmarks/scoring.py --model STORE_OR_BUNDLE [--images 3000] [--cpus 2]

Small copies of a few phantoms, one image in a thousand broken. The bare loop reads, decodes and predicts a batch at a time in
one process, the network on all cores, and keeps the answers; `wsus score` decodes in tasks, predicts in an actor on the same
cores and writes Parquet. Its files/s are from its first to its last shard, since Ray's start is no part of an archive of days.
One after the other on the same machine, so that other work touches both: read the ratio, not the rates.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from PIL import Image

from cluster.session import ray_session
from tune_jobs.score import ScoreConfig, part_key, score_images
from wsus.data.sources.phantom import PhantomConfig
from wsus.data.sources.phantom_set import make_phantom_set
from wsus.inference.bulk import Images, answers, decoded, find_images
from wsus.inference.predict import Predictor
from wsus.models.asked import asked_model

LEAST_RATIO = 0.7
BATCH, SHARD = 32, 500


def main() -> int:
    """Print both rates and the ratio; 1 where it is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--cpus", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wsus-scoring-") as name:
        images = made(Path(name) / "images", asked.images)
        bare = bare_rate(asked.model, images, asked.cpus)
        print(f"bare loop   {bare:7.1f} files/s", flush=True)
        rate, peaks_mb = scored_rate(asked.model, images, Path(name) / "scores", asked.cpus)
    print(f"wsus score  {rate:7.1f} files/s, {rate / bare:.2f} of the bare loop (wanted {LEAST_RATIO})")
    print(f"memory of the driver and its Ray, MB, in tenths of the way: {', '.join(f'{peak:.0f}' for peak in peaks_mb)}")
    return 0 if rate >= LEAST_RATIO * bare else 1


def made(folder: Path, count: int) -> Images:
    """Copies of phantoms at a third of their size."""
    small = []
    with tempfile.TemporaryDirectory() as name:
        make_phantom_set(Path(name) / "set", [PhantomConfig(patients_per_class=5)])
        for path in sorted((Path(name) / "set/images").glob("*.png")):
            with Image.open(path) as image:
                stream = io.BytesIO()
                image.resize((image.width // 3, image.height // 3)).save(stream, "PNG")
                small.append(stream.getvalue())
    for number in range(count):
        place = folder / f"{number // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:06d}.png").write_bytes(b"broken" if number % 1000 == 500 else small[number % len(small)])
    return find_images(str(folder))


def bare_rate(model: str, images: Images, cpus: int) -> float:
    """Files per second of one process."""
    with asked_model(model) as asked:
        predictor = Predictor(asked.bundle, batch_size=BATCH, threads=cpus)
    crop, start, kept = predictor.card.crop, time.monotonic(), []
    for at in range(0, len(images.names), BATCH):
        batch = images.names[at : at + BATCH]
        ready = [decoded(images, name, crop, all_frames=False, keep_pixels=False) for name in batch]
        kept += answers(predictor, [image for one in ready if isinstance(one, list) for image in one])
    return len(images.names) / (time.monotonic() - start)


def scored_rate(model: str, images: Images, out: Path, cpus: int) -> tuple[float, list[float]]:
    """(files per second from the first shard to the last, resident MB of all processes at each tenth of the way)."""
    ended, seen = threading.Event(), list[float]()
    watch = threading.Thread(target=memory_until, args=(ended, seen))
    with ray_session(num_cpus=cpus):
        watch.start()
        score_images(
            model, images, str(out), ScoreConfig(batch_size=BATCH, shard=SHARD), say=lambda line: print(line, file=sys.stderr)
        )
        ended.set()
    watch.join()
    shards = -(-len(images.names) // SHARD)
    first, last = ((out / part_key(number)).stat().st_mtime for number in (0, shards - 1))
    tenths = [max(seen[len(seen) * k // 10 : len(seen) * (k + 1) // 10] or [0.0]) for k in range(10)]
    return (len(images.names) - SHARD) / max(last - first, 1e-9), tenths


def memory_until(ended: threading.Event, seen: list[float]) -> None:
    """Resident memory of this process and all below it, once a second."""
    me = psutil.Process()
    while not ended.wait(1.0):
        total = 0
        for process in (me, *me.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        seen.append(total / 1e6)


if __name__ == "__main__":
    raise SystemExit(main())
