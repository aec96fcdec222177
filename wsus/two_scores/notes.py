"""What a reader of two compared scores must be told: flags for machines, and a reason for each figure that is missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wsus.evaluation.auc import AucEstimate, PairedAucTest, UnpairedAucTest
from wsus.evaluation.paired import McNemarTest
from wsus.evaluation.tails import PValue
from wsus.two_scores.settings import DEFAULT_THRESHOLD

_UNDERFLOW_LOG10 = -300.0


def flags_of(test: PairedAucTest) -> list[str]:
    """What is degenerate, reader by reader and then of the comparison."""
    single = min(test.a.n_pos, test.a.n_neg) < 2
    of_both = {"var_diff_zero": test.var_diff_zero, "auc_equal": test.auc_equal, "single_case_in_a_class": single}
    return [*flags_of_one("a", test.a), *flags_of_one("b", test.b), *(flag for flag, on in of_both.items() if on)]


def notes_of(
    test: PairedAucTest, unpaired: UnpairedAucTest, mcnemar: tuple[McNemarTest, McNemarTest], exact_p: Mapping[str, PValue]
) -> dict[str, str]:
    """Why a figure is None, or what its reader must know, under the figure's path in the result.

    Args:
        mcnemar: of the malignant and of the benign cases.  exact_p: p-values of the exact tests by their path.
    """
    notes = {**notes_of_one("a", test.a), **notes_of_one("b", test.b)}
    if test.covariance is None:
        notes["cov_ab"] = test.notes[0]
    paired = {"se_diff": test.se_diff, "Z": test.z, "p": test.p_value, "log10_p": test.log10_p, "ci_diff": test.ci_diff}
    notes |= {f"paired.{key}": test.notes[0] for key, value in paired.items() if value is None}
    if unpaired.d is None:
        notes |= {f"unpaired.{key}": unpaired.notes[0] for key in ("D", "df", "p")}
    for key, outcome in zip(("mcnemar_pos", "mcnemar_neg"), mcnemar, strict=True):
        if outcome.counts.only_a_correct + outcome.counts.only_b_correct == 0:
            notes[f"threshold.{key}.p"] = "no discordant pairs: p = 1 by convention"
    log10_p = {"paired.p": test.log10_p, "unpaired.p": unpaired.log10_p, **{key: p.log10_p for key, p in exact_p.items()}}
    for key, value in log10_p.items():
        if value is not None and value < _UNDERFLOW_LOG10:
            notes[key] = f"below 1e-300, where double precision ends: log10 p = {value:.6g}"
    return notes


def hints_of(sides: Mapping[str, tuple[NDArray[np.float64], AucEstimate]], threshold: float) -> list[str]:
    """What looks like a slip of whoever made the table: scores on another scale, scores that run the other way."""
    hints = []
    for side, (scores, estimate) in sides.items():
        low, high = float(scores.min()), float(scores.max())
        if threshold == DEFAULT_THRESHOLD and not 0.0 <= low <= high <= 1.0:
            hints.append(
                f"score_{side} runs from {low:g} to {high:g}, and the threshold is {threshold:g} by default: sensitivity,"
                " specificity and what follows from them may mean nothing; choose one with --threshold"
            )
        if estimate.ci_score[1] < 0.5:
            hints.append(
                f"the AUC of score_{side} is {estimate.auc:.3f}, far below 0.5: does a lower score mean malignant? Scores are"
                " never flipped here; multiply them by -1, or check the labels (1 = malignant)"
            )
    return hints


def flags_of_one(side: str, estimate: AucEstimate) -> list[str]:
    """What is degenerate of one score."""
    raised = {
        f"auc_{side}_is_1": estimate.auc == 1.0,
        f"auc_{side}_is_0": estimate.auc == 0.0,
        f"var_{side}_zero": estimate.variance == 0.0,
        f"ci_{side}_clipped": estimate.ci_clipped,
    }
    return [flag for flag, on in raised.items() if on]


def notes_of_one(side: str, estimate: AucEstimate) -> dict[str, str]:
    """Why a figure of one score is None, under its path in the result."""
    undefined = {} if estimate.variance is not None else {f"var_{side}": estimate.notes[0], f"ci_{side}": estimate.notes[0]}
    if estimate.ci_logit is not None:
        return undefined
    if estimate.auc not in (0.0, 1.0):
        return {f"ci_logit_{side}": estimate.notes[0], **undefined}
    collapsed = "" if undefined else f", and ci_{side} has collapsed to a point"
    return {f"ci_logit_{side}": f"the logit of an AUC of 0 or 1 is infinite{collapsed}: use ci_score_{side}", **undefined}
