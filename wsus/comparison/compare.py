"""From the predictions of all cells to the statistics of a diagnostic-accuracy study.

Every cell on every scored split; weakly-supervised against each full mode, on the same images; localisation against
its baselines; subgroups; the cases that most cells got wrong. A cell that is missing is named, and the rest compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from wsus.comparison.cells import cell_result
from wsus.comparison.hard_cases import hard_cases
from wsus.comparison.localisation import localisation_result
from wsus.comparison.operating_points import operating_point_results
from wsus.comparison.pairs import adjust, pair_result
from wsus.comparison.predictions import check_predictions
from wsus.comparison.result import Comparison, MissingCell
from wsus.comparison.subgroups import subgroup_results
from wsus.errors import ConfigError, DataError
from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.lesion_size import SIZE_COLUMNS, lesion_sizes
from wsus.evaluation.paired import ONE_SIDED
from wsus.types import SCORED_SPLITS, Mode, Split

Cell = tuple[str, str]  # (backbone, mode)


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonConfig:
    """How a study is compared.

    margin: of non-inferiority on AUC, sensitivity and specificity; 0.05 by the protocol.
    alpha: two-sided level that the words of a report go by.  confidence: of two-sided intervals.
    noninferiority_confidence: of the one-sided interval; 0.975 as ICH E9 has it.
    power: that a comparison should have had; the report says with how many images it would.
    prevalence: the share of cancers that decision curves are drawn for; None takes each set's own.
    partial_auc_from: specificity, and sensitivity, from which the partial AUC is taken.
    bootstrap: draws of patients, on the internal and the external split; 0 leaves it out.  seed: of those draws.
    hard_cases: how many to name.  subgroup_minimum: cases of each class below which a subgroup gives no AUC.
    """

    margin: float = 0.05
    alpha: float = 0.05
    confidence: float = 0.95
    noninferiority_confidence: float = ONE_SIDED
    prevalence: float | None = None
    power: float = 0.8
    partial_auc_from: float = 0.8
    bootstrap: int = 2000
    seed: int = 20210604
    hard_cases: int = 12
    subgroup_minimum: int = 5

    def __post_init__(self) -> None:
        for name in ("margin", "alpha", "confidence", "noninferiority_confidence", "power", "partial_auc_from"):
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise ConfigError(f"{name} must lie in (0, 1); got {value!r}")
        if self.prevalence is not None and not 0.0 < self.prevalence < 1.0:
            raise ConfigError(f"prevalence must lie in (0, 1), or be null for each set's own; got {self.prevalence!r}")
        if self.bootstrap < 0:
            raise ConfigError(f"bootstrap counts draws and must not be negative; got {self.bootstrap}")


def compare(
    predictions: pd.DataFrame,
    config: ComparisonConfig = ComparisonConfig(),
    *,
    chosen_seeds: Mapping[Cell, int] | None = None,
    expected: Mapping[Cell, str] | Sequence[Cell] = (),
) -> Comparison:
    """The whole comparison.

    Args:
        predictions: the table of `wsus.comparison.predictions`, all cells in one; its optional columns are
            used where they are there.
        chosen_seeds: the seed that stands for a cell; where it is not given, the one with the best AUC on the
            development split (the lowest of equals), never one chosen on a scored split.
        expected: cells that the study should have, with the reason for a missing one where that is known.
    Raises:
        DataError: the table does not keep its contract, is empty, or two cells disagree on an image's label or patient.
    """
    if predictions.empty:
        raise DataError("there is no prediction to compare: no cell of the study has finished; look at its failures first")
    table = check_predictions(predictions, name="predictions")
    _check_images_agree(table)
    table = table[table["split"].isin([split.value for split in SCORED_SPLITS])]
    seeds = _seeds(table, dict(chosen_seeds or {}))
    chosen = {key: _chosen(table, key, seed) for key, seed in seeds.items()}
    present = tuple(split.value for split in SCORED_SPLITS if (table["split"] == split.value).any())
    missing = _missing(expected, seeds)
    backbones = _ordered([key[0] for key in (*_cells(expected), *seeds)])
    modes = tuple(mode.value for mode in Mode if mode.value in {key[1] for key in (*_cells(expected), *seeds)})
    grid = [(backbone, mode, split) for split in present for backbone in backbones for mode in modes]

    measures = table[["image_id", "split", *(name for name in SIZE_COLUMNS if name in table.columns)]]
    sizes = {split: lesion_sizes(measures[measures["split"] == split]) for split in present}
    cells, points, pairs, localisation, subgroups = [], [], [], [], []
    for backbone, mode, split in grid:
        rows = _on_split(chosen, (backbone, mode), split)
        if rows is None:
            continue
        every_seed = table[(table["backbone"] == backbone) & (table["mode"] == mode) & (table["split"] == split)]
        settings = config if split != Split.DEVELOPMENT else dataclasses.replace(config, bootstrap=0)  # it chose the models
        cells.append(cell_result(rows, every_seed, settings))
        development = _on_split(chosen, (backbone, mode), Split.DEVELOPMENT.value)
        if split != Split.DEVELOPMENT:
            points += operating_point_results(rows, development, config.confidence)
        if mode == Mode.WEAK:
            localisation.append(localisation_result(rows, development, sizes[split], config.confidence))
            subgroups += subgroup_results(rows, sizes[split], config.confidence, config.subgroup_minimum)
            continue
        weak = _on_split(chosen, (backbone, Mode.WEAK.value), split)
        if weak is not None:
            pairs.append(pair_result(weak, rows, settings))
    best = _best_weak(chosen)
    return Comparison(
        settings=dataclasses.asdict(config),
        backbones=backbones,
        modes=modes,
        splits=present,
        best_weak=best,
        cells=tuple(cells),
        operating_points=tuple(points),
        pairs=adjust(pairs),
        localisation=tuple(item for item in localisation if item is not None),
        subgroups=tuple(subgroups),
        hard_cases=hard_cases(chosen.values(), config.hard_cases),
        missing=missing,
        notes=() if best else ("no weakly-supervised cell has a development AUC, so none was chosen",),
    )


def chosen_predictions(predictions: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """The rows of the seeds that stand for their cells, on scored splits: what the figures are drawn from."""
    keys = pd.DataFrame(
        [(cell.backbone, cell.mode, cell.split, cell.seed) for cell in comparison.cells],
        columns=["backbone", "mode", "split", "seed"],
    )
    return predictions.merge(keys, on=["backbone", "mode", "split", "seed"], how="inner")


def _cells(expected: Mapping[Cell, str] | Sequence[Cell]) -> list[Cell]:
    return list(expected)


def _seeds(table: pd.DataFrame, given: dict[Cell, int]) -> dict[Cell, int]:
    """One seed per cell that has predictions, in the order in which the cells stand in the table."""
    seeds: dict[Cell, int] = {}
    for key, rows in table.groupby(["backbone", "mode"], sort=False):
        cell = (str(key[0]), str(key[1]))
        found = sorted(int(seed) for seed in rows["seed"].unique())
        wanted = given.get(cell)
        if wanted is not None and wanted not in found:
            raise DataError(f"{cell[0]}-{cell[1]}: seed {wanted} was chosen, but predictions exist for {found} only")
        ranked = sorted((-_development_auc(rows, seed), seed) for seed in found)
        seeds[cell] = ranked[0][1] if wanted is None else wanted
    return seeds


def _development_auc(rows: pd.DataFrame, seed: int) -> float:
    part = rows[(rows["seed"] == seed) & (rows["split"] == "development")]
    return auc_with_interval(part["label"], part["pom"]).auc if part["label"].nunique() == 2 else -1.0


def _chosen(table: pd.DataFrame, key: Cell, seed: int) -> pd.DataFrame:
    return table[(table["backbone"] == key[0]) & (table["mode"] == key[1]) & (table["seed"] == seed)]


def _on_split(chosen: Mapping[Cell, pd.DataFrame], key: Cell, split: str) -> pd.DataFrame | None:
    """A cell's rows on one split in the order of image_id; None where there are none."""
    rows = chosen.get(key)
    if rows is None:
        return None
    part = rows[rows["split"] == split].sort_values("image_id", kind="stable").reset_index(drop=True)
    return None if part.empty else part


