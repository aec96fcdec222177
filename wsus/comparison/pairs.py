"""Weakly-supervised against fully-supervised, on the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsus.comparison.cells import bootstrap_as_estimate
from wsus.comparison.result import Estimate, McNemarResult, PairResult
from wsus.evaluation.auc import PairedAucTest, delong_paired
from wsus.evaluation.clustered import bootstrap_paired, clustered_paired
from wsus.evaluation.paired import (
    NonInferiority,
    PairedCounts,
    holm,
    mcnemar_exact,
    noninferiority_auc,
    noninferiority_paired,
    paired_counts,
)
from wsus.evaluation.power import PowerOfTest, power_mcnemar, power_noninferiority_auc


class PairSettings(Protocol):
    """What is needed of a ComparisonConfig."""

    @property
    def margin(self) -> float: ...
    @property
    def alpha(self) -> float: ...
    @property
    def power(self) -> float: ...
    @property
    def confidence(self) -> float: ...
    @property
    def noninferiority_confidence(self) -> float: ...
    @property
    def bootstrap(self) -> int: ...
    @property
    def seed(self) -> int: ...


def pair_result(weak: pd.DataFrame, full: pd.DataFrame, config: PairSettings) -> PairResult:
    """Compare two cells of one backbone on one split.

    Args:
        weak, full: their predictions. Only images that both scored are compared; the others are named in the result.
    """
    both = weak.merge(full[["image_id", "pom", "called_malignant"]], on="image_id", suffixes=("", "_full"), validate="1:1")
    positive = (both["label"] == 1).to_numpy()
    right_weak = both["called_malignant"].to_numpy(dtype=bool) == positive
    right_full = both["called_malignant_full"].to_numpy(dtype=bool) == positive
    on_malignant = paired_counts(right_weak[positive], right_full[positive])
    on_benign = paired_counts(right_weak[~positive], right_full[~positive])
    test = delong_paired(both["label"], both["pom"], both["pom_full"], config.confidence) if _two_classes(positive) else None
    clustered, p_clustered = _clustered_difference(both, config.confidence)
    return PairResult(
        backbone=str(weak["backbone"].iloc[0]),
        mode=str(full["mode"].iloc[0]),
        split=str(weak["split"].iloc[0]),
        n=len(both),
        only_weak=_outside(weak, both),
        only_full=_outside(full, both),
        auc_weak=test.a.auc if test else None,
        auc_full=test.b.auc if test else None,
        auc_difference=_difference(test, len(both)),
        p=test.p_value if test else None,
        p_holm=None,  # set by `adjust`, which sees all comparisons of the split
        log10_p=test.log10_p if test else None,
        auc_difference_clustered=clustered,
        p_clustered=p_clustered,
        auc_difference_bootstrap=_bootstrap_difference(both, config),
        sensitivity=_mcnemar(on_malignant),
        specificity=_mcnemar(on_benign),
        noninferiority=_noninferiority(test, config),
        noninferiority_sensitivity=_noninferiority_of(on_malignant, config),
        noninferiority_specificity=_noninferiority_of(on_benign, config),
        power_auc=_power_auc(test, config),
        power_sensitivity=_power_of(on_malignant, config, malignant=True),
        power_specificity=_power_of(on_benign, config, malignant=False),
        flags=_flags(test),
    )


def adjust(pairs: Sequence[PairResult]) -> tuple[PairResult, ...]:
    """The same pairs with Holm's adjustment of the AUC's p-values, over the comparisons of each split."""
    adjusted: dict[int, float | None] = {}
    for split in {pair.split for pair in pairs}:
        places = [place for place, pair in enumerate(pairs) if pair.split == split]
        adjusted |= dict(zip(places, holm([pairs[place].p for place in places]), strict=True))
    return tuple(dataclasses.replace(pair, p_holm=adjusted[place]) for place, pair in enumerate(pairs))


def _two_classes(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any() and not positive.all())


def _outside(rows: pd.DataFrame, both: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted(set(rows["image_id"].astype(str)) - set(both["image_id"].astype(str))))


def _difference(test: PairedAucTest | None, n: int) -> Estimate:
    if test is None:
        return Estimate(n=n, note="one class only: no AUC")
    low, high = test.ci_diff or (None, None)
    return Estimate(value=test.diff, low=low, high=high, method="paired DeLong", n=n, note="; ".join(test.notes) or None)


def _mcnemar(counts: PairedCounts) -> McNemarResult:
    return McNemarResult(
        both_right=counts.both_correct,
        only_weak_right=counts.only_a_correct,
        only_full_right=counts.only_b_correct,
        both_wrong=counts.both_wrong,
        p=mcnemar_exact(counts).p_value,
    )


def _noninferiority(test: PairedAucTest | None, config: PairSettings) -> NonInferiority | None:
    return noninferiority_auc(test, config.margin, config.noninferiority_confidence) if test else None


def _noninferiority_of(counts: PairedCounts, config: PairSettings) -> NonInferiority | None:
    if counts.total == 0:
        return None
    return noninferiority_paired(counts, config.margin, config.noninferiority_confidence)


def _power_auc(test: PairedAucTest | None, config: PairSettings) -> PowerOfTest | None:
    if test is None:
        return None
    return power_noninferiority_auc(test, config.margin, target=config.power, confidence=config.noninferiority_confidence)


def _power_of(counts: PairedCounts, config: PairSettings, *, malignant: bool) -> PowerOfTest | None:
    if counts.total == 0:
        return None
    return power_mcnemar(counts, config.margin, target=config.power, alpha=config.alpha, malignant=malignant)


def _flags(test: PairedAucTest | None) -> tuple[str, ...]:
    if test is None:
        return ("one_class",)
    flags = {"auc_equal": test.auc_equal, "var_diff_zero": test.var_diff_zero}
    return tuple(name for name, is_so in flags.items() if is_so)


def _clustered_difference(both: pd.DataFrame, confidence: float) -> tuple[Estimate, float | None]:
    if both["label"].nunique() < 2:
        return Estimate(note="one class only: no AUC"), None
    found = clustered_paired(both["label"], both["pom"], both["pom_full"], both["patient_id"], confidence)
    low, high = found.ci_diff or (None, None)
    note = "; ".join(found.notes) or None
    return Estimate(value=found.diff, low=low, high=high, method="Obuchowski", n=len(both), note=note), found.p_value


def _bootstrap_difference(both: pd.DataFrame, config: PairSettings) -> Estimate:
    if config.bootstrap == 0 or both["label"].nunique() < 2:
        return Estimate(note="the bootstrap was left out" if config.bootstrap == 0 else "one class only: no AUC")
    found = bootstrap_paired(
        both["label"],
        both["pom"],
        both["pom_full"],
        both["patient_id"],
        draws=config.bootstrap,
        seed=config.seed,
        confidence=config.confidence,
    )
    return bootstrap_as_estimate(found.diff)
