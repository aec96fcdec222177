"""AUCs and shares as a report prints them: over patients wherever some patient has several images.

With one image per patient the figures are DeLong's and Clopper and Pearson's, and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsus.evaluation.auc import AucEstimate, auc_with_interval, newcombe_interval
from wsus.evaluation.clustered import BootstrapInterval, clustered_auc
from wsus.evaluation.clustered_shares import clustered_proportion, design_effect
from wsus.evaluation.intervals import proportion
from wsus.evaluation.likelihood_ratios import RatioOfProportions, ratio_of_proportions

OVER_PATIENTS = "over patients"


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure with its two-sided interval.

    x, n: the count behind a proportion.  method: how the interval was made.  note: what a reader must know, or why
    the figure is None.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    x: int | None = None
    n: int | None = None
    note: str | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high); None where there is none."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def several_images(rows: pd.DataFrame) -> bool:
    """Whether some patient has several images among these rows."""
    return bool(rows["patient_id"].duplicated().any())


def auc_estimate(rows: pd.DataFrame, confidence: float) -> Estimate:
    """The AUC of `pom` with the interval that a verdict may use. None with a note where a class is missing."""
    if rows["label"].nunique() < 2:
        return Estimate(n=len(rows), note="one class only: no AUC")
    if several_images(rows):
        return auc_over_patients(rows, confidence)
    return auc_as_estimate(auc_with_interval(rows["label"], rows["pom"], confidence))


def auc_as_estimate(found: AucEstimate) -> Estimate:
    """DeLong's interval; at an AUC of 0 or 1, where that has no width, Newcombe's score interval, with a note."""
    count = found.n_pos + found.n_neg
    if found.ci is None:
        low, high = found.ci_score
        return Estimate(value=found.auc, low=low, high=high, method="Newcombe score", n=count, note="; ".join(found.notes))
    if found.auc in (0.0, 1.0):
        low, high = found.ci_score
        note = f"AUC of {found.auc:.0f}: DeLong's interval has no width there; Newcombe's score interval is given."
        return Estimate(value=found.auc, low=low, high=high, method="Newcombe score", n=count, note=note)
    return Estimate(value=found.auc, low=found.ci[0], high=found.ci[1], method="DeLong", n=count)


def auc_over_patients(rows: pd.DataFrame, confidence: float) -> Estimate:
    """Obuchowski's interval on the logit scale: the plain one covers too seldom with few patients (`benchmarks/coverage.py`).

    At an AUC of 0 or 1 it has no width: Newcombe's score interval at the numbers of patients is given, with a note.
    """
    found = clustered_auc(rows["label"], rows["pom"], rows["patient_id"], confidence)
    if found.ci_logit is not None:
        low, high = found.ci_logit
        return Estimate(value=found.auc, low=low, high=high, method="Obuchowski, logit", n=found.n_images)
    if found.auc in (0.0, 1.0):
        patients = [int(rows.loc[rows["label"] == label, "patient_id"].nunique()) for label in (1, 0)]
        low, high = newcombe_interval(found.auc, patients[0], patients[1], confidence)
        note = (
            f"AUC of {found.auc:.0f}: an interval over patients would have no width; Newcombe's score interval at the number of"
            " patients is given."
        )
        return Estimate(value=found.auc, low=low, high=high, method="Newcombe score", n=found.n_images, note=note)
    return Estimate(value=found.auc, method="Obuchowski, logit", n=found.n_images, note="; ".join(found.notes))


def share_estimate(right: ArrayLike, patients: ArrayLike, confidence: float) -> Estimate:
    """A share of images with its exact interval, at the effective number of images where a patient has several."""
    values, names = np.asarray(right, dtype=bool), np.asarray(patients)
    if values.size == 0:
        return Estimate(x=0, n=0, note="no case to count")
    if np.unique(names).size == names.size:
        plain = proportion(int(values.sum()), values.size, confidence)
        low, high = plain.ci or (None, None)
        return Estimate(value=plain.estimate, low=low, high=high, method="Clopper-Pearson", x=plain.count, n=plain.total)
    found = clustered_proportion(values, names, confidence)
    low, high = found.ci or (None, None)
    method = f"Clopper-Pearson, {OVER_PATIENTS}"
    return Estimate(value=found.estimate, low=low, high=high, method=method, x=found.count, n=found.total, note=found.note)


def ratio_estimate(
    of_malignant: NDArray[np.bool_], of_benign: NDArray[np.bool_], rows: pd.DataFrame, confidence: float
) -> Estimate:
    """The ratio of two shares (a likelihood ratio): exact, or where a patient has several images Katz's over patients.

    Args:
        of_malignant, of_benign: which images of the class count, in the order of `rows`.
    """
    malignant = (rows["label"] == 1).to_numpy()
    if not malignant.any() or malignant.all():
        return Estimate(note="one class only: no likelihood ratio")
    x1, n1, x0, n0 = int(of_malignant.sum()), of_malignant.size, int(of_benign.sum()), of_benign.size
    if not several_images(rows):
        return ratio_as_estimate(ratio_of_proportions(x1, n1, x0, n0, confidence))
    method = f"log, {OVER_PATIENTS}"
    if x1 == 0 or x0 == 0:
        note = "a share of 0: no interval over patients"
        return Estimate(value=x1 * n0 / (n1 * x0) if x0 else None, method=method, n=n1 + n0, note=note)
    patient = np.unique(rows["patient_id"].to_numpy(), return_inverse=True)[1]
    effects = [
        design_effect(values.astype(float), patient[of_class])
        for values, of_class in ((of_malignant, malignant), (of_benign, ~malignant))
    ]
    variance = effects[0] * (1 - x1 / n1) / x1 + effects[1] * (1 - x0 / n0) / x0
    ratio, reach = x1 * n0 / (n1 * x0), float(special.ndtri((1 + confidence) / 2)) * math.sqrt(variance)
    return Estimate(value=ratio, low=ratio * math.exp(-reach), high=ratio * math.exp(reach), method=method, n=n1 + n0)


def ratio_as_estimate(found: RatioOfProportions) -> Estimate:
    """A ratio of shares with its interval; an infinite end is None, as the note says."""
    count = found.n1 + found.n0
    return Estimate(value=found.estimate, low=found.low, high=found.high, method=found.method, n=count, note=found.note)


def bootstrap_as_estimate(found: BootstrapInterval) -> Estimate:
    """Percentiles over draws of patients; the note counts draws that held one class only, or says why there is no interval."""
    low, high = found.ci or (None, None)
    left_out = f"{found.n_undefined} of {found.draws} draws held one class only and were left out" if found.n_undefined else None
    note = found.note or left_out
    return Estimate(value=found.estimate, low=low, high=high, method="patient bootstrap", n=found.draws, note=note)
