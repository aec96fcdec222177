"""What a study was made from and with, so that it can be made again."""

from __future__ import annotations

from typing import Any

from wsus.comparison.result import Comparison
from wsus.report.inputs import ReportInputs
from wsus.report.limitations import opened
from wsus.report.wording import duration
from wsus.types import ENSEMBLE


def provenance(comparison: Comparison, inputs: ReportInputs) -> list[tuple[str, str]]:
    """(name, words): data and models by their digests, seeds, versions, runs, settings; what was not recorded is left out."""
    study: dict[str, Any] = inputs.study
    versions = ", ".join(f"{name} {version}" for name, version in sorted(study.get("versions", {}).items()))
    trained = {int(seed) for seed in inputs.predictions["seed"].unique()} - {ENSEMBLE}
    seeds = ", ".join(str(seed) for seed in sorted(trained))
    digests = [(cell, cell.info.get("bundle_digest")) for cell in inputs.cells]
    rows = [
        ("Study", study.get("name")),
        ("Recipe", study.get("recipe")),
        ("Created", study.get("created")),
        ("Data", study.get("data")),
        ("Data digest", study.get("manifest_digest")),
        ("Seeds of the trials", seeds),
        ("Models", "; ".join(f"{cell.backbone}-{cell.mode} {digest[:16]}" for cell, digest in digests if digest)),
        ("Versions", versions),
        ("Openings", opened(inputs)),
        *((f"Run {place}", _run_words(run, study)) for place, run in enumerate(study.get("runs") or [], start=1)),
        (
            "Comparison",
            ", ".join(
                f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in comparison.settings.items()
            ),
        ),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _run_words(run: dict[str, Any], study: dict[str, Any]) -> str:
    took = duration(float(run["wall_s"]))
    resources = ", ".join(f"{amount:g} {name}" for name, amount in run["resources"].items())
    words = [f"{run['started']}, {took if run['ended'] else f'interrupted after {took} or soon after'}"]
    words += [f"{resources} per trial", run["platform"]]
    other = {name: version for name, version in run["versions"].items() if study.get("versions", {}).get(name) != version}
    if other:
        words.append("with other versions: " + ", ".join(f"{name} {version}" for name, version in sorted(other.items())))
    return "; ".join(words)
