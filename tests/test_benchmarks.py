"""The benchmarks of coverage and of a store on S3: they count as they say, and their limits can be missed."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    return benchmark("coverage")


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_of_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_intervals_are_counted_as_held_too_high_and_missing(coverage: ModuleType) -> None:
    intervals = iter([(0.4, 0.6), (0.55, 0.7), (0.1, 0.3), None])

    tally = coverage.tallied(lambda _: {"x": (0.5, next(intervals))}, 4, np.random.default_rng(0))["x"]

    assert (tally.made, tally.held, tally.too_high, tally.missing) == (4, 1, 1, 1)
    assert tally.coverage == 0.25
    assert tally.width == pytest.approx(0.2 + 0.15 + 0.2)


@pytest.mark.parametrize(
    ("name", "held", "good"),
    [
        ("AUC", 950, True), ("AUC", 920, False), ("AUC", 980, False),
        ("sensitivity (exact)", 990, True), ("sensitivity (exact)", 930, False), ("plain (not reported)", 900, True),
    ],
)  # fmt: skip
def test_limits_can_be_missed(coverage: ModuleType, capsys: pytest.CaptureFixture[str], name: str, held: int, good: bool) -> None:
    assert coverage.reported(name, coverage.Tally(made=1000, held=held, width=100.0)) is good
    assert ("MISSED" in capsys.readouterr().out) is not good


def test_order_simulation_makes_intervals(coverage: ModuleType) -> None:
    rng = np.random.default_rng(1)
    for simulate in (coverage.one_score, coverage.clustered, coverage.paired, coverage.calls, coverage.bootstrap):
        for name, (truth, interval) in simulate(rng).items():
            assert math.isfinite(truth), name
            assert interval is not None, name
            assert interval[0] < interval[1], name


def test_true_partial_area_lies_between_a_coin_and_a_perfect_score(coverage: ModuleType) -> None:
    assert 0.02 < coverage.true_partial_auc() < 0.2


@pytest.mark.parametrize(
    ("wall_s", "between", "words"),
    [
        (110.0, 0.08, ["+10.0%", "the server took 8.0 s of the 2 processors; with its share taken off: +6.0%", "+3.0%", "kept"]),
        (118.0, 0.08, ["+18.0%", "taken off: +14.0%", "MISSED"]),  # the raw figure counts
        (110.0, 0.11, ["+6.0% (limit 5%)", "MISSED"]),
    ],
)
def test_store_on_s3_is_held_against_a_folder(
    wall_s: float, between: float, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = benchmark("store")
    here = store.Run(wall_s=100.0, between=0.05, server_s=0.0)
    there = store.Run(wall_s=wall_s, between=between, server_s=8.0)
    assert store.reported([here] * 3, [there] * 3) is (words[-1] == "kept")
    said = capsys.readouterr().out
    assert all(word in said for word in words), said
