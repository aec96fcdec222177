"""Shares of right calls where several images belong to one patient: they are not independent.

Sources: Rao and Scott 1992, Biometrics 48:577 (counts divided by the design effect; here before Clopper-Pearson, as Korn
and Graubard 1998, Survey Methodology 24:193, and before Tango's score test); Obuchowski 1998, Statistics in Medicine
17:1495 (McNemar's test over patients). Chosen among these, Wald, Durkalski's test and the image-wise figures by
simulation: `benchmarks/patients.py` prints how often each holds what it says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsus.evaluation.cases import check_confidence
from wsus.evaluation.intervals import Interval
from wsus.evaluation.paired import NonInferiority, PairedCounts, noninferiority_paired, paired_counts
from wsus.evaluation.tails import PValue, normal_two_sided


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusteredProportion:
    """A share of images with its interval over patients; None where there is no image, or one patient only.

    design_effect: how many images weigh as much as one independent image, at least 1.
    """

    count: int
    total: int
    n_patients: int
    estimate: float | None
    ci: Interval | None
    design_effect: float
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusteredPairedShares:
    """Two readers' shares of right calls on the same images of one class, compared over patients.

    p_value: two-sided, Obuchowski's McNemar test; 1 by convention without a discordant image; None with one patient.
    design_effect: of the difference, at least 1.
    """

    counts: PairedCounts
    n_patients: int
    design_effect: float
    p_value: float | None
    log10_p: float | None
    note: str | None = None

    def noninferiority(self, margin: float, confidence: float) -> NonInferiority | None:
        """Tango's score test at the effective number of images; None with fewer than two patients."""
        if self.n_patients < 2:
            return None
        return noninferiority_paired(self.counts, margin, confidence, design_effect=self.design_effect)


def clustered_proportion(right: ArrayLike, patients: ArrayLike, confidence: float = 0.95) -> ClusteredProportion:
    """The share of True with a Clopper-Pearson interval at the effective number of images.

    Args:
        right: bool, shape (N,), may be empty.  patients: any identifiers, shape (N,).
    """
    check_confidence(confidence)
    values = np.asarray(right, dtype=bool)
    patient, n_patients = _numbered(patients, values.size)
    count, total = int(values.sum()), values.size
    effect = design_effect(values.astype(float), patient)
    enough = n_patients >= 2
    return ClusteredProportion(
        count=count,
        total=total,
        n_patients=n_patients,
        estimate=count / total if total else None,
        ci=effective_clopper_pearson(count, total, effect, confidence) if enough else None,
        design_effect=effect,
        note=None if enough else f"{n_patients} patient(s): an interval over patients needs two",
    )


def clustered_paired_shares(right_a: ArrayLike, right_b: ArrayLike, patients: ArrayLike) -> ClusteredPairedShares:
    """Compare two readers on the images of one class. Args: bool, shape (N,) each; identifiers, shape (N,)."""
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    counts = paired_counts(a, b)
    patient, n_patients = _numbered(patients, a.size)
    difference = a.astype(float) - b.astype(float)
    by_patient = np.bincount(patient, weights=difference, minlength=n_patients).astype(np.float64)
    p, note = _mcnemar_over_patients(counts, by_patient, n_patients)
    return ClusteredPairedShares(
        counts=counts,
        n_patients=n_patients,
        design_effect=design_effect(difference, patient),
        p_value=None if p is None else p.p,
        log10_p=None if p is None else p.log10_p,
        note=note,
    )


def design_effect(values: NDArray[np.float64], patient: NDArray[np.intp]) -> float:
    """Variance of the mean over patients / that of independent images, at least 1 so that no verdict gains by it.

    Args:
        values: one per image, shape (N,).  patient: numbers from 0, shape (N,).
    Where all values are equal the variance says nothing: each patient then counts as one image.
    """
    if values.size == 0:
        return 1.0
    held = np.bincount(patient).astype(float)
    rest = values - values.mean()
    plain = float(rest @ rest)
    if plain == 0.0:
        return float(held @ held) / values.size
    over_patients = float((np.bincount(patient, weights=rest) ** 2).sum())
    return max(1.0, over_patients / plain)


def effective_clopper_pearson(count: int, total: int, effect: float, confidence: float) -> Interval:
    """Clopper and Pearson's limits of count / effect of total / effect, which need not be whole numbers."""
    tail = (1.0 - confidence) / 2.0
    x, rest = count / effect, (total - count) / effect
    low = 0.0 if count == 0 else float(special.betaincinv(x, rest + 1.0, tail))
    high = 1.0 if count == total else float(special.betaincinv(x + 1.0, rest, 1.0 - tail))
    return low, high


def _mcnemar_over_patients(
    counts: PairedCounts, by_patient: NDArray[np.float64], n_patients: int
) -> tuple[PValue | None, str | None]:
    if counts.only_a_correct + counts.only_b_correct == 0:
        return PValue(1.0, 0.0), "no discordant images: p = 1 by convention"
    if n_patients < 2:
        return None, f"{n_patients} patient(s): a test over patients needs two"
    scatter = float(by_patient @ by_patient)
    total = counts.only_a_correct - counts.only_b_correct
    if scatter == 0.0:
        return PValue(1.0, 0.0), "within each patient the discordant images cancel: p = 1"
    return normal_two_sided(total / math.sqrt(scatter)), None


def _numbered(patients: ArrayLike, n_images: int) -> tuple[NDArray[np.intp], int]:
    names = np.asarray(patients)
    if names.shape != (n_images,):
        raise ValueError(f"one patient per image, shape ({n_images},); got {names.shape}")
    known, patient = np.unique(names, return_inverse=True)
    return patient, known.size
