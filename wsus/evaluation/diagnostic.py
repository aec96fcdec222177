"""Diagnostic accuracy at a threshold, and where the threshold comes from.

A case is called malignant where score >= threshold. Operating points are chosen on development scores alone, never on a
split that is reported. Sources: Clopper and Pearson 1934 (intervals); Youden 1950, Cancer 3:32 (index).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from wsus.evaluation.auc import RocCurve, roc_curve
from wsus.evaluation.cases import check_labels, check_scores
from wsus.evaluation.intervals import Proportion, proportion


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosticAccuracy:
    """A 2 x 2 table and its shares, each with an exact interval.

    n_at_threshold: cases whose score equals the threshold, all of them called malignant.
    ppv, npv: they hold for this set's share of malignant cases only; None inside where nothing was called so.
    """

    threshold: float
    n_at_threshold: int
    tp: int
    fn: int
    tn: int
    fp: int
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion
    accuracy: Proportion
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenThreshold:
    """A threshold with the sensitivity and specificity that it had on the scores it was chosen on."""

    threshold: float
    sensitivity: float
    specificity: float
    rule: str


def diagnostic_at(
    labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5, confidence: float = 0.95, *, strict: bool = False
) -> DiagnosticAccuracy:
    """The 2 x 2 table at a threshold, with exact intervals.

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  scores: finite, shape (N,).
        strict: call a case malignant where score > threshold (instead of >=).
    Raises:
        DataError: an unknown label, one class only, a score that is not finite.
        ValueError: shapes that do not fit, a threshold that is not finite, a confidence outside (0, 1).
    """
    positive = check_labels(labels)
    values = check_scores(scores, positive.size)
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite; got {threshold!r}")
    called = values > threshold if strict else values >= threshold
    tp, fp = int((called & positive).sum()), int((called & ~positive).sum())
    fn, tn = int(positive.sum()) - tp, int((~positive).sum()) - fp
    return DiagnosticAccuracy(
        threshold=threshold,
        n_at_threshold=int((values == threshold).sum()),
        tp=tp,
        fn=fn,
        tn=tn,
        fp=fp,
        sensitivity=proportion(tp, tp + fn, confidence),
        specificity=proportion(tn, tn + fp, confidence),
        ppv=proportion(tp, tp + fp, confidence),
        npv=proportion(tn, tn + fn, confidence),
        accuracy=proportion(tp + tn, positive.size, confidence),
        confidence=confidence,
    )


def youden_point(labels: ArrayLike, scores: ArrayLike) -> ChosenThreshold:
    """The development score at which sensitivity + specificity is largest; of equals, the most sensitive one.

    Arguments and errors as `diagnostic_at`.
    """
    n_pos, n_neg, curve = _counted(labels, scores)
    true_positives = np.rint(curve.sensitivity * n_pos).astype(np.int64)
    false_positives = np.rint(curve.false_positive_rate * n_neg).astype(np.int64)
    gain = true_positives * n_neg - false_positives * n_pos  # Youden's index x n_pos x n_neg, an exact integer
    best = gain.size - 1 - int(gain[:0:-1].argmax())  # the curve's first point calls nothing malignant: no threshold
    return _point(curve, best, "Youden")


def sensitivity_point(labels: ArrayLike, scores: ArrayLike, target: float = 0.95) -> ChosenThreshold:
    """The highest development score as threshold that reaches the sensitivity wanted: the most specific such point.

    Raises:
        ValueError: a target outside (0, 1]; otherwise as `diagnostic_at`.
    """
    if not 0.0 < target <= 1.0:
        raise ValueError(f"target must lie in (0, 1], such as 0.95; got {target!r}")
    n_pos, _, curve = _counted(labels, scores)
    needed = math.ceil(target * n_pos - 1e-9)  # 0.95 x 100 must ask for 95 cases, not for 96 by rounding
    reached = np.rint(curve.sensitivity * n_pos) >= needed
    return _point(curve, int(reached.argmax()), f"sensitivity >= {target:g}")


def _counted(labels: ArrayLike, scores: ArrayLike) -> tuple[int, int, RocCurve]:
    positive = check_labels(labels)
    n_pos = int(positive.sum())
    return n_pos, positive.size - n_pos, roc_curve(labels, scores)


def _point(curve: RocCurve, index: int, rule: str) -> ChosenThreshold:
    return ChosenThreshold(
        threshold=float(curve.threshold[index]),
        sensitivity=float(curve.sensitivity[index]),
        specificity=1.0 - float(curve.false_positive_rate[index]),
        rule=rule,
    )
