"""Cells of the matrix of `make chaos`: a study interrupted while it trains and while it scores, then ended by the same line."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from interrupted import EPOCHS, NAME, Run
from typer.testing import CliRunner

from wsus.cli import app
from wsus.storage import Store, open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def as_an_earlier_version_ended(store: Store) -> None:
    """What was left where Ctrl-C published a half-trained network: as 364bd12 wrote it, but for files that nobody reads."""
    key = f"studies/{NAME}"
    study = store.read_json(f"{key}/study.json")
    for name in ("attention", "cam_threshold_rule", "noninferiority_confidence", "pooling", "prevalence"):
        del study["config"][name]
    for name in ("floor_percentile", "mirror"):
        del study["config"]["map"][name]
    for name in ("auxiliary_weight", "frozen_layers", "precision", "small_px", "small_share", "smooth_epochs"):
        study["config"]["train"].pop(name, None)
    for name in ("precision", "image_warnings"):
        study.pop(name, None)
    store.write_json(f"{key}/study.json", study)
    settings = {"epochs": EPOCHS, "patience": None, "lr": 0.004}
    cell = {"backbone": "resnet34", "mode": "weak", "epochs": 2, "best_seed": 0, "hyperparameters": settings}
    history = "seed,sample,epoch,train_loss,development_auc\n0,0,1,0.69,0.0\n0,0,2,0.68,0.0\n"
    with TemporaryDirectory() as folder:
        Path(folder, "cell.json").write_text(json.dumps({**cell, "trials": ["resnet34-weak-seed0-sample0"]}))
        Path(folder, "history.csv").write_text(history)
        store.publish(Path(folder), f"{key}/cells/resnet34-weak")
    store.write_json(f"{key}/outcome.json", {"cells": ["resnet34-weak"], "failures": [], "wall_s": 50.0, "concurrency": 1})
    store.write_json(f"{key}/published.json", {"name": NAME, "version": 7, "aliases": ["production"]})


def test_an_interrupted_study_publishes_nothing_and_goes_on(tmp_path: Path) -> None:
    first = Run(tmp_path)
    first.reach("mid-epoch")
    left = first.interrupt("SIGINT")
    assert (left.status, left.processes, left.models, left.cells) == (130, 0, 0, 0)
    assert left.seconds < 10
    assert "interrupted by SIGINT" in left.line
    assert "study cut: kept 0 of 2 cells and 0 of 2 trials trained to their end, others up to epoch " in left.line
    assert left.line.endswith("run the same line again to go on")

    as_an_earlier_version_ended(open_store(tmp_path / "store"))
    listed = CliRunner().invoke(app, ["studies", "list", "--out", str(tmp_path / "store")]).output
    assert f"trains it on: resnet34-weak: trained for 2 of {EPOCHS} epochs" in listed
    assert "  unfinished  0/2 cells  models/cut/7" in listed

    second = Run(tmp_path)
    second.reach("scoring")
    left = second.interrupt("SIGTERM")
    assert (left.status, left.processes, left.models) == (143, 0, 0)

    text = Run(tmp_path).finish()
    for cell in ("resnet34-weak", "resnet34-auto_roi"):
        info = json.loads((tmp_path / f"store/studies/{NAME}/cells/{cell}/cell.json").read_text())
        assert info["ended"] == {f"{cell}-seed0-sample0": {"epochs": EPOCHS, "planned": EPOCHS, "why": "epochs"}}
    card = json.loads((tmp_path / f"store/models/{NAME}/1/card.json").read_text())
    assert len(card["training"]["runs"]) >= 2
    assert not card["training"]["runs"][0]["ended"]
    assert not card["gate"]["passed"]
    assert f"wsus models promote {NAME} 1" in text