def _best_weak(chosen: Mapping[Cell, pd.DataFrame]) -> str | None:
    """The weak cell with the highest AUC on the development split; the first by name of equals."""
    scored = [
        (-_development_auc(rows, int(rows["seed"].iloc[0])), backbone)
        for (backbone, mode), rows in chosen.items()
        if mode == Mode.WEAK
    ]
    ranked = sorted(pair for pair in scored if pair[0] <= 0)
    return ranked[0][1] if ranked else None


def _missing(expected: Mapping[Cell, str] | Sequence[Cell], found: Mapping[Cell, int]) -> tuple[MissingCell, ...]:
    reasons = expected if isinstance(expected, Mapping) else {}
    default = "No trial of this cell left a prediction."
    return tuple(
        MissingCell(backbone=cell[0], mode=cell[1], reason=reasons.get(cell) or default)
        for cell in _cells(expected)
        if cell not in found
    )


def _ordered(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _check_images_agree(table: pd.DataFrame) -> None:
    """An image has one label and one patient, whichever cell scored it."""
    for column, what in (("label", "label"), ("patient_id", "patient")):
        kinds = table.groupby("image_id")[column].nunique()
        if (kinds > 1).any():
            names = sorted(kinds[kinds > 1].index)[:3]
            raise DataError(
                f"{int((kinds > 1).sum())} images have another {what} in one cell than in another, such as "
                f"{', '.join(map(str, names))}; the cells were trained on different manifests and cannot be compared"
            )
