"""Two scores of the same cases, compared: the answer of `wsus stats` to a CSV file.

The figures and their names are those that R's pROC, binom.test and fisher.test give (see `auc`, `paired`, `intervals`);
None stands where something cannot be estimated, and `notes` says why under the figure's name. Beside them stand what R
does not give: an interval that holds at an AUC of 0 or 1, logarithms of p, non-inferiority, and figures over patients.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsus.errors import ConfigError
from wsus.evaluation.auc import PairedAucTest, delong_paired, delong_unpaired
from wsus.evaluation.cases import check_labels, check_scores
from wsus.evaluation.clustered import BootstrapInterval, ClusteredAuc, bootstrap_paired, clustered_paired
from wsus.evaluation.diagnostic import DiagnosticAccuracy, diagnostic_at
from wsus.evaluation.intervals import Interval
from wsus.evaluation.likelihood_ratios import likelihood_ratios
from wsus.evaluation.paired import (
    McNemarTest,
    NonInferiority,
    fisher_exact,
    mcnemar_exact,
    noninferiority_auc,
    noninferiority_paired,
    paired_counts,
)
from wsus.evaluation.partial_auc import Focus, PartialAuc, partial_auc
from wsus.evaluation.power import power_mcnemar, power_noninferiority_auc
from wsus.evaluation.tails import PValue
from wsus.two_scores.notes import flags_of, notes_of
from wsus.two_scores.table import read_score_table
from wsus.two_scores.text import format_stats

_FOCUS: tuple[Focus, ...] = ("specificity", "sensitivity")

__all__ = ["format_stats", "stats_from_csv", "stats_from_scores"]


def stats_from_csv(
    path: Path, threshold: float = 0.5, margin: float = 0.05, *, draws: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Compare the columns score_a and score_b of a CSV file with `id,label,score_a,score_b[,patient_id]`.

    Args:
        threshold: a case is called malignant where score >= threshold.  margin: of non-inferiority of a to b, in (0, 1).
        draws, seed: of the patient bootstrap, made where the file has patient_id.
    Returns:
        what `json.dumps(..., allow_nan=False)` accepts; see `stats_from_scores`.
    Raises:
        DataError: the file cannot be read, or a column, id, label or score is not what it should be (row and column named).
        ConfigError: a threshold that is not finite, a margin outside (0, 1).
    """
    if not math.isfinite(threshold):
        raise ConfigError(f"the threshold must be a finite number, such as 0.5; got {threshold!r}")
    if not 0.0 < margin < 1.0:
        raise ConfigError(f"the margin of non-inferiority must lie in (0, 1), such as 0.05; got {margin!r}")
    table = read_score_table(path)
    return stats_from_scores(
        table.labels, table.scores_a, table.scores_b, table.patients, threshold=threshold, margin=margin, draws=draws, seed=seed
    )


