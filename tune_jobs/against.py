"""Two studies side by side: the same cells on the same images, paired; figures alone where the images differ."""

from __future__ import annotations

import pandas as pd

from tune_jobs.compare import load_inputs
from tune_jobs.keys import cell_name
from wsus.comparison.compare import ComparisonConfig
from wsus.comparison.estimates import auc_estimate
from wsus.comparison.pairs import adjust, pair_result
from wsus.comparison.result import PairResult
from wsus.errors import DataError, StudyError
from wsus.report.tables.table import Column, Table
from wsus.report.wording import p_value, split_name, with_interval
from wsus.storage import Store
from wsus.types import Split

Rows = dict[tuple[str, str], pd.DataFrame]  # by cell and split: the rows of the seed, or the ensemble, that stands for the cell


def studies_against(store: Store, one: str, other: str) -> Table:
    """The scored splits of every cell that both studies have, the first minus the second.

    Raises:
        StudyError, UnknownNameError: no such study, nothing trained in it, or no cell that both have.
        DataError: they disagree on an image's label or patient.
    """
    first, second = _rows(store, one), _rows(store, other)
    shared = [key for key in first if key in second]
    if not shared:
        cells = "; ".join(
            f"{name} has {', '.join(sorted({c for c, _ in rows}))}" for name, rows in ((one, first), (other, second))
        )
        raise StudyError(f"the studies {one!r} and {other!r} have no cell in common: {cells}")
    config = ComparisonConfig(bootstrap=0)
    pairs: dict[tuple[str, str], PairResult] = {}
    for key in shared:
        if _same_images(first[key], second[key], f"{one} and {other}, {key[0]}"):
            pairs[key] = pair_result(first[key], second[key], config)
    pairs = dict(zip(pairs, adjust(list(pairs.values())), strict=True))
    return Table(
        slug="studies",
        title=f"{one} against {other}",
        columns=(
            Column(title="Cell", kind="label"),
            Column(title="Set", kind="label"),
            Column(title="Images"),
            Column(title=f"AUC {one}"),
            Column(title=f"AUC {other}"),
            Column(title="Difference"),
            Column(title="P"),
            Column(title="P (Holm)"),
            Column(title="P sens."),
            Column(title="P spec."),
        ),
        rows=tuple(_row(key, first[key], second[key], pairs.get(key)) for key in shared),
        notes=(
            "Paired on the images that both scored, over patients where one has several; McNemar's test for sensitivity and "
            "specificity. Without a difference the two have no image in common.",
        ),
        grouped=False,
    )


def _rows(store: Store, name: str) -> Rows:
    inputs = load_inputs(store, name)
    table = inputs.predictions
    found = {}
    for (backbone, mode), seed in inputs.chosen_seeds.items():
        for split in (Split.INTERNAL, Split.EXTERNAL):
            of_cell = (table["backbone"] == backbone) & (table["mode"] == mode) & (table["seed"] == seed)
            rows = table[of_cell & (table["split"] == split.value)]
            if len(rows):
                found[cell_name(backbone, mode), split.value] = rows
    return found


def _same_images(one: pd.DataFrame, other: pd.DataFrame, where: str) -> bool:
    """Whether some images are in both. Raises DataError where the two do not mean the same by one."""
    both = one.merge(other, on="image_id", suffixes=("", "_other"))
    wrong = both[both["label"] != both["label_other"]]
    if len(wrong):
        raise DataError(
            f"{where}: {len(wrong)} images have another class in each, {wrong['image_id'].iloc[0]!r} first; not comparable"
        )
    return len(both) > 0


def _row(key: tuple[str, str], one: pd.DataFrame, other: pd.DataFrame, pair: PairResult | None) -> tuple[str | None, ...]:
    cell, split = key
    aucs = tuple(with_interval(auc_estimate(rows, ComparisonConfig().confidence)) for rows in (one, other))
    if pair is None:
        return (cell, split_name(split), f"{len(one)} and {len(other)}", *aucs, *[None] * 5)
    images = str(pair.n) if pair.n == len(one) == len(other) else f"{pair.n} of {len(one)} and {len(other)}"
    tests = (pair.p, pair.p_holm, pair.sensitivity.p, pair.specificity.p)
    return (cell, split_name(split), images, *aucs, with_interval(pair.auc_difference), *map(p_value, tests))
