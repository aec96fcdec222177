"""A study that stops at its budget scores what ended, and goes on later; one whose trials all fail alike stops early."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_study import TRAIN, tiny

import tune_jobs.budget as budget
from cluster.session import ray_session
from tune_jobs.run import run_study
from tune_jobs.study import Resources
from wsus.errors import StudyError
from wsus.types import Mode

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ONE_AT_A_TIME = Resources(max_concurrent_trials=1, max_core_hours=1e3)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with ray_session(num_cpus=1):
        yield


def test_budget_scores_what_ended_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"backbones": ("resnet34", "googlenet"), "resources": ONE_AT_A_TIME, "train": replace(TRAIN, epochs=6)}
    config = tiny("spent", modes=(Mode.WEAK,), **changes)

    def spend(self: budget.Budget) -> None:
        self._core_hours = 1e3

    with monkeypatch.context() as patched:
        patched.setattr(budget.Budget, "ended", spend)
        first = run_study(config, str(tmp_path / "store"))
    assert first.cells == ("resnet34-weak",)
    assert ["googlenet" in failure["trial"] for failure in first.failures] == [True]
    assert "resources.max_core_hours=1000 is spent; the cells of the trials that ended are scored" in capfd.readouterr().out

    second = run_study(config, str(tmp_path / "store"))
    assert (second.new, second.failures) == (("googlenet-weak",), ())
    run_study(replace(config, resources=Resources()), str(tmp_path / "whole"))
    for path in (tmp_path / "whole").rglob("predictions.parquet"):
        other = pd.read_parquet(tmp_path / "store" / path.relative_to(tmp_path / "whole"))
        np.testing.assert_array_equal(other["pom"], pd.read_parquet(path)["pom"])


def test_trials_that_all_fail_alike_stop_the_study_before_all_are_tried(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tiny("alike", modes=(Mode.WEAK,), seeds=tuple(range(8)), weights=str(tmp_path / "weights.pt"))
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    with pytest.raises(StudyError, match="the first 3 trials that ended all failed alike"):
        run_study(replace(config, resources=replace(ONE_AT_A_TIME, alike_failures=3)), str(tmp_path / "store"))
    assert capfd.readouterr().out.count("FAILED") in (3, 4)
