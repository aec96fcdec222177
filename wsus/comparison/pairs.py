"""Weakly-supervised against fully-supervised, on the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsus.comparison.estimates import OVER_PATIENTS, Estimate, bootstrap_as_estimate, several_images
from wsus.comparison.patient_level import patient_level_pair
from wsus.comparison.result import McNemarResult, PairResult
from wsus.evaluation.auc import PairedAucTest, delong_paired
from wsus.evaluation.clustered import ClusteredPairedTest, bootstrap_paired, clustered_paired
from wsus.evaluation.clustered_shares import ClusteredPairedShares, clustered_paired_shares
from wsus.evaluation.paired import NonInferiority, holm, mcnemar_exact, noninferiority_auc, noninferiority_paired
from wsus.evaluation.power import PowerOfTest, power_noninferiority_auc, power_noninferiority_paired

FIGURES = ("auc", "sensitivity", "specificity")


class PairSettings(Protocol):
    """What is needed of a ComparisonConfig."""

    @property
    def margin(self) -> float: ...
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
    patients = both["patient_id"].to_numpy()
    on_malignant, on_benign = (
        clustered_paired_shares(right_weak[of], right_full[of], patients[of]) for of in (positive, ~positive)
    )

    plain = delong_paired(both["label"], both["pom"], both["pom_full"], config.confidence) if _two_classes(positive) else None
    judged: PairedAucTest | ClusteredPairedTest | None = plain
    if plain is not None and several_images(both):
        judged = clustered_paired(both["label"], both["pom"], both["pom_full"], both["patient_id"], config.confidence)
    return PairResult(
        backbone=str(weak["backbone"].iloc[0]),
        mode=str(full["mode"].iloc[0]),
        split=str(weak["split"].iloc[0]),
        n=len(both),
        n_patients=int(both["patient_id"].nunique()),
        only_weak=_outside(weak, both),
        only_full=_outside(full, both),
        auc_weak=plain.a.auc if plain else None,
        auc_full=plain.b.auc if plain else None,
        auc_difference=_difference(judged, len(both)),
        p=judged.p_value if judged else None,
        p_holm=None,  # set by `adjust`, which sees all comparisons of the split
        log10_p=judged.log10_p if judged else None,
        auc_difference_images=_difference(plain, len(both)),
        p_images=plain.p_value if plain else None,
        auc_difference_bootstrap=_bootstrap_difference(both, config),
        patient_level=patient_level_pair(both, config),
        sensitivity=_mcnemar(on_malignant),
        specificity=_mcnemar(on_benign),
        noninferiority=noninferiority_auc(judged, config.margin, config.noninferiority_confidence) if judged else None,
        noninferiority_sensitivity=_noninferiority_of(on_malignant, config),
        noninferiority_specificity=_noninferiority_of(on_benign, config),
        noninferiority_p_holm={},  # by `adjust`
        power_auc=_power_auc(judged, config),
        power_sensitivity=_power_of(on_malignant, config, malignant=True),
        power_specificity=_power_of(on_benign, config, malignant=False),
        flags=_flags(plain),
    )


def adjust(pairs: Sequence[PairResult]) -> tuple[PairResult, ...]:
    """The same pairs with Holm's adjustment over all tests of each split: AUC, sensitivity, specificity of every pair.

    The two-sided tests and those of non-inferiority are two families of their own.
    """
    two_sided: dict[tuple[int, str], float | None] = {}
    one_sided: dict[tuple[int, str], float | None] = {}
    for split in {pair.split for pair in pairs}:
        keys = [(place, name) for place, pair in enumerate(pairs) if pair.split == split for name in FIGURES]
        two_sided |= dict(zip(keys, holm([_two_sided_p(pairs[place], name) for place, name in keys]), strict=True))
        one_sided |= dict(zip(keys, holm([_one_sided_p(pairs[place], name) for place, name in keys]), strict=True))
    return tuple(
        dataclasses.replace(
            pair,
            p_holm=two_sided[place, "auc"],
            sensitivity=dataclasses.replace(pair.sensitivity, p_holm=two_sided[place, "sensitivity"]),
            specificity=dataclasses.replace(pair.specificity, p_holm=two_sided[place, "specificity"]),
            noninferiority_p_holm={name: one_sided[place, name] for name in FIGURES},
        )
        for place, pair in enumerate(pairs)
    )


def _two_sided_p(pair: PairResult, figure: str) -> float | None:
    return {"auc": pair.p, "sensitivity": pair.sensitivity.p, "specificity": pair.specificity.p}[figure]


def _one_sided_p(pair: PairResult, figure: str) -> float | None:
    tests = (pair.noninferiority, pair.noninferiority_sensitivity, pair.noninferiority_specificity)
    test = dict(zip(FIGURES, tests, strict=True))[figure]
    return None if test is None else test.p_value


def _two_classes(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any() and not positive.all())


def _outside(rows: pd.DataFrame, both: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted(set(rows["image_id"].astype(str)) - set(both["image_id"].astype(str))))


def _difference(test: PairedAucTest | ClusteredPairedTest | None, n: int) -> Estimate:
    if test is None:
        return Estimate(n=n, note="one class only: no AUC")
    low, high = test.ci_diff or (None, None)
    method = "Obuchowski" if isinstance(test, ClusteredPairedTest) else "paired DeLong"
    return Estimate(value=test.diff, low=low, high=high, method=method, n=n, note="; ".join(test.notes) or None)


def _mcnemar(found: ClusteredPairedShares) -> McNemarResult:
    counts, exact = found.counts, mcnemar_exact(found.counts).p_value
    clustered = found.n_patients < counts.total
    return McNemarResult(
        both_right=counts.both_correct,
        only_weak_right=counts.only_a_correct,
        only_full_right=counts.only_b_correct,
        both_wrong=counts.both_wrong,
        n_patients=found.n_patients,
        p=found.p_value if clustered else exact,
        p_holm=None,
        p_images=exact,
        method=f"McNemar, {OVER_PATIENTS}" if clustered else "exact McNemar",
        note=found.note if clustered else None,
    )


def _noninferiority_of(found: ClusteredPairedShares, config: PairSettings) -> NonInferiority | None:
    if found.counts.total == 0:
        return None
    if found.n_patients < found.counts.total:
        return found.noninferiority(config.margin, config.noninferiority_confidence)
    return noninferiority_paired(found.counts, config.margin, config.noninferiority_confidence)


def _power_auc(test: PairedAucTest | ClusteredPairedTest | None, config: PairSettings) -> PowerOfTest | None:
    if test is None:
        return None
    return power_noninferiority_auc(test, config.margin, target=config.power, confidence=config.noninferiority_confidence)


def _power_of(found: ClusteredPairedShares, config: PairSettings, *, malignant: bool) -> PowerOfTest | None:
    if found.counts.total == 0 or found.n_patients < 2:
        return None
    return power_noninferiority_paired(
        found.counts,
        config.margin,
        target=config.power,
        confidence=config.noninferiority_confidence,
        malignant=malignant,
        design_effect=found.design_effect,
    )


def _flags(test: PairedAucTest | None) -> tuple[str, ...]:
    if test is None:
        return ("one_class",)
    flags = {"auc_equal": test.auc_equal, "var_diff_zero": test.var_diff_zero}
    return tuple(name for name, is_so in flags.items() if is_so)


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
