"""From a study in the store to its comparison: statistics, tables, figures, report. No Ray needed."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from tune_jobs.keys import cell_key, cell_name, comparison_key, hard_cases_key, published_key, study_key
from tune_jobs.pictures import read_gallery, read_hard_cases
from tune_jobs.run_log import read_runs
from tune_jobs.studies import read_study
from wsus.comparison.compare import ComparisonConfig, compare
from wsus.comparison.predictions import check_predictions
from wsus.comparison.result import Comparison
from wsus.errors import StudyError
from wsus.models.bundle import read_bundle
from wsus.models.registry import PublishedModel, publish_model
from wsus.report.inputs import CellArtefacts, HardCasePicture, ReportInputs
from wsus.report.write import card_figures, terminal_summary, write_report
from wsus.storage import Store

REPORT = "comparison/report.html"


@dataclass(frozen=True, kw_only=True)
class ComparedStudy:
    """summary: Tables 2 to 4 and the verdicts as text.  report: address of report.html."""

    summary: str
    report: str


def compare_study(store: Store, name: str) -> ComparedStudy:
    """Compute and publish `studies/<name>/comparison/` from what the cells left.

    Raises:
        StudyError: no such study, or none of its cells is trained.
    """
    inputs = load_inputs(store, name)
    comparison = _comparison(inputs)
    with TemporaryDirectory(prefix="wsus-report-") as folder:
        written = Path(folder) / "comparison"
        write_report(written, inputs, comparison)
        summary = terminal_summary(comparison, inputs)
        (written / "summary.txt").write_text(summary + "\n")
        store.publish(written, comparison_key(name))
    return ComparedStudy(summary=summary, report=store.url(study_key(name, REPORT)))


def last_comparison(store: Store, name: str) -> ComparedStudy | None:
    """What `compare_study` published last; None where it has not."""
    if not store.is_published(comparison_key(name)):
        return None
    summary = store.read_bytes(f"{comparison_key(name)}/summary.txt").decode().rstrip("\n")
    return ComparedStudy(summary=summary, report=store.url(study_key(name, REPORT)))


def last_published(store: Store, name: str) -> PublishedModel | None:
    """The model that `publish_best_weak` published last from this study; None where it has not."""
    key = published_key(name)
    if not store.exists(key):
        return None
    note = store.read_json(key)
    return PublishedModel(name=note["name"], version=note["version"], aliases=tuple(note["aliases"]))


def publish_best_weak(store: Store, name: str, *, model: str | None = None, alias: str = "production") -> PublishedModel:
    """Publish the weakly-supervised network with the best development AUC, its card carrying the comparison's figures.

    Args:
        model: the name to publish under; the study's name by default.
    Raises:
        StudyError: the study has no trained weak cell.
    """
    from wsus.inference.publishing import write_servable  # loads torch, which a comparison does not need

    inputs = load_inputs(store, name)
    comparison = _comparison(inputs)
    if comparison.best_weak is None:
        raise StudyError(f"study {name!r} has no trained cell of the mode 'weak'; run `wsus study` with --modes weak")
    backbone = comparison.best_weak
    with TemporaryDirectory(prefix="wsus-publish-") as folder:
        cell = store.fetch(cell_key(name, cell_name(backbone, "weak")), Path(folder) / "cell")
        bundle = Path(folder) / "bundle"
        trained = read_bundle(cell / "bundle")
        figures = {**trained.card.figures, **card_figures(comparison, backbone, "weak")}
        write_servable(trained, bundle, replace(trained.card, name=model or name, figures=figures))
        published = publish_model(store, model or name, bundle, alias=alias)
    store.write_json(published_key(name), asdict(published))
    return published


def load_inputs(store: Store, name: str) -> ReportInputs:
    """Read what a study left in the store.

    Raises:
        StudyError: no such study, or none of its cells is trained.
    """
    study = read_study(store, name)
    below = study_key(name)
    published = [cell for cell in store.children(f"{below}/cells") if store.is_published(f"{below}/cells/{cell}")]
    if not published:
        raise StudyError(f"study {name!r}: none of its cells is trained yet; run `wsus study` (it goes on where it stopped)")
    outcome = store.read_json(f"{below}/outcome.json") if store.exists(f"{below}/outcome.json") else {"failures": []}
    with TemporaryDirectory(prefix="wsus-cells-") as folder:
        cells, tables = [], []
        for cell in published:
            fetched = store.fetch(f"{below}/cells/{cell}", Path(folder) / cell)
            tables.append(
                check_predictions(pd.read_parquet(fetched / "predictions.parquet"), name=store.url(f"{below}/cells/{cell}"))
            )
            cells.append(_artefacts(fetched))
    records = pd.read_csv(
        io.BytesIO(store.read_bytes(f"{below}/records.csv")), dtype={"birads": "string", "patient_id": "string"}
    )
    order = {(b, m): i for i, (b, m) in enumerate(_planned(study["config"]))}
    return ReportInputs(
        study={**study, **{k: outcome.get(k) for k in ("wall_s", "compute", "by_part")}, "runs": read_runs(store, name)},
        records=records,
        left_out=tuple(store.read_json(f"{below}/left_out.json")),
        predictions=pd.concat(tables, ignore_index=True),
        cells=tuple(sorted(cells, key=lambda cell: order.get((cell.backbone, cell.mode), len(order)))),
        failures=tuple(outcome["failures"]),
        hard_pictures=_hard_pictures(store, name),
    )


def _hard_pictures(store: Store, name: str) -> tuple[HardCasePicture, ...]:
    """None where the study is of a version that kept none."""
    key = hard_cases_key(name)
    if not store.is_published(key):
        return ()
    with store.fetched(key) as folder:
        return read_hard_cases(folder)


def _comparison(inputs: ReportInputs) -> Comparison:
    config = inputs.study["config"]
    errors = {failure["cell"]: failure["error"] for failure in inputs.failures}
    expected = {(b, m): errors.get(cell_name(b, m), "not trained yet") for b, m in _planned(config)}
    settings = ComparisonConfig(margin=config["margin"], bootstrap=config["bootstrap"])
    return compare(inputs.predictions, settings, chosen_seeds=inputs.chosen_seeds, expected=expected)


def _planned(config: dict[str, Any]) -> list[tuple[str, str]]:
    return [(backbone, mode) for backbone in config["backbones"] for mode in config["modes"]]


def _artefacts(folder: Path) -> CellArtefacts:
    info = json.loads((folder / "cell.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    return CellArtefacts(
        backbone=info["backbone"], mode=info["mode"], info=info, history=history, gallery=read_gallery(folder / "gallery")
    )
