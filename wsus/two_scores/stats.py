"""One or two scores of the same cases: the answer of `wsus stats` to a table.

The figures and their names are those that R's pROC, binom.test and fisher.test give (see `auc`, `paired`, `intervals`);
None stands where something cannot be estimated, and `notes` says why under the figure's name. Beside them stand what R
does not give: an interval that holds at an AUC of 0 or 1, logarithms of p, calibration, decision curve, non-inferiority.
Where a patient has several cases, `noninferiority`, `power` and `holm` are over patients; R's own figures stay as if all
cases were independent, and `clustered` holds what takes their place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsus.evaluation.auc import auc_with_interval, delong_paired, delong_unpaired
from wsus.evaluation.cases import check_labels, check_scores
from wsus.evaluation.diagnostic import DiagnosticAccuracy, diagnostic_at
from wsus.evaluation.paired import (
    McNemarTest,
    NonInferiority,
    fisher_exact,
    holm,
    mcnemar_exact,
    noninferiority_auc,
    noninferiority_paired,
    paired_counts,
)
from wsus.evaluation.power import power_noninferiority_auc, power_noninferiority_paired
from wsus.evaluation.tails import PValue
from wsus.two_scores.notes import flags_of, flags_of_one, hints_of, notes_of, notes_of_one
from wsus.two_scores.parts import (
    auc_part,
    calibration_part,
    decision_part,
    noninferiority_part,
    paired_part,
    partial_part,
    predictive_part,
    ratios_part,
    reader_part,
)
from wsus.two_scores.patients import clustered_one, clustered_two, several_images, tests_over_patients
from wsus.two_scores.settings import StatsSettings
from wsus.two_scores.subgroups import subgroup_part
from wsus.two_scores.table import read_score_table
from wsus.two_scores.text import format_stats

__all__ = ["StatsSettings", "format_stats", "stats_from_csv", "stats_from_scores"]


def stats_from_csv(
    path: Path,
    settings: StatsSettings = StatsSettings(),
    *,
    against: Path | None = None,
    split: str | None = None,
    trial_seed: int | None = None,
    subgroup: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Figures of the column score_a (or score), and its comparison with score_b, of a CSV file or a predictions.parquet.

    Args:
        against: a second predictions.parquet, whose probabilities are score_b.  split, trial_seed: which rows of a
            predictions.parquet; needed where it holds several.  subgroup: a column whose levels are reported one by one.
        columns: what a CSV calls id, label, score, score_b, patient_id, where it is another name.
    Returns:
        what `json.dumps(..., allow_nan=False)` accepts; see `stats_from_scores`.
    Raises:
        DataError: the file cannot be read, or a column, id, label or score is not what it should be (row and column named).
    """
    table = read_score_table(path, against=against, split=split, trial_seed=trial_seed, subgroup=subgroup, columns=columns)
    found = stats_from_scores(table.labels, table.scores_a, table.scores_b, table.patients, settings)
    found["hints"] += table.hints
    if subgroup is not None and table.levels is not None:
        found["subgroups"] = subgroup_part(table, subgroup, settings)
    return found


def stats_from_scores(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike | None = None,
    patients: ArrayLike | None = None,
    settings: StatsSettings = StatsSettings(),
) -> dict[str, Any]:
    """Everything that is known of one or two scores of the same cases, JSON-ready.

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  scores_a, scores_b: finite, shape (N,).  patients: shape (N,) or None.
    Raises:
        DataError, ValueError: as `delong_paired`, `diagnostic_at`, `noninferiority_auc`.
    """
    positive = check_labels(labels)
    a = check_scores(scores_a, positive.size, name="score_a")
    if scores_b is None:
        return _one(positive, a, patients, settings)
    return _two(positive, a, check_scores(scores_b, positive.size, name="score_b"), patients, settings)


def _one(
    positive: NDArray[np.bool_], a: NDArray[np.float64], patients: ArrayLike | None, settings: StatsSettings
) -> dict[str, Any]:
    found = auc_with_interval(positive, a, settings.confidence)
    at, strict = (diagnostic_at(positive, a, settings.threshold, settings.confidence, strict=how) for how in (False, True))
    fisher = fisher_exact(at.tn, at.fp, at.tp, at.fn)
    result: dict[str, Any] = {
        "n": positive.size,
        "n_pos": found.n_pos,
        "n_neg": found.n_neg,
        **auc_part("a", found),
        "threshold": {"a": reader_part(at, strict, fisher)},
        "flags": flags_of_one("a", found),
        "notes": notes_of_one("a", found),
        "log10_p": {"threshold.a.fisher_p": fisher.log10_p},
        "settings": dataclasses.asdict(settings),
        "hints": hints_of({"a": (a, found)}, settings.threshold),
        **_by_side(positive, {"a": (a, at)}, patients, settings),
    }
    if patients is not None:
        result["clustered"] = clustered_one(positive, a, patients, settings)
    return result


