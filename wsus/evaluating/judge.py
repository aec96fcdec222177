"""Statistics of scored sets: those of a study's comparison for every model, and what is asked of a published one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from wsus.comparison.cells import auc_as_estimate
from wsus.comparison.compare import ComparisonConfig, compare
from wsus.comparison.estimates import share_estimate
from wsus.comparison.pairs import adjust, pair_result
from wsus.comparison.result import CellResult, Estimate
from wsus.evaluating.first_use import Use
from wsus.evaluating.result import AtPrevalence, EvaluatedSet, ModelPair, PatientResult
from wsus.evaluating.sets import LabelledSet
from wsus.evaluation.auc import auc_with_interval

RULES = ("maximum", "mean")


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
        patients=tuple(
            _patients(rows, model, rule, config.confidence)
            for model, rows in by_model.items()
            for rule in RULES
            if _repeats(rows)
        ),
        at_prevalence=tuple(_at(cell, prevalence) for cell in comparison.cells) if prevalence is not None else (),
        flagged={model: _flagged(rows, config.confidence) for model, rows in by_model.items()},
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


def _repeats(rows: pd.DataFrame) -> bool:
    return bool(rows["patient_id"].duplicated().any())


def _patients(rows: pd.DataFrame, model: str, rule: str, confidence: float) -> PatientResult:
    by_patient = rows.groupby("patient_id").agg(label=("label", "max"), pom=("pom", "max" if rule == "maximum" else "mean"))
    malignant = (by_patient["label"] == 1).to_numpy()
    called = by_patient["pom"].to_numpy(dtype=float) >= float(rows["operating_point"].iloc[0])
    patients = by_patient.index.to_numpy()
    two_classes = 0 < malignant.sum() < len(malignant)
    return PatientResult(
        model=model,
        rule=rule,
        n=len(by_patient),
        n_malignant=int(malignant.sum()),
        auc=auc_as_estimate(auc_with_interval(by_patient["label"], by_patient["pom"], confidence))
        if two_classes
        else Estimate(n=len(by_patient), note="one class only: no AUC"),
        sensitivity=share_estimate(called[malignant], patients[malignant], confidence),
        specificity=share_estimate(~called[~malignant], patients[~malignant], confidence),
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


def _flagged(rows: pd.DataFrame, confidence: float) -> Estimate | None:
    known = rows[rows["unlike_training"].notna()]
    if known.empty:
        return None
    return share_estimate(known["unlike_training"].astype(bool).to_numpy(), known["patient_id"].to_numpy(), confidence)
