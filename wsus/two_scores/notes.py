"""What a reader of two compared scores must be told: flags for machines, and a reason for each figure that is missing."""

from __future__ import annotations

from collections.abc import Mapping

from wsus.evaluation.auc import AucEstimate, PairedAucTest, UnpairedAucTest
from wsus.evaluation.paired import McNemarTest
from wsus.evaluation.tails import PValue

_UNDERFLOW_LOG10 = -300.0


def flags_of(test: PairedAucTest) -> list[str]:
    """What is degenerate, reader by reader and then of the comparison."""
    single = min(test.a.n_pos, test.a.n_neg) < 2
    of_both = {"var_diff_zero": test.var_diff_zero, "auc_equal": test.auc_equal, "single_case_in_a_class": single}
    raised = {**_flags_of_one("a", test.a), **_flags_of_one("b", test.b), **of_both}
    return [flag for flag, on in raised.items() if on]


def notes_of(
    test: PairedAucTest, unpaired: UnpairedAucTest, mcnemar: tuple[McNemarTest, McNemarTest], exact_p: Mapping[str, PValue]
) -> dict[str, str]:
    """Why a figure is None, or what its reader must know, under the figure's path in the result.

    Args:
        mcnemar: of the malignant and of the benign cases.  exact_p: p-values of the exact tests by their path.
    """
    notes = {**_notes_of_one("a", test.a), **_notes_of_one("b", test.b)}
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


def _flags_of_one(side: str, estimate: AucEstimate) -> dict[str, bool]:
    return {
        f"auc_{side}_is_1": estimate.auc == 1.0,
        f"auc_{side}_is_0": estimate.auc == 0.0,
        f"var_{side}_zero": estimate.variance == 0.0,
        f"ci_{side}_clipped": estimate.ci_clipped,
    }


def _notes_of_one(side: str, estimate: AucEstimate) -> dict[str, str]:
    undefined = {} if estimate.variance is not None else {f"var_{side}": estimate.notes[0], f"ci_{side}": estimate.notes[0]}
    if estimate.ci_logit is not None:
        return undefined
    if estimate.auc not in (0.0, 1.0):
        return {f"ci_logit_{side}": estimate.notes[0], **undefined}
    collapsed = "" if undefined else f", and ci_{side} has collapsed to a point"
    return {f"ci_logit_{side}": f"the logit of an AUC of 0 or 1 is infinite{collapsed}: use ci_score_{side}", **undefined}
