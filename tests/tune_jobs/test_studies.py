"""Studies of a store are listed, compared and removed; published models are never touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tune_jobs.compare import last_published
from tune_jobs.lease import LeaseConfig, held_lease
from tune_jobs.recipes import make_config
from tune_jobs.settings import with_changes
from tune_jobs.studies import (
    as_begun,
    diff_studies,
    list_studies,
    read_study,
    refuse_conflict,
    remove_shards,
    remove_study,
    summarise,
)
from wsus.cli import app
from wsus.errors import StoreError, StudyBusyError, StudyConflictError, StudyError, UnknownNameError
from wsus.models.registry import list_models, publish_model
from wsus.storage import FolderStore

QUICK = LeaseConfig(renew_s=0.1, stale_s=0.5)


def lay(store: FolderStore, name: str, *, epochs: int = 2, **more: Any) -> None:
    """What a study leaves, without its training."""
    config = {
        "name": name,
        "backbones": ["vgg16"],
        "modes": ["weak", "manual_roi"],
        "train": {"epochs": epochs},
        "scheduler": "none",
    }
    study = {"name": name, "recipe": "quick", "created": "2026-01-01", "config": config, "manifest_digest": "d", "versions": {}}
    store.write_json(f"studies/{name}/study.json", study | more)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    lay(made, "a")
    lay(made, "b", epochs=3)
    for cell in ("vgg16-weak", "vgg16-manual_roi"):
        made.write_bytes(f"studies/a/cells/{cell}/SHA256SUMS", b"")
        made.write_json(f"studies/a/cells/{cell}/cell.json", {"ended": {}})
    made.write_bytes("studies/b/cells/vgg16-weak/history.csv", b"half")
    made.write_bytes("studies/a/tune/trial/checkpoint_000001/fit.pt", b"x")
    made.write_json("studies/a/outcome.json", {"failures": []})
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "card.json").write_text("{}")
    publish_model(made, "a", bundle)
    made.write_json("studies/a/published.json", {"name": "a", "version": 1, "aliases": ["production"]})
    return made


def test_studies_are_listed_with_their_state(store: FolderStore) -> None:
    first, second = list_studies(store)
    assert (first.name, first.state, first.cells, first.planned, first.model) == (
        "a", "complete", ("vgg16-manual_roi", "vgg16-weak"), 2, "models/a/1",
    )  # fmt: skip
    assert (second.name, second.state, second.cells, second.model) == ("b", "unfinished", (), None)
    store.write_json("studies/b/outcome.json", {"failures": [{"trial": "t", "cell": "c", "error": "e"}]})
    assert summarise(store, "b").state == "failed"
    with held_lease(store, "b", print, QUICK):
        assert summarise(store, "b").state == "running"


def test_a_cell_that_an_earlier_version_left_half_trained_is_named(store: FolderStore) -> None:
    """Earlier versions wrote no reason: the epochs of history.csv are held against what was asked for."""
    cell = "studies/a/cells/vgg16-weak"
    store.write_json(f"{cell}/cell.json", {"hyperparameters": {"epochs": 18, "patience": None}})
    store.write_bytes(f"{cell}/history.csv", b"seed,sample,epoch,development_auc\n0,0,1,0.5\n0,0,2,0.7\n0,0,3,0.6\n")

    found = summarise(store, "a")

    assert (found.state, found.cells) == ("unfinished", ("vgg16-manual_roi",))
    assert found.half_trained == ("vgg16-weak: trained for 3 of 18 epochs",)
    store.write_json("studies/a/published.json", {"name": "a", "version": 1, "aliases": ["production"]})
    listed = CliRunner().invoke(app, ["studies", "list", "--out", str(store.root)]).output
    assert "the next run of the study trains it on: vgg16-weak: trained for 3 of 18 epochs" in listed
    assert "its model models/a/1 was published when they were; the next run publishes another" in listed


def test_a_model_of_an_earlier_version_counts_while_its_cells_are_as_they_were(store: FolderStore) -> None:
    """Else the same line, interrupted once between cells and model, would take the model of a half-trained cell for its own."""
    for cell in ("vgg16-weak", "vgg16-manual_roi"):
        store.write_json(f"studies/a/cells/{cell}/cell.json", {"hyperparameters": {"epochs": 2, "patience": None}})
        store.write_bytes(f"studies/a/cells/{cell}/history.csv", b"seed,sample,epoch,development_auc\n0,0,1,0.5\n0,0,2,0.7\n")
    published = last_published(store, "a")
    assert published is not None
    assert published.version == 1
    store.write_json("studies/a/cells/vgg16-weak/cell.json", {"ended": {}})
    assert last_published(store, "a") is None


def test_a_study_goes_on_without_the_settings_that_its_version_did_not_know(store: FolderStore) -> None:
    config = make_config("quick", {})
    began = config.to_json()
    del began["train"]["smooth_epochs"], began["attention"]
    store.write_json("studies/quick/study.json", {"config": began, "manifest_digest": "d"})

    goes_on = as_begun(store, config, "quick")

    assert (config.train.smooth_epochs, goes_on.train.smooth_epochs) == (3, 1)
    assert with_changes(goes_on, {"train": {"smooth_epochs": 3}, "attention": config.to_json()["attention"]}) == config
    refuse_conflict(store, goes_on)
    with pytest.raises(StudyConflictError, match=r"train\.smooth_epochs: 1 -> 3"):
        refuse_conflict(store, config)
    assert as_begun(store, config, "another") == config


def test_differences_are_lines(store: FolderStore) -> None:
    assert diff_studies(store, "a", "b") == ["train.epochs: 2 -> 3"]
    lay(store, "c", manifest_digest="e", versions={"ray": "3"})
    assert diff_studies(store, "a", "c") == ['manifest_digest: "d" -> "e"', 'versions.ray: null -> "3"']


def test_removing_a_study_leaves_its_published_model_and_other_studies(store: FolderStore) -> None:
    before = {key: store.read_bytes(key) for key in store.keys("models") + store.keys("studies/b")}
    assert remove_study(store, "a") > 4
    assert [study.name for study in list_studies(store)] == ["b"]
    left = store.keys()
    assert {key: store.read_bytes(key) for key in left} == before
    assert [model.version for model in list_models(store)] == [1]


def test_study_that_runs_is_not_removed(store: FolderStore) -> None:
    with held_lease(store, "a", print, QUICK), pytest.raises(StudyBusyError, match="is being run by"):
        remove_study(store, "a", lease=QUICK)
    assert store.exists("studies/a/study.json")


def test_decoded_images_are_removed_when_no_study_runs(store: FolderStore) -> None:
    before = store.keys()
    store.write_bytes("shards/abc/00000.npy", b"pixels")
    with held_lease(store, "b", print, QUICK), pytest.raises(StudyBusyError, match="is being run by"):
        remove_shards(store, lease=QUICK)
    assert store.exists("shards/abc/00000.npy")
    assert remove_shards(store, lease=QUICK) == 1
    assert store.keys() == before


def test_unknown_studies_are_named(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown study 'aa'\. Did you mean 'a'"):
        remove_study(store, "aa")
    with pytest.raises(StudyError, match="holds no study; run `wsus study` first"):
        read_study(FolderStore(tmp_path / "none"), "a")


def test_study_of_a_newer_schema_is_refused(store: FolderStore) -> None:
    lay(store, "n", schema_version=2, versions={"wsus": "9.0"})
    with pytest.raises(StoreError, match=r"schema version 2, made by wsus 9\.0; this wsus knows up to 1: install a newer"):
        read_study(store, "n")


def test_commands(store: FolderStore) -> None:
    def wsus(*arguments: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, ["studies", *arguments, "--out", store.address])
        return found.exit_code, found.output

    assert wsus("list") == (
        0,
        "a  quick  2026-01-01  complete  2/2 cells  models/a/1\nb  quick  2026-01-01  unfinished  0/2 cells\n",
    )
    assert json.loads(wsus("show", "a")[1])["summary"]["state"] == "complete"
    assert wsus("diff", "a", "b") == (1, "train.epochs: 2 -> 3\n")
    assert wsus("diff", "a", "a") == (0, "no difference\n")
    assert "the published model models/a/1 stays" in wsus("rm", "a", "--yes")[1]
    store.write_bytes("shards/abc/00000.npy", b"pixels")
    assert wsus("clean")[1] == "0 pieces removed\n"
    assert wsus("clean", "--shards")[1] == "0 pieces removed\n1 objects of decoded images removed\n"
    assert store.exists("models/a/1/card.json")
