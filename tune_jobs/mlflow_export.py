"""A study as an MLflow experiment: a run per trial with its settings and epochs, one for the comparison, the published version.

What is in the store is the truth; this copies it. Called again it writes what is new and leaves the rest as it is.
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tune_jobs.compare import load_inputs
from tune_jobs.keys import cell_name, comparison_key, published_key
from wsus.comparison.cells import cell_result
from wsus.comparison.compare import ComparisonConfig
from wsus.errors import ConfigError, StoreError
from wsus.models.registry import bundle_key
from wsus.report.inputs import CellArtefacts, ReportInputs
from wsus.storage import Store
from wsus.types import Split

_TRIAL, _VERSION = "wsus.trial", "wsus.version"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """new: runs written now.  kept: that were there.  model: name and version in the registry; None without a published one."""

    new: int
    kept: int
    model: str | None


def export_study(store: Store, name: str, tracking_uri: str) -> Exported:
    """Copy a study to an MLflow server, as the experiment of its name.

    Raises:
        ConfigError: MLflow is not installed.  StoreError: the server does not answer, or refuses.
        StudyError, UnknownNameError: no such study, or nothing is trained.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ConfigError("MLflow is not installed: pip install 'wsus[mlflow]'") from error
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    inputs = load_inputs(store, name)
    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    try:
        return _Export(client, store, inputs, name).run()
    except MlflowException as error:
        said = " ".join(str(error).split())[:300]
        raise StoreError(f"{tracking_uri}: the MLflow server did not take the study ({said})") from error


class _Export:
    def __init__(self, client: Any, store: Store, inputs: ReportInputs, name: str) -> None:
        self._client, self._store, self._inputs, self._name = client, store, inputs, name
        known = client.get_experiment_by_name(name)
        self._experiment = known.experiment_id if known else client.create_experiment(name)
        self._there = {run.data.tags.get(_TRIAL): run for run in client.search_runs([self._experiment], max_results=50_000)}
        self._new = self._kept = 0

    def run(self) -> Exported:
        for cell in self._inputs.cells:
            for trial in cell.info["trials"]:
                self._trial(cell, trial)
        self._comparison()
        model = self._registered()
        return Exported(new=self._new, kept=self._kept, model=model)

    def _trial(self, cell: CellArtefacts, trial: str) -> None:
        """One trial: its settings, its epochs, and where it stands for its cell the figures of the scored splits."""
        if trial in self._there:
            self._kept += 1
            return
        seed, sample = (
            int(part.removeprefix(word)) for part, word in zip(trial.split("-")[-2:], ("seed", "sample"), strict=True)
        )
        config = self._inputs.study["config"]
        settings = config["train"] | {key: config[key] for key in ("weights", "width", "stride", "pooling", "dropout")}
        settings |= config["per_backbone"].get(cell.backbone, {}) | cell.info.get("hyper", {}).get(trial, {})
        run = self._begun(trial, {"cell": cell_name(cell.backbone, cell.mode), "seed": seed, "sample": sample})
        for key, value in _flat(settings).items():
            self._client.log_param(run, key, value)
        history = cell.history[(cell.history["seed"] == seed) & (cell.history["sample"] == sample)]
        self._log_epochs(run, history)
        if (seed, sample) == (cell.info.get("best_seed"), cell.info.get("best_sample")):
            for key, value in _figures(self._inputs, cell).items():
                self._client.log_metric(run, key, value)
        self._client.set_terminated(run)

    def _log_epochs(self, run: str, history: pd.DataFrame) -> None:
        from mlflow.entities import Metric

        numbers = [name for name in history.select_dtypes("number").columns if name not in ("seed", "sample", "epoch")]
        found = [
            Metric(name, float(row[name]), 0, int(row["epoch"]))
            for _, row in history.iterrows()
            for name in numbers
            if math.isfinite(row[name])
        ]
        for start in range(0, len(found), 1000):  # MLflow takes so many at once
            self._client.log_batch(run, metrics=found[start : start + 1000])

    def _comparison(self) -> None:
        """The report, its tables and figures, as files of a run of its own."""
        trial, key = "comparison", comparison_key(self._name)
        if trial in self._there:
            self._kept += 1
        elif self._store.is_published(key):
            run = self._begun(trial, {})
            with self._store.fetched(key) as folder:
                self._client.log_artifacts(run, str(folder), "comparison")
            self._client.set_terminated(run)

    def _registered(self) -> str | None:
        """The published version in the registry, its bundle as files of a run."""
        if not self._store.exists(published_key(self._name)):
            return None
        published = self._store.read_json(published_key(self._name))
        name, version = published["name"], published["version"]
        trial = f"{name}-{version}"
        if trial in self._there:
            self._kept += 1
            return f"{name} {version}"
        run = self._begun(trial, {})
        with self._store.fetched(bundle_key(name, version)) as folder:
            self._client.log_artifacts(run, str(folder), "bundle")
        self._client.set_terminated(run)
        if not self._client.search_registered_models(filter_string=f"name='{name}'"):
            self._client.create_registered_model(name)
        source = f"{self._client.get_run(run).info.artifact_uri}/bundle"
        self._client.create_model_version(name, source, run_id=run, tags={_VERSION: str(version)})
        return f"{name} {version}"

    def _begun(self, trial: str, tags: dict[str, object]) -> str:
        self._new += 1
        words = {_TRIAL: trial, "wsus.study": self._name} | {f"wsus.{key}": str(value) for key, value in tags.items()}
        return str(self._client.create_run(self._experiment, tags=words, run_name=trial).info.run_id)


def _figures(inputs: ReportInputs, cell: CellArtefacts) -> dict[str, float]:
    """AUC, sensitivity and specificity of the network that stands for a cell, by split."""
    table, found = inputs.predictions, dict[str, float]()
    mine = (table["backbone"] == cell.backbone) & (table["mode"] == cell.mode) & (table["seed"] == cell.info["best_seed"])
    for split in (Split.DEVELOPMENT, Split.INTERNAL, Split.EXTERNAL):
        rows = table[mine & (table["split"] == split.value)]
        if len(rows):
            result = cell_result(rows, rows, ComparisonConfig(bootstrap=0))
            figures = {"auc": result.auc, "sensitivity": result.sensitivity, "specificity": result.specificity}
            found |= {f"{split.value}_{key}": one.value for key, one in figures.items() if one.value is not None}
    return found


def _flat(values: dict[str, Any], below: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{below}{key}.") if isinstance(value, dict) else {f"{below}{key}": value}
    return found
