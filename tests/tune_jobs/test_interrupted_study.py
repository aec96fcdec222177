"""Cells of the matrix of `make chaos`: a study interrupted while it trains and while it scores, then ended by the same line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from interrupted import EPOCHS, NAME, Run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_an_interrupted_study_publishes_nothing_and_goes_on(tmp_path: Path) -> None:
    first = Run(tmp_path)
    first.reach("mid-epoch")
    left = first.interrupt("SIGINT")
    assert (left.status, left.processes, left.models, left.cells) == (130, 0, 0, 0)
    assert left.seconds < 10
    assert "interrupted by SIGINT" in left.line
    assert "study cut: kept 0 of 2 cells and 0 of 2 trials trained to their end, others up to epoch " in left.line
    assert left.line.endswith("run the same line again to go on")

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
