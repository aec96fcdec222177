"""A study whose images exceed the budget, on a real Ray whose only processor its trials hold: Ray Data reads the shards."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from numpy.typing import NDArray
from tiny_study import TINY_DATA, TRAIN, tiny

from cluster.session import ray_session
from tune_jobs.compute import use_device
from tune_jobs.data import StudyData, load_data
from tune_jobs.progress import Progress
from tune_jobs.run import run_study
from tune_jobs.stream import RayShards
from tune_jobs.study import Resources, StudyConfig, Trial
from tune_jobs.training import ModeStream, TrialContext, make_fit
from wsus.data.cache import open_cache
from wsus.data.shards import ShardSet, read_index, read_shards
from wsus.errors import StoreError
from wsus.storage import Store, open_store
from wsus.training.config import AugmentConfig
from wsus.types import Mode, Split

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DATA = replace(
    TINY_DATA,
    internal=replace(TINY_DATA.internal, patients_per_class=22),
    splits=replace(TINY_DATA.splits, train_per_class=17),  # as many as a guard needs
)
CONFIG = tiny(
    "streamed",
    data=DATA,
    modes=(Mode.WEAK,),
    train=replace(TRAIN, epochs=3, augment=AugmentConfig()),
    resources=Resources(image_memory_gb=3.3e-5),
    max_failures=1,
)


class Killer(Progress):
    """Kills the trial's process when its first epoch is reported."""

    def __init__(self, config: StudyConfig, stream: io.StringIO) -> None:
        super().__init__(config.trials(), config.train.epochs, 1, stream)
        self.killed = 0

    def reported(self, trial: Trial, result: Mapping[str, Any]) -> None:
        super().reported(trial, result)
        if not self.killed:
            titles = [("".join(process.cmdline()[:1]), process) for process in psutil.Process().children(recursive=True)]
            (process,) = [process for title, process in titles if title.startswith("ray::CellTrial")]
            os.kill(process.pid, signal.SIGKILL)
            self.killed += 1


@dataclass(frozen=True, kw_only=True)
class PlainShards:
    """Reads shards one after the other in this process."""

    address: str
    shards: ShardSet

    def __call__(self, numbers: Sequence[int]) -> Generator[NDArray[np.uint8]]:
        return read_shards(open_store(self.address), self.shards, numbers)


@pytest.fixture(scope="module")
def data() -> StudyData:
    return load_data(DATA, lambda _: None)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    """The store of a streamed study whose trial was killed once, and what was said. Ray runs until the tests are over."""
    folder, said = tmp_path_factory.mktemp("store"), io.StringIO()
    with ray_session(num_cpus=1):
        killer = Killer(CONFIG, said)
        outcome = run_study(CONFIG, str(folder), killer)
        assert outcome.failures == ()
        assert killer.killed == 1
        yield open_store(folder), said.getvalue()


def shard_sets(store: Store, data: StudyData) -> tuple[ShardSet, ShardSet]:
    """Those of the training and of the development images."""
    found = [read_index(store, f"shards/{name}") for name in store.children("shards")]
    by_count = {len(one): one for one in found if one is not None}
    return by_count[len(data.split(Split.TRAIN))], by_count[len(data.split(Split.DEVELOPMENT))]


def test_what_was_killed_and_streamed_by_ray_has_the_weights_of_a_plain_reading(ran: tuple[Store, str], data: StudyData) -> None:
    store, said = ran
    assert "(resources.image_memory_gb): trials stream them in shards of 2 " in said
    assert "  tried again: " in said
    train, development = shard_sets(store, data)
    assert len(train.rows) > 8  # more than the pool holds
    streams = {
        Mode.WEAK: ModeStream(
            train=PlainShards(address=store.address, shards=train),
            development=PlainShards(address=store.address, shards=development),
            pool=8,
        )
    }
    context = TrialContext(config=CONFIG, data=data, boxes=None, streams=streams)
    fit = make_fit(context, CONFIG.trials()[0], use_device(cpus=1, gpus=0))

    reports = list(fit)

    history = pd.read_csv(Path(store.address) / "studies/streamed/cells/resnet34-weak/history.csv")
    assert history["development_auc"].tolist() == [report.development_auc for report in reports]
    assert history["train_loss"].tolist() == pytest.approx([report.train_loss for report in reports], rel=1e-12)
    (checkpoint,) = sorted((Path(store.address) / "studies/streamed/tune").glob("*/checkpoint_*2"))
    weights = torch.load(checkpoint / "fit.pt", weights_only=True)["net"]
    assert all(torch.equal(value, weights[name]) for name, value in fit.net.state_dict().items())


def test_the_cell_is_whole(ran: tuple[Store, str]) -> None:
    store, _ = ran
    cell = Path(store.address) / "studies/streamed/cells/resnet34-weak"
    assert pd.read_parquet(cell / "predictions.parquet")["pom"].between(0, 1).all()
    assert (cell / "bundle/guard.safetensors").exists()  # fitted to images of shards
    history = pd.read_csv(cell / "history.csv")
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_shards_come_in_the_order_that_is_asked_for_and_a_damaged_one_is_named(ran: tuple[Store, str], data: StudyData) -> None:
    store, _ = ran
    train, _ = shard_sets(store, data)
    images_NHW = open_cache(data.split(Split.TRAIN), CONFIG.crop, Mode.WEAK, digest=data.digest).images_NHW
    reader, wanted = RayShards(address=store.locator, shards=train), [5, 0, 7, 3]
    found = [images_nHW.copy() for images_nHW in reader(wanted)]
    assert all(np.array_equal(one, images_NHW[train.rows[n]]) for one, n in zip(found, wanted, strict=True))

    content = store.read_bytes(f"{train.prefix}/00007.npy")
    store.write_bytes(f"{train.prefix}/00007.npy", content[:-1])
    reading = reader(wanted)
    assert len(next(reading)) == len(next(reading)) == len(train.rows[0])
    with pytest.raises(StoreError, match=r"the shard 00007\.npy of decoded images is damaged .* run the same line again"):
        next(reading)


def test_a_trial_that_computes_keeps_the_interpreter_for_itself(ran: tuple[Store, str], data: StudyData) -> None:
    """Ray Data's own thread would take most of a core from it as long as a shard waits to be taken."""
    store, _ = ran
    _, development = shard_sets(store, data)
    reading = RayShards(address=store.locator, shards=development)(range(len(development.rows)))
    next(reading)
    time.sleep(0.5)
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.2
    assert len(list(reading)) == len(development.rows) - 1
