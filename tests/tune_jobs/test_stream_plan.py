"""Whether images are streamed is known before anything is decoded, and stays as a study began."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_study import tiny

from tune_jobs.data import StudyData, load_data
from tune_jobs.placement import place
from tune_jobs.stream_plan import ImageMemory, StreamPlan, image_memory, plan_in_words, plan_stream, settle_plan
from tune_jobs.study import Resources, StudyConfig
from wsus.errors import ConfigError
from wsus.storage import FolderStore
from wsus.types import Mode, Split

GB = 10**9
LAPTOP = {"CPU": 2.0, "memory": 8.0 * GB, "object_store_memory": 2.0 * GB}
HEAD = {"memory": 1.0 * GB, "object_store_memory": 0.5 * GB}


@pytest.fixture(scope="module")
def data() -> StudyData:
    return load_data(tiny("x").data, lambda _: None)


def memory_of(config: StudyConfig, data: StudyData, nodes: list[dict[str, float]]) -> ImageMemory:
    return image_memory(config, data, nodes)


def test_what_is_needed_counts_all_modes_and_a_quarter_of_the_smallest_working_node_is_given(data: StudyData) -> None:
    config = tiny("x", modes=(Mode.WEAK, Mode.MANUAL_ROI))
    count = len(data.split(Split.TRAIN)) + len(data.split(Split.DEVELOPMENT))

    found = memory_of(config, data, [LAPTOP, {**LAPTOP, "memory": 6.0 * GB}, HEAD])

    assert (found.needed, found.budget, found.fits) == (count * 32 * 32 * 2, 1.5 * GB, True)
    assert plan_stream(config, found, place(config.resources, [LAPTOP]), [LAPTOP]) is None
    (line,) = plan_in_words(config, found, None)
    assert "within 1.50 GB (25% of the smallest node's memory): each machine decodes them once" in line


def test_a_named_budget_counts_and_pool_and_shards_in_flight_stay_within_it(data: StudyData) -> None:
    config = tiny("x", modes=(Mode.WEAK, Mode.AUTO_ROI), resources=Resources(image_memory_gb=3.0))
    needed = ImageMemory(needed=100 * GB, budget=3 * GB, named=True)
    assert memory_of(config, data, [LAPTOP]).budget == needed.budget

    plan = plan_stream(config, needed, place(config.resources, [LAPTOP]), [LAPTOP])

    assert plan is not None
    shard = plan.per_shard * 32 * 32
    assert 0.9 * 64 * 2**20 < shard <= 64 * 2**20
    assert 2 * 2 * plan.pool * shard <= needed.budget  # two trials on the node, and as much in flight as in the pool
    small_store = plan_stream(config, needed, place(config.resources, [LAPTOP]), [{**LAPTOP, "object_store_memory": 0.12 * GB}])
    assert small_store is not None
    assert 2 * 6 * small_store.per_shard * 32 * 32 <= 0.06 * GB
    lines = plan_in_words(config, needed, plan)
    assert "100.00 GB decoded, more than 3.00 GB (resources.image_memory_gb): trials stream them in shards of" in lines[0]
    assert "U-Nets do not stream" in lines[1]


def test_a_study_goes_on_as_it_began(tmp_path: Path) -> None:
    store, plan = FolderStore(tmp_path), StreamPlan(per_shard=10, pool=8)
    assert settle_plan(store, "s", plan) == plan
    assert settle_plan(store, "s", None) is None  # it was ended before it was there

    store.write_json("studies/s/study.json", {})
    assert settle_plan(store, "s", plan) is None
    store.write_json("studies/old/study.json", {})
    assert settle_plan(store, "old", plan) is None  # from before there was streaming
    assert settle_plan(store, "t", plan) == plan
    store.write_json("studies/t/study.json", {})
    assert settle_plan(store, "t", replace(plan, per_shard=99)) == plan

    memory = ImageMemory(needed=1, budget=2, named=True)
    assert "but the study goes on as it began: trials stream" in plan_in_words(tiny("x"), memory, plan)[0]


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"resources\.image_memory_gb must be > 0; got 0"):
        Resources(image_memory_gb=0)
