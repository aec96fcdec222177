"""From a study in the store to its comparison: statistics, tables, figures, report. No Ray needed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from tune_jobs.keys import (
    cell_key,
    cell_name,
    comparison_key,
    hard_cases_key,
    outcome_key,
    published_key,
    study_facts_key,
    study_key,
)
from tune_jobs.openings import read_openings
from tune_jobs.pictures import read_gallery, read_hard_cases
from tune_jobs.run_log import read_runs
from tune_jobs.studies import finished_cells, half_trained_cells, read_study, summarise
from wsus.comparison.compare import ComparisonConfig, compare
from wsus.comparison.predictions import check_predictions
from wsus.comparison.result import Comparison
from wsus.errors import StudyError
from wsus.evaluation.paired import ONE_SIDED
from wsus.models.bundle import read_bundle
from wsus.models.gate import GateConfig, ask_gate
from wsus.models.registry import PRODUCTION, PublishedModel, publish_model
from wsus.report.facts import read_facts
from wsus.report.inputs import CellArtefacts, HardCasePicture, ReportInputs
from wsus.report.write import card_figures, terminal_summary, write_report
from wsus.storage import SUMS, Store
from wsus.storage.base import as_json

REPORT = "comparison/report.html"
CHOSEN = "chosen.json"  # of a comparison: the weak network that it chose, and the figures of its card


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
        (written / CHOSEN).write_bytes(as_json(_chosen_note(store, name, comparison)))
        store.publish(written, comparison_key(name))
    return ComparedStudy(summary=summary, report=store.url(study_key(name, REPORT)))


def last_comparison(store: Store, name: str) -> ComparedStudy | None:
    """What `compare_study` published last; None where it has not, or a cell came or changed since."""
    if _last_chosen(store, name) is None:
        return None
    summary = store.read_bytes(f"{comparison_key(name)}/summary.txt").decode().rstrip("\n")
    return ComparedStudy(summary=summary, report=store.url(study_key(name, REPORT)))


def last_published(store: Store, name: str) -> PublishedModel | None:
    """The model that `publish_best_weak` published last from this study; None where it has not, or a cell changed since."""
    key = published_key(name)
    note = store.read_json(key) if store.exists(key) else None
    if note is None or not _is_of_these_cells(note, store, name):
        return None
    return PublishedModel(name=note["name"], version=note["version"], aliases=tuple(note["aliases"]))


def _is_of_these_cells(note: Mapping[str, Any], store: Store, name: str) -> bool:
    """Whether a model was published from a study's cells as they are. A note of an earlier version does not say: the cells of
    that version say nothing of how their trials ended, those that came since do.
    """
    cells = _cell_digests(store, name)
    if "cells" in note:
        return bool(note["cells"] == cells)
    return not any("ended" in store.read_json(f"{cell_key(name, cell)}/cell.json") for cell in cells)


def publish_best_weak(
    store: Store, name: str, *, model: str | None = None, alias: str = PRODUCTION, gate: GateConfig = GateConfig()
) -> PublishedModel:
    """Publish the weakly-supervised network with the best development AUC, its card carrying the comparison's figures.

    The alias `production` moves only where the model passes the gate, which the card keeps; any other moves.

    Args:
        model: the name to publish under; the study's name by default.
    Raises:
        StudyError: the study has no trained weak cell.
    """
    chosen = _last_chosen(store, name) or _chosen_note(store, name, _comparison(load_inputs(store, name)))
    backbone = chosen["best_weak"]
    if backbone is None:
        raise StudyError(f"study {name!r} has no trained cell of the mode 'weak'; run `wsus study` with --modes weak")
    from wsus.inference.publishing import write_servable  # loads torch, which a comparison does not need

    with TemporaryDirectory(prefix="wsus-publish-") as folder:
        cell = store.fetch(cell_key(name, cell_name(backbone, "weak")), Path(folder) / "cell")
        bundle = Path(folder) / "bundle"
        trained = read_bundle(cell / "bundle")
        figures = {**trained.card.figures, **chosen["figures"]}
        asked = ask_gate(figures, unfinished=_unfinished(store, name), config=gate)
        write_servable(trained, bundle, replace(trained.card, name=model or name, figures=figures, gate=asked))
        moves = asked.passed or alias != PRODUCTION
        published = publish_model(store, model or name, bundle, alias=alias if moves else None)
    store.write_json(published_key(name), {**asdict(published), "cells": chosen["cells"]})
    return published


def _unfinished(store: Store, name: str) -> str | None:
    """What a study lacks to be complete, in words; None where it is."""
    found = summarise(store, name)
    if found.half_trained:
        return found.half_trained[0]
    if found.failures:
        return f"{len(found.failures)} of its trials failed"
    missing = found.planned - len(found.cells)
    if missing:
        return f"{missing} of {found.planned} cells are not trained"
    return None if store.exists(outcome_key(name)) else "its last run did not come to its end"


def _chosen_note(store: Store, name: str, comparison: Comparison) -> dict[str, Any]:
    """What publishing needs of a comparison. cells: a digest of each cell that was compared."""
    backbone = comparison.best_weak
    figures = {} if backbone is None else card_figures(comparison, backbone, "weak")
    return {"cells": _cell_digests(store, name), "best_weak": backbone, "figures": figures}


def _last_chosen(store: Store, name: str) -> dict[str, Any] | None:
    """The note of the last comparison; None where there is none, or a cell came or changed since."""
    key = f"{comparison_key(name)}/{CHOSEN}"
    if not store.is_published(comparison_key(name)) or not store.exists(key):
        return None
    note: dict[str, Any] = store.read_json(key)
    return note if note["cells"] == _cell_digests(store, name) else None


def _cell_digests(store: Store, name: str) -> dict[str, str]:
    cells = finished_cells(store, name)
    return {cell: hashlib.sha256(store.read_bytes(f"{cell_key(name, cell)}/{SUMS}")).hexdigest() for cell in cells}


def load_inputs(store: Store, name: str) -> ReportInputs:
    """Read what a study left in the store.

    Raises:
        StudyError: no such study, or none of its cells is trained.
    """
    study = read_study(store, name)
    finished = finished_cells(store, name)
    unfinished = [{"trial": cell, "cell": cell, "error": lacks} for cell, lacks in half_trained_cells(store, name).items()]
    if not finished:
        why = f" ({unfinished[0]['error']})" if unfinished else ""
        raise StudyError(f"study {name!r}: none of its cells is trained yet{why}; run `wsus study` (it goes on where it stopped)")
    outcome = store.read_json(outcome_key(name)) if store.exists(outcome_key(name)) else {"failures": []}
    with TemporaryDirectory(prefix="wsus-cells-") as folder:
        cells, tables = [], []
        for cell in finished:
            fetched = store.fetch(cell_key(name, cell), Path(folder) / cell)
            table = pd.read_parquet(fetched / "predictions.parquet")
            tables.append(check_predictions(table, name=store.url(cell_key(name, cell))))
            cells.append(_artefacts(fetched))
    listed = io.BytesIO(store.read_bytes(study_key(name, "records.csv")))
    records = pd.read_csv(listed, dtype={"birads": "string", "patient_id": "string"})
    order = {(b, m): i for i, (b, m) in enumerate(_planned(study["config"]))}
    return ReportInputs(
        study={**study, **{k: outcome.get(k) for k in ("wall_s", "compute", "by_part")}, "runs": read_runs(store, name)},
        records=records,
        left_out=tuple(store.read_json(study_key(name, "left_out.json"))),
        predictions=pd.concat(tables, ignore_index=True),
        cells=tuple(sorted(cells, key=lambda cell: order.get((cell.backbone, cell.mode), len(order)))),
        failures=(*outcome["failures"], *unfinished),
        hard_pictures=_hard_pictures(store, name),
        openings=read_openings(store, name),
        facts=store.read_json(study_facts_key(name)) if store.exists(study_facts_key(name)) else {},
    )


def keep_facts(store: Store, name: str, path: Path) -> None:
    """Put a file of study facts beside a study, to be printed by its report.

    Raises:
        StudyError, UnknownNameError: no such study.  ConfigError: the file is not what it should be.
    """
    read_study(store, name)
    store.write_json(study_facts_key(name), read_facts(path))


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
    settings = ComparisonConfig(
        margin=config["margin"],
        noninferiority_confidence=config.get("noninferiority_confidence", ONE_SIDED),
        prevalence=config.get("prevalence"),
        bootstrap=config["bootstrap"],
    )
    return compare(inputs.predictions, settings, chosen_seeds=inputs.chosen_seeds, expected=expected)


def _planned(config: dict[str, Any]) -> list[tuple[str, str]]:
    return [(backbone, mode) for backbone in config["backbones"] for mode in config["modes"]]


def _artefacts(folder: Path) -> CellArtefacts:
    info = json.loads((folder / "cell.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    return CellArtefacts(
        backbone=info["backbone"], mode=info["mode"], info=info, history=history, gallery=read_gallery(folder / "gallery")
    )
