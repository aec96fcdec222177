"""What does a store on S3 cost a study, against a local folder?

    python benchmarks/store.py [--rounds 4] [--whole]

A part of the recipe `quick` (one backbone, whole images and manual ROIs; `--whole`: all of it) runs alternately into a folder
and into a real S3 server (`weed`) of this machine, with the same Ray and the same two processes. The first round is not
counted: in it workers are started that the later ones find.

The server takes its share of the same processors. Its processor time is printed, and the overhead as if it had run on another
machine: its time, divided by the processors, taken off the wall time. The limit holds for the raw figure. What blocks training
is the time of trials between their epochs (the checkpoint's writing, what of its upload the epoch after did not cover, and what
Ray Tune does), on S3 less that with a folder, per time of training.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from s3_server import BUCKET, S3Server, s3_server

OVERHEAD, BLOCKED = 0.15, 0.05
PROCESSORS = 2


@dataclass(frozen=True, kw_only=True)
class Run:
    """A study. between: time of trials between their epochs per time of training.  server_s: the S3 server's processor time."""

    wall_s: float
    between: float
    server_s: float


def main() -> int:
    """Print the figures; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--whole", action="store_true", help="all of the recipe quick (minutes a run)")
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error("--rounds: at least one is counted")
    runs: dict[str, list[Run]] = {"folder": [], "S3": []}
    from cluster.session import ray_session

    with tempfile.TemporaryDirectory(prefix="wsus-bench-") as name, s3_server(Path(name)) as server:
        settings = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_REGION": "us-east-1"}
        os.environ |= settings | {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner-secret"}
        stores = {"folder": f"{name}/store", "S3": f"s3://{BUCKET}/bench"}
        with ray_session(num_cpus=PROCESSORS):
            for round_number in range(asked.rounds + 1):
                for kind, run in one_round(stores, server, f"round-{round_number}", asked.whole):
                    figures = f"{run.wall_s:>6.1f} s  {run.between:>5.1%} between epochs  {run.server_s:>4.1f} s of the server"
                    print(f"round {round_number}  {kind:<6}  {figures}{'' if round_number else '   (not counted)'}", flush=True)
                    if round_number:
                        runs[kind].append(run)
    return 0 if reported(runs["folder"], runs["S3"]) else 1


def one_round(stores: dict[str, str], server: S3Server, name: str, whole: bool) -> Iterator[tuple[str, Run]]:
    """A study in each store."""
    from tune_jobs.run import run_study

    with open(os.devnull, "w") as quiet:
        for kind in stores if name[-1] in "02468" else reversed(stores):
            config = replace(study(whole), name=name)
            start, server_s = time.perf_counter(), processor_s(server)
            outcome = run_study(config, stores[kind], progress(config, quiet))
            wall_s = time.perf_counter() - start
            assert not outcome.failures, outcome.failures
            took = outcome.by_part["trials"]
            between = took.cpu_hours * 3600 / took.seconds - 1.0  # one CPU a trial
            yield kind, Run(wall_s=wall_s, between=between, server_s=processor_s(server) - server_s)


def processor_s(server: S3Server) -> float:
    """What the server took of the processors since it was started."""
    times = psutil.Process(server.pid).cpu_times()
    return times.user + times.system


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


def reported(folder: list[Run], s3: list[Run]) -> bool:
    """Print the medians of the rounds; whether the limits are kept."""
    rounds = list(zip(folder, s3, strict=True))
    overhead = statistics.median(there.wall_s / here.wall_s - 1 for here, there in rounds)
    server_s = statistics.median(there.server_s for there in s3)
    elsewhere = statistics.median((there.wall_s - there.server_s / PROCESSORS) / here.wall_s - 1 for here, there in rounds)
    blocked = statistics.median(there.between - here.between for here, there in rounds)
    print(f"wall time, S3 against folder: {overhead:+.1%} (limit {OVERHEAD:.0%}), median of {len(rounds)} rounds")
    print(f"the server took {server_s:.1f} s of the {PROCESSORS} processors; with its share taken off: {elsewhere:+.1%}")
    print(f"blocked by the upload, of the time of training: {blocked:+.1%} (limit {BLOCKED:.0%})")
    kept = overhead <= OVERHEAD and blocked <= BLOCKED
    print(f"limits: {'kept' if kept else 'MISSED'}")
    return kept


if __name__ == "__main__":
    raise SystemExit(main())
