"""What Tune keeps of a study, cut off in the writing."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tune_jobs.tune_state import can_go_on
from wsus.storage import FolderStore, open_store

OLDER, NEWER = "2026-11-29_07-36-53", "2026-11-29_07-39-03"
KEY = "studies/s/tune"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """Two runs of a study, as Tune keeps them."""
    found = open_store(tmp_path)
    assert isinstance(found, FolderStore)
    found.write_bytes(f"{KEY}/tuner.pkl", pickle.dumps({"a": 1}))
    for run in (OLDER, NEWER):
        found.write_bytes(f"{KEY}/experiment_state-{run}.json", b'{"trial_data": [["{}", "{}"]], "runner_data": {}}')
        found.write_bytes(f"{KEY}/basic-variant-state-{run}.json", pickle.dumps({"_iterators": [1, 2]}))
    return found


def test_a_whole_state_is_used_as_it_lies(store: FolderStore) -> None:
    before = store.keys(KEY)
    assert can_go_on(store, KEY)
    assert store.keys(KEY) == before


@pytest.mark.parametrize("name", [f"experiment_state-{NEWER}.json", f"basic-variant-state-{NEWER}.json"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_run_that_was_cut_off_gives_way_to_the_one_before(store: FolderStore, name: str, missing: bool) -> None:
    if missing and name.startswith("basic"):
        store.delete(f"{KEY}/{name}")
    else:
        store.write_bytes(f"{KEY}/{name}", store.read_bytes(f"{KEY}/{name}")[:-4])
    assert can_go_on(store, KEY)
    kept = [f"basic-variant-state-{OLDER}.json", f"experiment_state-{OLDER}.json", "tuner.pkl"]
    assert store.keys(KEY) == [f"{KEY}/{name}" for name in kept]


@pytest.mark.parametrize("taken", [("tuner.pkl",), ("experiment_state-",), ("basic-variant-state-",)])
def test_without_one_of_its_parts_tune_begins_anew(store: FolderStore, taken: tuple[str, ...]) -> None:
    for key in store.keys(KEY):
        if key.removeprefix(f"{KEY}/").startswith(taken):
            store.delete(key)
    assert not can_go_on(store, KEY)


def test_a_tuner_that_was_cut_off_is_none(store: FolderStore) -> None:
    store.write_bytes(f"{KEY}/tuner.pkl", pickle.dumps({"a": 1})[:-1])
    assert not can_go_on(store, KEY)


def test_the_state_of_a_search_has_two_files(store: FolderStore) -> None:
    for run in (OLDER, NEWER):
        store.delete(f"{KEY}/basic-variant-state-{run}.json")
        store.write_bytes(f"{KEY}/search_gen_state-{run}.json", pickle.dumps({"counter": 2}))
        store.write_bytes(f"{KEY}/searcher-state-{run}.pkl", pickle.dumps(([], 1, {})))
    assert can_go_on(store, KEY)
    store.write_bytes(f"{KEY}/searcher-state-{NEWER}.pkl", b"\x80\x05")
    assert can_go_on(store, KEY)
    assert not [key for key in store.keys(KEY) if NEWER in key]
