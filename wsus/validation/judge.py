"""Statistics of scored sets: those of a study's comparison for every model, and what is asked of a published one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from wsus.comparison.compare import ComparisonConfig, compare
from wsus.comparison.pairs import adjust, pair_result
from wsus.comparison.result import CellResult
from wsus.validation.first_use import Use
from wsus.validation.result import AtPrevalence, EvaluatedSet, ModelPair
from wsus.validation.sets import LabelledSet


def judge(
    images: LabelledSet,
    predictions: pd.DataFrame,
    config: ComparisonConfig,
    *,
    prevalence: float | None,
    seen: Mapping[str, Mapping[str, int] | None],
    uses: Mapping[str, Use],
    left_out: Sequence[dict[str, str]] = (),
) -> EvaluatedSet:
    """The figures of every model on one set.

    Args:
        predictions: of this set, with the column `model`.  prevalence: where the models would be used; None leaves it out.
    """
    table = predictions.assign(backbone=predictions["model"])
    comparison = compare(table, config)
    by_model = {str(model): rows for model, rows in table.groupby("model", sort=False)}
    return EvaluatedSet(
        images=images,
        comparison=comparison,
        pairs=_pairs(by_model, config),
        at_prevalence=tuple(_at(cell, prevalence) for cell in comparison.cells) if prevalence is not None else (),
        seen=seen,
        uses=uses,
        left_out=tuple(left_out),
    )


def _pairs(by_model: Mapping[str, pd.DataFrame], config: ComparisonConfig) -> tuple[ModelPair, ...]:
    """Every two models, P adjusted by Holm over the pairs of the set."""
    names = list(combinations(by_model, 2))
    results = adjust([pair_result(by_model[first], by_model[second], config) for first, second in names])
    return tuple(
        ModelPair(first=first, second=second, result=result) for (first, second), result in zip(names, results, strict=True)
    )


def _at(cell: CellResult, prevalence: float) -> AtPrevalence:
    """By Bayes' rule from sensitivity and specificity, which hold at any prevalence as long as the cases are alike."""
    sensitivity, specificity = cell.sensitivity.value, cell.specificity.value
    ppv = npv = None
    if sensitivity is not None and specificity is not None:
        called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
        ppv = sensitivity * prevalence / called if called > 0 else None
        npv = specificity * (1 - prevalence) / (1 - called) if called < 1 else None
    return AtPrevalence(model=cell.backbone, prevalence=prevalence, ppv=ppv, npv=npv)