def stats_from_scores(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    margin: float = 0.05,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that is known of two scores of the same cases, JSON-ready.

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  scores_a, scores_b: finite, shape (N,).  patients: shape (N,) or None.
    Raises:
        DataError, ValueError: as `delong_paired`, `diagnostic_at`, `noninferiority_auc`.
    """
    positive = check_labels(labels)
    a = check_scores(scores_a, positive.size, name="score_a")
    b = check_scores(scores_b, positive.size, name="score_b")
    test = delong_paired(positive, a, b)
    unpaired = delong_unpaired(test.a, test.b)
    at = _AtThreshold.of(positive, a, b, threshold)
    result: dict[str, Any] = {
        "n": positive.size,
        "n_pos": test.a.n_pos,
        "n_neg": test.a.n_neg,
        **_auc_part(test),
        "paired": _paired_part(test),
        "unpaired": {"D": unpaired.d, "df": unpaired.df, "p": unpaired.p_value},
        "threshold": at.as_dict(),
        "flags": flags_of(test),
        "notes": notes_of(test, unpaired, (at.mcnemar_pos, at.mcnemar_neg), at.p),
        "settings": {"threshold": threshold, "margin": margin, "confidence": test.confidence},
        "predictive": {"a": _predictive_part(at.a), "b": _predictive_part(at.b)},
        "likelihood_ratios": {"a": _ratios_part(at.a), "b": _ratios_part(at.b)},
        "partial_auc": {"a": _partial_part(positive, a), "b": _partial_part(positive, b)},
        "ci_score_a": list(test.a.ci_score),
        "ci_score_b": list(test.b.ci_score),
        "log10_p": {"paired": test.log10_p, "unpaired": unpaired.log10_p, **{key: p.log10_p for key, p in at.p.items()}},
        "noninferiority": {
            "auc": _noninferiority_part(noninferiority_auc(test, margin)),
            "sensitivity": _noninferiority_part(noninferiority_paired(at.mcnemar_pos.counts, margin)),
            "specificity": _noninferiority_part(noninferiority_paired(at.mcnemar_neg.counts, margin)),
        },
        "power": {
            "auc_noninferiority": dataclasses.asdict(power_noninferiority_auc(test, margin)),
            "mcnemar_pos": dataclasses.asdict(power_mcnemar(at.mcnemar_pos.counts, margin)),
            "mcnemar_neg": dataclasses.asdict(power_mcnemar(at.mcnemar_neg.counts, margin, malignant=False)),
        },
    }
    if patients is not None:
        result["clustered"] = _clustered_part(positive, a, b, patients, draws, seed)
    return result


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _AtThreshold:
    """The two readers at one threshold, and every exact test; `p` holds each test's p under its path in the result."""

    a: DiagnosticAccuracy
    b: DiagnosticAccuracy
    strict_a: DiagnosticAccuracy
    strict_b: DiagnosticAccuracy
    mcnemar_pos: McNemarTest
    mcnemar_neg: McNemarTest
    p: dict[str, PValue]

    @classmethod
    def of(cls, positive: NDArray[np.bool_], a: NDArray[np.float64], b: NDArray[np.float64], threshold: float) -> _AtThreshold:
        at_a, at_b = diagnostic_at(positive, a, threshold), diagnostic_at(positive, b, threshold)
        correct_a, correct_b = (a >= threshold) == positive, (b >= threshold) == positive
        mcnemar_pos = mcnemar_exact(paired_counts(correct_a[positive], correct_b[positive]))
        mcnemar_neg = mcnemar_exact(paired_counts(correct_a[~positive], correct_b[~positive]))
        return cls(
            a=at_a,
            b=at_b,
            strict_a=diagnostic_at(positive, a, threshold, strict=True),
            strict_b=diagnostic_at(positive, b, threshold, strict=True),
            mcnemar_pos=mcnemar_pos,
            mcnemar_neg=mcnemar_neg,
            p={
                "threshold.a.fisher_p": fisher_exact(at_a.tn, at_a.fp, at_a.tp, at_a.fn),
                "threshold.b.fisher_p": fisher_exact(at_b.tn, at_b.fp, at_b.tp, at_b.fn),
                "threshold.mcnemar_pos.p": PValue(mcnemar_pos.p_value, mcnemar_pos.log10_p),
                "threshold.mcnemar_neg.p": PValue(mcnemar_neg.p_value, mcnemar_neg.log10_p),
                "threshold.fisher_sens_a_vs_b_p": fisher_exact(at_a.tp, at_a.fn, at_b.tp, at_b.fn),
                "threshold.fisher_spec_a_vs_b_p": fisher_exact(at_a.tn, at_a.fp, at_b.tn, at_b.fp),
            },
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "a": _reader_part(self.a, self.strict_a, self.p["threshold.a.fisher_p"]),
            "b": _reader_part(self.b, self.strict_b, self.p["threshold.b.fisher_p"]),
            "mcnemar_pos": {**dataclasses.asdict(self.mcnemar_pos.counts), "p": self.mcnemar_pos.p_value},
            "mcnemar_neg": {**dataclasses.asdict(self.mcnemar_neg.counts), "p": self.mcnemar_neg.p_value},
            "fisher_sens_a_vs_b_p": self.p["threshold.fisher_sens_a_vs_b_p"].p,
            "fisher_spec_a_vs_b_p": self.p["threshold.fisher_spec_a_vs_b_p"].p,
        }


def _auc_part(test: PairedAucTest) -> dict[str, Any]:
    a, b = test.a, test.b
    return {
        "auc_a": a.auc,
        "auc_b": b.auc,
        "var_a": a.variance,
        "var_b": b.variance,
        "ci_a": _pair(a.ci),
        "ci_b": _pair(b.ci),
        "ci_logit_a": _pair(a.ci_logit),
        "ci_logit_b": _pair(b.ci_logit),
        "cov_ab": test.covariance,
    }


def _paired_part(test: PairedAucTest) -> dict[str, Any]:
    return {
        "diff": test.diff,
        "se_diff": test.se_diff,
        "Z": test.z,
        "p": test.p_value,
        "log10_p": test.log10_p,
        "ci_diff": _pair(test.ci_diff),
    }


def _reader_part(at: DiagnosticAccuracy, strict: DiagnosticAccuracy, fisher_p: PValue) -> dict[str, Any]:
    """`fisher_p`: correct or not, benign against malignant.  `gt_rule`: the counts for score > threshold."""
    return {
        "n_at_threshold": at.n_at_threshold,
        **_counts_part(at),
        "sens_ci": _pair(at.sensitivity.ci),
        "spec_ci": _pair(at.specificity.ci),
        "fisher_p": fisher_p.p,
        "gt_rule": _counts_part(strict),
    }


def _predictive_part(at: DiagnosticAccuracy) -> dict[str, Any]:
    return {
        "ppv": at.ppv.estimate,
        "ppv_ci": _pair(at.ppv.ci),
        "npv": at.npv.estimate,
        "npv_ci": _pair(at.npv.ci),
        "accuracy": at.accuracy.estimate,
        "accuracy_ci": _pair(at.accuracy.ci),
    }


def _ratios_part(at: DiagnosticAccuracy) -> dict[str, Any]:
    """None where a ratio, or an end of its interval, is infinite or undefined; `notes` says which."""
    found = likelihood_ratios(at.tp, at.fn, at.tn, at.fp, at.confidence)
    named = {"lr_pos": found.positive, "lr_neg": found.negative}
    figures = {
        key: value for name, one in named.items() for key, value in ((name, one.estimate), (f"{name}_ci", [one.low, one.high]))
    }
    notes = {name: one.note for name, one in named.items() if one.note is not None}
    return {**figures, "method": found.positive.method, "notes": notes}


def _partial_part(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any]:
    return {focus: _partial_of(partial_auc(positive, scores, focus=focus)) for focus in _FOCUS}


def _partial_of(found: PartialAuc) -> dict[str, Any]:
    return {
        "low": found.low,
        "high": found.high,
        "area": found.area,
        "standardised": found.standardised,
        "var": found.variance,
        "ci": _pair(found.ci),
        "ci_standardised": _pair(found.ci_standardised),
        "notes": list(found.notes),
    }


def _counts_part(at: DiagnosticAccuracy) -> dict[str, Any]:
    return {
        "tp": at.tp,
        "fn": at.fn,
        "tn": at.tn,
        "fp": at.fp,
        "sens": at.sensitivity.estimate,
        "spec": at.specificity.estimate,
    }


def _noninferiority_part(test: NonInferiority) -> dict[str, Any]:
    return {
        "margin": test.margin,
        "diff": test.diff,
        "lower": test.lower,
        "upper": test.upper,
        "p": test.p_value,
        "verdict": test.verdict.value,
        "confidence_one_sided": test.confidence,
        "notes": list(test.notes),
    }


def _clustered_part(
    positive: NDArray[np.bool_], a: NDArray[np.float64], b: NDArray[np.float64], patients: ArrayLike, draws: int, seed: int
) -> dict[str, Any]:
    test = clustered_paired(positive, a, b, patients)
    drawn = bootstrap_paired(positive, a, b, patients, draws=draws, seed=seed)
    return {
        "n_patients": test.a.n_patients,
        "n_images": test.a.n_images,
        "var_a": test.a.variance,
        "var_b": test.b.variance,
        "cov_ab": test.covariance,
        "ci_a": _pair(test.a.ci),
        "ci_b": _pair(test.b.ci),
        "ci_logit_a": _pair(test.a.ci_logit),
        "ci_logit_b": _pair(test.b.ci_logit),
        "paired": {
            "diff": test.diff,
            "se_diff": test.se_diff,
            "Z": test.z,
            "p": test.p_value,
            "log10_p": test.log10_p,
            "ci_diff": _pair(test.ci_diff),
        },
        "bootstrap": {
            "a": _bootstrap_part(drawn.a),
            "b": _bootstrap_part(drawn.b),
            "diff": _bootstrap_part(drawn.diff),
        },
        "notes": _clustered_notes(test.a, test.b, test.notes),
    }


def _clustered_notes(a: ClusteredAuc, b: ClusteredAuc, paired: tuple[str, ...]) -> dict[str, str]:
    named = (("a", a.notes), ("b", b.notes), ("paired", paired))
    return {name: "; ".join(notes) for name, notes in named if notes}


def _bootstrap_part(found: BootstrapInterval) -> dict[str, Any]:
    return {"se": found.se, "ci": _pair(found.ci), "draws": found.draws, "n_undefined": found.n_undefined, "seed": found.seed}


def _pair(interval: Interval | None) -> list[float | None]:
    return [None, None] if interval is None else [interval[0], interval[1]]
