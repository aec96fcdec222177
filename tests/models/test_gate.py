"""The alias `production` moves on purpose: the questions that a model is asked, and where it fails them."""

from __future__ import annotations

from typing import Any

import pytest

from wsus.errors import ConfigError
from wsus.models.gate import GateConfig, GateNote, ask_gate


def figures(n: int = 59, *, low: float | None = 0.7, patients: int | None = None, clustered_low: float = 0.7) -> dict[str, Any]:
    ci = None if low is None else [low, 0.95]
    return {
        "n": n,
        "n_patients": patients or n,
        "auc": {"value": 0.85, "ci": ci, "note": "one class only: no AUC"},
        "auc_clustered": {"value": 0.85, "ci": [clustered_low, 0.97], "note": ""},
    }


def ask(found: dict[str, Any], unfinished: str | None = None, least: int = 20) -> GateNote:
    return ask_gate(found, unfinished=unfinished, config=GateConfig(min_development=least))


def test_a_fit_model_passes_and_its_answers_survive_the_card() -> None:
    note = ask({"development": figures(), "internal": figures(low=0.1), "external": figures()})
    assert note.passed
    assert note.why_not == ""
    assert GateNote.from_json(note.to_json()) == note
    assert [check.check for check in note.checks] == [
        "study complete", "development images", "development AUC above chance", "external AUC above chance", "self-test",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "unfinished", "why"),
    [
        ({"development": figures(6)}, None, "development images: 6, at least 20 wanted"),
        ({}, None, "development images: 0, at least 20 wanted"),
        ({"development": figures(low=0.5)}, None, "development AUC above chance: 0.850 (0.500-0.950), a lower bound above 0.5"),
        ({"development": figures(low=None)}, None, "no interval could be estimated (one class only: no AUC)"),
        ({"development": figures(), "external": figures(low=0.21)}, None, "external AUC above chance: 0.850 (0.210-0.950)"),
        ({"development": figures()}, "3 of 9 cells are not trained", "study complete: 3 of 9 cells are not trained"),
        ({"development": figures(60, patients=15, clustered_low=0.48)}, None, "(0.480-0.970), a lower bound above 0.5 wanted"),
    ],
)
def test_an_unfit_model_is_held_back_and_the_reason_said(found: dict[str, Any], unfinished: str | None, why: str) -> None:
    note = ask(found, unfinished)
    assert not note.passed
    assert why in note.why_not


def test_the_least_number_of_images_is_a_setting() -> None:
    assert ask({"development": figures(6)}, least=6).passed
    with pytest.raises(ConfigError, match="at least two development images"):
        GateConfig(min_development=1)
