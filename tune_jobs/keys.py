"""Where everything of a study lies in a store: every path once.

studies/<name>/study.json, records.csv, left_out.json   what is computed, on which images
studies/<name>/runs/, lease.json, stream.json            who worked on it, who does now, how images are read
studies/<name>/auto_roi/<fold>/                          U-Nets and their boxes
studies/<name>/cells/<backbone>-<mode>/                  a finished cell
studies/<name>/hard_cases/, comparison/                  what follows from the cells
studies/<name>/openings/                                each time that a scored split was opened, by whom
studies/<name>/study_facts.json                          what only people know of the study
studies/<name>/outcome.json, published.json              how it ended, which model it became
studies/<name>/optuna.journal                            the samples that Optuna drew, and what came of them

Published models lie at `wsus.models.registry.bundle_key`.
"""

from __future__ import annotations

STUDIES = "studies"


def study_key(name: str, part: str = "") -> str:
    """A study, or a part of it."""
    return f"{STUDIES}/{name}/{part}" if part else f"{STUDIES}/{name}"


def in_path(backbone: str) -> str:
    """A backbone's name as part of a path: a timm network's colon is none."""
    return backbone.replace(":", "_")


def cell_name(backbone: str, mode: str) -> str:
    """A cell's name in paths and messages: 'resnet34-weak'."""
    return f"{in_path(backbone)}-{mode}"


def cell_key(study: str, cell: object) -> str:
    """A cell; `cell` is a `Cell` or its name."""
    return study_key(study, f"cells/{cell}")


def auto_roi_key(study: str, task: str) -> str:
    """A U-Net and its boxes."""
    return study_key(study, f"auto_roi/{task}")


def hard_cases_key(study: str) -> str:
    """The pictures of the hardest cases."""
    return study_key(study, "hard_cases")


def comparison_key(study: str) -> str:
    """Statistics, tables, figures and report."""
    return study_key(study, "comparison")


def published_key(study: str) -> str:
    """Which published model a study became."""
    return study_key(study, "published.json")


def outcome_key(study: str) -> str:
    """How a study ended."""
    return study_key(study, "outcome.json")


def optuna_key(study: str) -> str:
    """What Optuna knows of a study's trials: a journal for optuna-dashboard."""
    return study_key(study, "optuna.journal")


def lease_key(study: str) -> str:
    """Who drives a study now."""
    return study_key(study, "lease.json")


def runs_key(study: str) -> str:
    """One file for each run that worked on a study."""
    return study_key(study, "runs")


def openings_key(study: str) -> str:
    """One file for each time that a scored split was opened."""
    return study_key(study, "openings")


def study_facts_key(study: str) -> str:
    """What only people know of a study."""
    return study_key(study, "study_facts.json")
