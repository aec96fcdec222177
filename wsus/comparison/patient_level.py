"""One figure per patient instead of one per image: the highest and the mean probability of a patient's images.

A patient with a malignant image is malignant; the call is made at the cell's operating point.
"""

from __future__ import annotations

from typing import Protocol

import pandas as pd

from wsus.comparison.estimates import Estimate, auc_as_estimate, several_images, share_estimate
from wsus.comparison.result import PatientLevelCell, PatientLevelPair
from wsus.evaluation.auc import auc_with_interval, delong_paired
from wsus.evaluation.paired import noninferiority_auc

RULES = ("max", "mean")


class PatientSettings(Protocol):
    """What is needed of a ComparisonConfig."""

    @property
    def margin(self) -> float: ...
    @property
    def confidence(self) -> float: ...
    @property
    def noninferiority_confidence(self) -> float: ...


def patient_level_cell(rows: pd.DataFrame, confidence: float) -> tuple[PatientLevelCell, ...]:
    """A cell on a split by patient, once per rule; () where each patient has one image."""
    if not several_images(rows):
        return ()
    return tuple(
        _cell(by_patient(rows, ("pom",), rule), rule, float(rows["operating_point"].iloc[0]), confidence) for rule in RULES
    )


def patient_level_pair(both: pd.DataFrame, config: PatientSettings) -> tuple[PatientLevelPair, ...]:
    """Weak against full by patient, once per rule. Args: both: columns label, patient_id, pom, pom_full."""
    if not several_images(both):
        return ()
    return tuple(_pair(by_patient(both, ("pom", "pom_full"), rule), rule, config) for rule in RULES)


def by_patient(rows: pd.DataFrame, scores: tuple[str, ...], rule: str) -> pd.DataFrame:
    """One row per patient: `label` 1 where any image is malignant, each score by the rule, `images` how many there are."""
    named = {name: (name, rule) for name in scores}
    return rows.groupby("patient_id", as_index=False, sort=True).agg(label=("label", "max"), images=("label", "size"), **named)


def _cell(patients: pd.DataFrame, rule: str, operating_point: float, confidence: float) -> PatientLevelCell:
    malignant = (patients["label"] == 1).to_numpy()
    called = (patients["pom"] >= operating_point).to_numpy()
    auc = Estimate(n=len(patients), note="one class only: no AUC")
    if malignant.any() and not malignant.all():
        auc = auc_as_estimate(auc_with_interval(patients["label"], patients["pom"], confidence))
    names = patients["patient_id"].to_numpy()
    return PatientLevelCell(
        rule=rule,
        n=len(patients),
        n_malignant=int(malignant.sum()),
        auc=auc,
        sensitivity=share_estimate(called[malignant], names[malignant], confidence),
        specificity=share_estimate(~called[~malignant], names[~malignant], confidence),
    )


def _pair(patients: pd.DataFrame, rule: str, config: PatientSettings) -> PatientLevelPair:
    if patients["label"].nunique() < 2:
        return PatientLevelPair(
            rule=rule, n=len(patients), auc_difference=Estimate(note="one class only: no AUC"), p=None, noninferiority=None
        )
    test = delong_paired(patients["label"], patients["pom"], patients["pom_full"], config.confidence)
    low, high = test.ci_diff or (None, None)
    note = "; ".join(test.notes) or None
    return PatientLevelPair(
        rule=rule,
        n=len(patients),
        auc_difference=Estimate(value=test.diff, low=low, high=high, method="paired DeLong", n=len(patients), note=note),
        p=test.p_value,
        noninferiority=noninferiority_auc(test, config.margin, config.noninferiority_confidence),
    )
