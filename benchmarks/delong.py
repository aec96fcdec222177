"""How fast is the paired DeLong test? Ours beside MLstatkit's, on the same scores, in the same run, on one core.

    python benchmarks/delong.py [--cases 200000] [--repeats 5]

MLstatkit (measured: 0.1.91) is none of the project's dependencies; `make bench` installs it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from wsus.evaluation.auc import delong_paired

LIMIT_S, LIMIT_RATIO = 0.15, 5.0


def main() -> int:
    """Print the times and their ratio; 1 where a limit of the project is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core for both
    try:
        from MLstatkit import Delong_test
    except ImportError:
        print("MLstatkit is not installed: `make bench` installs it")
        return 2
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, arguments.cases)
    common = rng.normal(size=arguments.cases)
    continuous = [labels * shift + 0.6 * common + 0.8 * rng.normal(size=arguments.cases) for shift in (1.2, 1.15)]
    kept = True
    print(f"paired DeLong test, n = {arguments.cases:,}, best (median) of {arguments.repeats} runs")
    scores = {"continuous": continuous, **{f"{places} decimals": [one.round(places) for one in continuous] for places in (2, 1)}}
    for name, (a, b) in scores.items():
        ours, ours_median = timed(lambda a=a, b=b: delong_paired(labels, a, b), arguments.repeats)
        theirs, theirs_median = timed(lambda a=a, b=b: Delong_test(labels, a, b), arguments.repeats)
        found, reference = delong_paired(labels, a, b), Delong_test(labels, a, b)
        kept &= ours_median / theirs_median < 1 / LIMIT_RATIO and (ours_median < LIMIT_S or arguments.cases > 200_000)
        print(
            f"{name:>14}: wsus {ours:.3f} ({ours_median:.3f}) s   MLstatkit {theirs:.3f} ({theirs_median:.3f}) s   "
            f"{theirs_median / ours_median:.1f} x faster   Z {found.z:.9f}, theirs {-reference[0]:.9f}"
        )
    print(f"limits ({LIMIT_S} s at 200,000, {LIMIT_RATIO:g} x): {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


def timed(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Best and median wall time in seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), statistics.median(seconds)


if __name__ == "__main__":
    raise SystemExit(main())
