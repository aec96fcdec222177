"""A study whose cells stand for all of their seeds: asked for at once, or when the trials are there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_study import tiny

from cluster.session import ray_session
from tune_jobs.compare import compare_study, publish_best_weak
from tune_jobs.run import run_study
from wsus.errors import ConfigError
from wsus.models.bundle import read_bundle
from wsus.storage import open_store
from wsus.types import ENSEMBLE, Mode

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with ray_session(num_cpus=2):
        yield


def test_ensemble_is_made_of_trials_that_are_there_and_stands_for_the_cell(tmp_path: Path) -> None:
    config = tiny("seeds", modes=(Mode.WEAK,), seeds=(0, 1))
    assert run_study(config, str(tmp_path)).failures == ()
    trained = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("fit.pt"))

    together = replace(config, ensemble=True)
    assert run_study(together, str(tmp_path)).new == ("resnet34-weak",)
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("fit.pt")) == trained
    assert run_study(together, str(tmp_path)).new == ()

    cell = tmp_path / "studies/seeds/cells/resnet34-weak"
    table = pd.read_parquet(cell / "predictions.parquet").set_index(["seed", "split", "image_id"])["pom"].sort_index()
    logits = np.log(table / (1 - table))
    np.testing.assert_allclose(logits[ENSEMBLE], (logits[0] + logits[1]) / 2, atol=1e-3)
    card = read_bundle(cell / "bundle").card
    assert (card.net.members, card.training["seeds"]) == (2, [0, 1])

    compared = compare_study(open_store(tmp_path), "seeds")
    assert "which stand for it together, as an ensemble" in " ".join(compared.summary.split())
    seeds = pd.read_csv(tmp_path / "studies/seeds/comparison/tables/seeds_internal.csv")
    assert seeds["Stands for the cell"].tolist() == ["ensemble"]
    published = publish_best_weak(open_store(tmp_path), "seeds")
    assert read_bundle(tmp_path / f"models/{published.name}/{published.version}").card.net.members == 2


def test_ensemble_of_one_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ensemble needs two seeds or more, for instance seeds=0,1,2; got seeds=0"):
        tiny("alone", ensemble=True)