def _two(
    positive: NDArray[np.bool_],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    patients: ArrayLike | None,
    settings: StatsSettings,
) -> dict[str, Any]:
    test = delong_paired(positive, a, b, settings.confidence)
    unpaired = delong_unpaired(test.a, test.b)
    at = _AtThreshold.of(positive, a, b, settings)
    result: dict[str, Any] = {
        "n": positive.size,
        "n_pos": test.a.n_pos,
        "n_neg": test.a.n_neg,
        **auc_part("a", test.a),
        **auc_part("b", test.b),
        "cov_ab": test.covariance,
        "paired": paired_part(test),
        "unpaired": {"D": unpaired.d, "df": unpaired.df, "p": unpaired.p_value},
        "threshold": at.as_dict(),
        "flags": flags_of(test),
        "notes": notes_of(test, unpaired, (at.mcnemar_pos, at.mcnemar_neg), at.p),
        "settings": dataclasses.asdict(settings),
        "hints": hints_of({"a": (a, test.a), "b": (b, test.b)}, settings.threshold),
        **_by_side(positive, {"a": (a, at.a), "b": (b, at.b)}, patients, settings),
        "log10_p": {"paired": test.log10_p, "unpaired": unpaired.log10_p, **{key: p.log10_p for key, p in at.p.items()}},
    }
    if patients is not None:
        result["clustered"] = clustered_two(positive, a, b, patients, settings)
    margin, level = settings.margin, settings.noninferiority_confidence
    counts = {"sensitivity": at.mcnemar_pos.counts, "specificity": at.mcnemar_neg.counts}
    two_sided = {"auc": test.p_value, "sensitivity": at.mcnemar_pos.p_value, "specificity": at.mcnemar_neg.p_value}
    judged: dict[str, NonInferiority | None] = {
        "auc": noninferiority_auc(test, margin, level),
        **{name: noninferiority_paired(of_class, margin, level) for name, of_class in counts.items()},
    }
    auc_test: Any = test
    effects = {"sensitivity": 1.0, "specificity": 1.0}
    if patients is not None and several_images(patients):
        over = tests_over_patients(positive, a, b, patients, settings)
        auc_test, shares = over.auc, {"sensitivity": over.sensitivity, "specificity": over.specificity}
        two_sided = {"auc": over.auc.p_value, **{name: found.p_value for name, found in shares.items()}}
        judged = {
            "auc": noninferiority_auc(over.auc, margin, level),
            **{name: found.noninferiority(margin, level) for name, found in shares.items()},
        }
        effects = {name: found.design_effect for name, found in shares.items()}
    result["noninferiority"] = {name: noninferiority_part(found, margin, level) for name, found in judged.items()}
    result["holm"] = {
        "two_sided": dict(zip(two_sided, holm(list(two_sided.values())), strict=True)),
        "noninferiority": dict(zip(judged, holm([found.p_value if found else None for found in judged.values()]), strict=True)),
    }
    for name, part in result["noninferiority"].items():
        adjusted = result["holm"]["noninferiority"][name]
        part["holds_after_holm"] = adjusted is not None and adjusted < 1 - level if part["verdict"] == "non-inferior" else None
    result["power"] = {
        "auc_noninferiority": dataclasses.asdict(power_noninferiority_auc(auc_test, margin, confidence=level)),
        **{
            f"{name}_noninferiority": dataclasses.asdict(
                power_noninferiority_paired(
                    of_class, margin, confidence=level, malignant=name == "sensitivity", design_effect=effects[name]
                )
            )
            for name, of_class in counts.items()
        },
    }
    return result


def _by_side(
    positive: NDArray[np.bool_],
    sides: dict[str, tuple[NDArray[np.float64], DiagnosticAccuracy]],
    patients: ArrayLike | None,
    settings: StatsSettings,
) -> dict[str, Any]:
    level, prevalence = settings.confidence, settings.prevalence
    return {
        "predictive": {side: predictive_part(at) for side, (_, at) in sides.items()},
        "likelihood_ratios": {side: ratios_part(at) for side, (_, at) in sides.items()},
        "partial_auc": {side: partial_part(positive, scores, level) for side, (scores, _) in sides.items()},
        "calibration": {side: calibration_part(positive, scores, patients, level) for side, (scores, _) in sides.items()},
        "decision_curve": {
            side: decision_part(positive, scores, patients, level, prevalence) for side, (scores, _) in sides.items()
        },
    }


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
    def of(
        cls, positive: NDArray[np.bool_], a: NDArray[np.float64], b: NDArray[np.float64], settings: StatsSettings
    ) -> _AtThreshold:
        threshold = settings.threshold
        at_a, at_b = (diagnostic_at(positive, scores, threshold, settings.confidence) for scores in (a, b))
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
            "a": reader_part(self.a, self.strict_a, self.p["threshold.a.fisher_p"]),
            "b": reader_part(self.b, self.strict_b, self.p["threshold.b.fisher_p"]),
            "mcnemar_pos": {**dataclasses.asdict(self.mcnemar_pos.counts), "p": self.mcnemar_pos.p_value},
            "mcnemar_neg": {**dataclasses.asdict(self.mcnemar_neg.counts), "p": self.mcnemar_neg.p_value},
            "fisher_sens_a_vs_b_p": self.p["threshold.fisher_sens_a_vs_b_p"].p,
            "fisher_spec_a_vs_b_p": self.p["threshold.fisher_spec_a_vs_b_p"].p,
        }
