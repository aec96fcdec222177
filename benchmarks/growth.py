"""How do the driver's time and memory grow with the number of trials?

    python benchmarks/growth.py [--sizes 100,300,1000] [--large] [--profile FILE]

A whole `run_study` with all that happens around a trial (Ray Tune, checkpoints, the lease, the run's note, progress, the results
read at the end), but trials that train nothing and cells that are not scored. Each size is a driver process of its own. CPU
is that of the driver process with its threads, during `run_study`; memory is what it has grown by at its peak. The exponent
is the slope of log(total) over log(trials); between the two largest sizes it must be at most LIMIT.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

LIMIT = 1.1
SIZES, LARGE = (100, 300, 1000), 5000


def main() -> int:
    """Print the table; 1 where a total grows faster than the limit allows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of trials, ascending")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE} trials")
    parser.add_argument("--profile", type=Path, help="where the largest size's profile goes, by own time")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one, asked.profile)))
        return 0
    sizes = [int(size) for size in asked.sizes.split(",")] + ([LARGE] if asked.large else [])
    rows = [measured(size, asked.profile if size == sizes[-1] else None) for size in sizes]
    return 0 if reported(sizes, rows) else 1


def measured(trials: int, profile: Path | None) -> dict[str, float]:
    """One size in a process of its own."""
    more = ["--profile", str(profile)] if profile else []
    command = [sys.executable, __file__, "--one", str(trials), *more]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return row


def one(trials: int, profile: Path | None) -> dict[str, float]:
    """What a driver takes for so many trials: seconds of wall and CPU, MiB."""
    import psutil

    from cluster.session import ray_session
    from tune_jobs import run

    stub = stub_trial()
    with tempfile.TemporaryDirectory(prefix="wsus-growth-") as folder, (Path(folder) / "log").open("w") as log:
        config = study(trials)
        with ray_session(num_cpus=2), patch.multiple(run, CellTrial=stub, finish_cells=nothing, keep_pictures=nothing):
            before = psutil.Process().memory_info().rss
            progress = run.Progress(config.trials(), config.train.epochs, 2, stream=log)
            profiler = cProfile.Profile()
            wall, cpu = time.perf_counter(), time.process_time()
            if profile:
                profiler.enable()
            outcome = run.run_study(config, f"{folder}/store", progress)
            profiler.disable()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert not outcome.failures, outcome.failures[:3]
        lines = (Path(folder) / "log").read_text().count("  trained (")
        assert lines == trials, f"{lines} of {trials} trials ended"
    if profile:
        with profile.open("w") as file:
            pstats.Stats(profiler, stream=file).sort_stats("tottime").print_stats(60).sort_stats("cumtime").print_stats(120)
    return {"wall_s": wall, "cpu_s": cpu, "mib": (peak - before) / 2**20}


def study(trials: int) -> Any:
    """A study of so many seeds on few phantoms."""
    from tune_jobs.study import DataConfig, SourceConfig, StudyConfig
    from wsus.data.roi import CropConfig
    from wsus.data.splits import SplitConfig
    from wsus.training.config import TrainConfig
    from wsus.types import Mode

    splits = SplitConfig(train_per_class=6, internal_per_class=3, external_per_class=3, development_fraction=0.3, folds=2)
    return StudyConfig(
        name="growth",
        recipe="benchmark",
        data=DataConfig(internal=SourceConfig(kind="phantom", patients_per_class=10), splits=splits),
        backbones=("resnet34",),
        modes=(Mode.WEAK,),
        seeds=tuple(range(trials)),
        crop=CropConfig(size_px=64),
        train=TrainConfig(epochs=1),
    )


def stub_trial() -> type:
    """A trial of one epoch that trains nothing, reports what a real one reports, and leaves a small checkpoint."""
    from ray import tune

    numbers = ("train_loss", "development_loss", "development_auc", "best_auc", "lr", "train_s", "data_wait_s", "epoch_s")
    took = ("cpu_hours", "gpu_hours", "peak_memory_mb", "peak_gpu_memory_mb")

    class StubTrial(tune.Trainable):
        def setup(self, config: dict[str, Any], context: Any) -> None:
            pass

        def step(self) -> dict[str, Any]:
            return dict.fromkeys((*numbers, *took), 0.5) | {"epoch": 1, "epochs": 1, "device": "none", "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            (Path(checkpoint_dir) / "fit.pt").write_bytes(bytes(1000))

        def load_checkpoint(self, checkpoint_dir: str) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    return StubTrial


def nothing(*_: Any, **__: Any) -> list[str]:
    """In the place of scoring."""
    return []


def reported(sizes: Sequence[int], rows: Sequence[dict[str, float]]) -> bool:
    """Print the growth table; whether the limit is kept."""
    print("trials   wall s   CPU s   CPU ms/trial   MiB   KiB/trial")
    for size, row in zip(sizes, rows, strict=True):
        each = f"{row['cpu_s'] / size * 1000:>14.1f} {row['mib']:>5.0f} {row['mib'] / size * 1024:>11.0f}"
        print(f"{size:>6} {row['wall_s']:>8.1f} {row['cpu_s']:>7.1f} {each}")
    kept = True
    for name, key in (("wall", "wall_s"), ("driver CPU", "cpu_s"), ("driver memory", "mib")):
        totals = [row[key] for row in rows]
        last = exponent(sizes[-2:], totals[-2:])
        kept &= last <= LIMIT
        print(f"{name}: exponent {exponent(sizes, totals):.2f} over all, {last:.2f} between the two largest")
    print(f"limit (exponent <= {LIMIT:g}): {'kept' if kept else 'MISSED'}")
    return kept


def exponent(sizes: Sequence[float], totals: Sequence[float]) -> float:
    """The least-squares slope of log(total) over log(size): 1 is linear, 2 quadratic."""
    x, y = [math.log(size) for size in sizes], [math.log(max(total, 1e-9)) for total in totals]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return across / sum((a - x_mean) ** 2 for a in x)


if __name__ == "__main__":
    raise SystemExit(main())
