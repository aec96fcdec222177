"""After the last cell: which images did most cells get wrong, and what did each weak network look at in them?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from tune_jobs.data import StudyData
from tune_jobs.keys import cell_key, hard_cases_key
from tune_jobs.pictures import write_hard_cases
from tune_jobs.study import Cell, StudyConfig
from wsus.comparison.compare import ComparisonConfig
from wsus.comparison.hard_cases import hard_cases
from wsus.inference.predict import Predictor
from wsus.inference.scoring import ScoredImage, score_records
from wsus.models.bundle import read_bundle
from wsus.storage import Store
from wsus.types import ImageRecord, Mode


def keep_hard_cases(config: StudyConfig, data: StudyData, store: Store, *, device: torch.device) -> int:
    """Publish `studies/<study>/hard_cases/`: the images of the hardest cases with the maps of all weak networks.

    Returns:
        how many cases there are.
    """
    with TemporaryDirectory(prefix="wsus-hard-") as name:
        found = {cell: store.fetch(cell_key(config.name, cell), Path(name) / str(cell)) for cell in _finished(config, store)}
        cases = hard_cases(
            [_chosen(store, config, cell, folder) for cell, folder in found.items()], ComparisonConfig().hard_cases
        )
        record_of = {record.image_id: record for record in data.manifest.records}
        records = [record_of[case.image_id] for case in cases]
        by_backbone = {
            cell.backbone: _scored_images(folder / "bundle", records, device)
            for cell, folder in found.items()
            if cell.mode is Mode.WEAK and records
        }
        pictures = Path(name) / "hard_cases"
        pictures.mkdir()
        write_hard_cases(pictures, by_backbone)
        store.publish(pictures, hard_cases_key(config.name))
    return len(cases)


def _finished(config: StudyConfig, store: Store) -> list[Cell]:
    return [cell for cell in config.cells() if store.is_published(cell_key(config.name, cell))]


def _chosen(store: Store, config: StudyConfig, cell: Cell, folder: Path) -> pd.DataFrame:
    """The cell's predictions by the seed that stands for it."""
    best = store.read_json(f"{cell_key(config.name, cell)}/cell.json")["best_seed"]
    table = pd.read_parquet(folder / "predictions.parquet")
    return table[table["seed"] == best]


def _scored_images(bundle: Path, records: Sequence[ImageRecord], device: torch.device) -> list[ScoredImage]:
    predictor = Predictor(read_bundle(bundle), device=device, precision="float32")
    return [image for _, image in score_records(predictor, records)]
