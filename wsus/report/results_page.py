"""A study's results as one Markdown page that may stand beside code: its tables and curves, and no picture of a patient.

It copies what the comparison wrote; nothing is computed or worded anew, so that page and report cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsus.disclaimer import DISCLAIMER

_PICTURES_OF_PATIENTS = ("cam_", "hard_cases")
_IN_ORDER = ("table1", "table2", "table3", "table4")
_CURVES = ("roc_", "calibration_", "decision_", "box_accuracy_", "subgroups_", "training")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultsPage:
    """text: Markdown.  figures: the files that it shows, by the name that it gives them."""

    text: str
    figures: Mapping[str, Path]


def results_page(study: Mapping[str, Any], comparison: Path, *, command: str, figures_at: str, notes: str = "") -> ResultsPage:
    """The page of one study.

    Args:
        study: its study.json.  comparison: the folder that `write_report` wrote.
        command: what repeats it.  figures_at: where the figures will lie, as the page names them.
        notes: Markdown that a person adds, such as what was tried; stands behind the figures.
    """
    figures = {path.name: path for path in sorted((comparison / "figures").glob("*.png")) if _may_stand(path.stem)}
    tables = {path.stem: path.read_text(encoding="utf-8").strip() for path in sorted((comparison / "tables").glob("*.md"))}
    order = [*(slug for slug in _IN_ORDER if slug in tables), *(slug for slug in tables if slug not in _IN_ORDER)]
    summary = (comparison / "summary.txt").read_text(encoding="utf-8")

    blocks = [
        f"# Results: {study['name']}",
        f"**{DISCLAIMER} Nothing here supports the care of a patient.**",
        f"Images: {study.get('data', 'not named')}. Begun {study['created']}; {_versions(study)}.",
        f"Repeat it with:\n\n```sh\n{command}\n```",
        *_said(summary),
        *(f"![{Path(name).stem.replace('_', ' ')}]({figures_at}/{name})" for name in figures),
        *(tables[slug] for slug in order),
        *([notes.strip()] if notes.strip() else []),
    ]
    return ResultsPage(text="\n\n".join(blocks) + "\n", figures=figures)


def _may_stand(slug: str) -> bool:
    return slug.startswith(_CURVES) and not slug.startswith(_PICTURES_OF_PATIENTS)


def _said(summary: str) -> list[str]:
    """The verdicts and remarks of the terminal's summary, under their headings."""
    blocks = []
    for heading in ("Findings", "Remarks", "Failed, and left out above"):
        _, found, rest = summary.partition(f"\n\n{heading}\n")
        if found:
            blocks.append(f"## {heading}\n\n```text\n{rest.partition(chr(10) * 2)[0]}\n```")
    return blocks


def _versions(study: Mapping[str, Any]) -> str:
    versions = study.get("versions", {})
    named = [f"{name} {versions[name]}" for name in ("wsus", "torch", "ray", "python") if name in versions]
    return ", ".join(named) or "versions not noted"
