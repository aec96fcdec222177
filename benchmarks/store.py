"""What does a store on S3 cost a study, against a local folder?

    python benchmarks/store.py [--rounds 3] [--whole]

A part of the recipe `quick` (one backbone, whole images and manual ROIs; `--whole`: all of it) runs alternately into a folder
and into a real S3 server (`weed`) of this machine, with the same Ray and the same two processes; one run before that is not
counted. The server takes its share of the same processors. What blocks training is the time of trials between their epochs
(the checkpoint's writing and upload, and what Ray Tune does), on S3 less that with a folder, per time of training.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from s3_server import BUCKET, s3_server

OVERHEAD, BLOCKED = 0.15, 0.05


def main() -> int:
    """Print the figures; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="all of the recipe quick (minutes a run)")
    asked = parser.parse_args()
    walls: dict[str, list[float]] = {"folder": [], "S3": []}
    between: dict[str, list[float]] = {"folder": [], "S3": []}
    with tempfile.TemporaryDirectory(prefix="wsus-bench-") as name, s3_server(Path(name)) as server:
        settings = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_REGION": "us-east-1"}
        os.environ |= settings | {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner-secret"}
        stores = {"folder": f"{name}/store", "S3": f"s3://{BUCKET}/bench"}
        for round_number in range(asked.rounds + 1):
            for kind, wall_s, share in one_round(stores, f"round-{round_number}", asked.whole):
                note = "" if round_number else "   (not counted)"
                print(f"round {round_number}  {kind:<6}  {wall_s:>6.1f} s  {share:>5.1%} between epochs{note}", flush=True)
                if round_number:
                    walls[kind].append(wall_s)
                    between[kind].append(share)
    return 0 if reported(walls, between) else 1


def one_round(stores: dict[str, str], name: str, whole: bool) -> Any:
    """(store, wall s, time between epochs per time of training) of a study in each store."""
    from cluster.session import ray_session
    from tune_jobs.run import run_study

    with ray_session(num_cpus=2), open(os.devnull, "w") as quiet:
        for kind in stores if name[-1] in "02468" else reversed(stores):
            config = replace(study(whole), name=name)
            start = time.perf_counter()
            outcome = run_study(config, stores[kind], progress(config, quiet))
            wall_s = time.perf_counter() - start
            assert not outcome.failures, outcome.failures
            took = outcome.by_part["trials"]
            yield kind, wall_s, took.cpu_hours * 3600 / took.seconds - 1.0  # one CPU a trial


def study(whole: bool) -> Any:
    """The recipe, or a part of it."""
    from tune_jobs.recipes import quick
    from tune_jobs.study import Resources
    from wsus.types import Mode

    config = replace(quick({}), resources=Resources(cpus_per_trial=1.0))
    return config if whole else replace(config, backbones=("resnet34",), modes=(Mode.WEAK, Mode.MANUAL_ROI))


def progress(config: Any, stream: Any) -> Any:
    """Lines that nobody reads."""
    from tune_jobs.progress import Progress

    return Progress(config.trials(), config.train.epochs, 2, stream=stream)


def reported(walls: dict[str, list[float]], between: dict[str, list[float]]) -> bool:
    """Print the medians; whether the limits are kept."""
    overhead = statistics.median(s3 / folder - 1 for s3, folder in zip(walls["S3"], walls["folder"], strict=True))
    blocked = statistics.median(s3 - folder for s3, folder in zip(between["S3"], between["folder"], strict=True))
    print(f"wall time, S3 against folder: {overhead:+.1%} (limit {OVERHEAD:.0%}), median of {len(walls['S3'])} rounds")
    print(f"blocked by the upload, of the time of training: {blocked:.1%} (limit {BLOCKED:.0%})")
    kept = overhead <= OVERHEAD and blocked <= BLOCKED
    print(f"limits: {'kept' if kept else 'MISSED'}")
    return kept


if __name__ == "__main__":
    raise SystemExit(main())
