"""Each opening of a scored split leaves a note."""

from __future__ import annotations

from pathlib import Path

from tune_jobs.openings import log_opening, read_openings
from wsus.storage import open_store


def test_openings_are_kept_in_order_and_development_is_none(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    assert read_openings(store, "s") == ()

    log_opening(store, "s", cell="net-weak", seed=0, images={"development": 5}, bundle_digest="aa")
    for seed in (1, 0):
        log_opening(store, "s", cell="net-weak", seed=seed, images={"development": 5, "internal": 4}, bundle_digest="aa")

    notes = read_openings(store, "s")
    assert [(note["cell"], note["seed"], note["images"], note["network"]) for note in notes] == [
        ("net-weak", 1, {"internal": 4}, "aa"), ("net-weak", 0, {"internal": 4}, "aa"),
    ]  # fmt: skip
