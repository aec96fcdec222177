"""Trials of two workers on a real local Ray: they find what one finds, go on exactly, and leave no process behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import ray
import torch
from tiny_study import TRAIN, tiny

from cluster.session import ray_session
from tune_jobs.data import load_data
from tune_jobs.progress import Progress
from tune_jobs.run import run_study
from tune_jobs.run_log import read_runs
from tune_jobs.study import Resources, StudyConfig, Trial
from tune_jobs.team import _end_those_that_fail, _failures
from tune_jobs.training import TrialContext, make_fit
from wsus.errors import StudyError
from wsus.storage import open_store
from wsus.types import Mode

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CELLS = ("vgg16-weak", "resnet34-weak")


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with ray_session(num_cpus=2):
        yield


def two_workers(**changes: Any) -> StudyConfig:
    """VGG16 without batch normalisation and ResNet34 with it; no augmentation. SGD, since AdamW makes steps of rounding."""
    settings: dict[str, Any] = {
        "backbones": ("vgg16", "resnet34"),
        "modes": (Mode.WEAK,),
        "per_backbone": {"vgg16": {"batch_norm": False}},
        "train": replace(TRAIN, optimizer="sgd", lr=1e-2),
        "resources": Resources(workers_per_trial=2, cpus_per_trial=2),
    }
    return tiny("team", **settings | changes)


class Killer(Progress):
    """Kills a process of each trial when its first epoch is reported: the first time a further worker, then a Trainable."""

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config.trials(), config.train.epochs, 1)
        self.killed: dict[str, str] = {}

    def reported(self, trial: Trial, result: Mapping[str, Any]) -> None:
        super().reported(trial, result)
        if str(trial) not in self.killed:
            name = "ray::CellTrial" if self.killed else "ray::TrialWorker"
            (pid,) = processes(name)
            os.kill(pid, signal.SIGKILL)
            self.killed[str(trial)] = name


def processes(name: str) -> list[int]:
    """Processes below this one whose title begins so."""
    titles = []
    for process in psutil.Process().children(recursive=True):
        try:
            titles.append((process.pid, "".join(process.cmdline()[:1])))
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return [pid for pid, title in titles if title.startswith(name)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished study of two workers per trial."""
    store = tmp_path_factory.mktemp("whole")
    outcome = run_study(two_workers(), str(store))
    assert outcome.failures == ()
    assert outcome.concurrency == 1
    assert not processes("ray::TrialWorker")
    return store


def weights(store: Path, cell: str, epoch: int) -> dict[str, torch.Tensor]:
    """The network after an epoch, from its checkpoint."""
    folder = store / f"studies/team/tune/{cell}-seed0-sample0/checkpoint_{epoch - 1:06}"
    state: dict[str, torch.Tensor] = torch.load(folder / "fit.pt", weights_only=True)["net"]
    return state


def test_two_workers_find_what_one_finds(whole: Path) -> None:
    """After the first epoch; on so few and small images ResNet34 then makes another AUC of a change of 1e-8, alone too."""
    config = two_workers()
    context = TrialContext(config=config, data=load_data(config.data, lambda _: None), boxes=None)
    for trial, cell in zip(config.trials(), CELLS, strict=True):
        one = make_fit(context, trial, torch.device("cpu"))
        report = one.run_epoch()
        first = weights(whole, cell, 1)
        state = one.net.state_dict()
        learned = [float((value - first[name]).abs().max()) for name, value in state.items() if "running_" not in name]
        assert max(learned) < (1e-4 if cell == "resnet34-weak" else 1e-5)
        for name in (name for name in state if "running_" in name):  # taken anew: rounding of all layers below adds up
            assert torch.allclose(state[name], first[name], rtol=0.01, atol=0.01)
        history = pd.read_csv(whole / f"studies/team/cells/{cell}/history.csv")
        assert history["development_auc"][0] == report.development_auc
        assert history["train_loss"][0] == pytest.approx(report.train_loss, abs=1e-4)


def test_what_a_trial_took_is_that_of_all_its_workers(whole: Path) -> None:
    store = open_store(whole)
    (run,) = read_runs(store, "team")
    assert run["resources"] == {"CPU": 2, "workers": 2}
    trials = store.read_json("studies/team/outcome.json")["by_part"]["trials"]
    assert trials["cpu_hours"] > 2 * trials["seconds"] / 3600


def test_killed_workers_are_replaced_and_the_trial_goes_on_exactly(whole: Path, tmp_path: Path) -> None:
    config = two_workers(max_failures=1)
    killer = Killer(config)

    outcome = run_study(config, str(tmp_path), killer)

    assert outcome.failures == ()
    assert sorted(killer.killed.values()) == ["ray::CellTrial", "ray::TrialWorker"]
    errors = [path.read_text() for path in (tmp_path / "studies/team/tune").glob("*/error.txt")]
    assert any("worker 2 of 2 ended in the midst of the work: killed, or its machine is gone" in text for text in errors)
    for cell in CELLS:
        expected, found = weights(whole, cell, 2), weights(tmp_path, cell, 2)
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
    end = time.monotonic() + 10
    while processes("ray::TrialWorker") and time.monotonic() < end:
        time.sleep(0.1)
    assert not processes("ray::TrialWorker")


def test_more_workers_than_the_cluster_holds_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    message = r"a trial wants 1 CPU for each of 3 workers; the cluster has room for 2 \(2 CPU.*lower resources\.workers_per_trial"
    with pytest.raises(StudyError, match=message):
        run_study(two_workers(resources=Resources(workers_per_trial=3)), str(tmp_path))
    assert not (tmp_path / "studies").exists()


@ray.remote(num_cpus=0)
class _Failing:
    def work(self) -> None:
        raise ValueError("no room on the GPU")

    def wait(self) -> None:
        time.sleep(60)


def test_a_worker_that_fails_is_ended_and_named() -> None:
    """It would else be waited for; one that ended by itself is named rather than those that failed for it."""
    one, other = _Failing.remote(), _Failing.remote()
    failed = one.work.remote()
    _end_those_that_fail([one], [failed])
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(one.wait.remote())  # a kill comes a moment later: what is short may still be done before it
    assert _failures([failed]) == ["worker 2 of 2: no room on the GPU"]

    killed = other.wait.remote()
    ray.kill(other)
    assert _failures([failed, killed]) == ["worker 3 of 3 ended in the midst of the work: killed, or its machine is gone"]
