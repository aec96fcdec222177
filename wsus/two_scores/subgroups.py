"""One or two scores inside the levels of a column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.clustered import clustered_auc
from wsus.evaluation.clustered_shares import clustered_proportion
from wsus.evaluation.intervals import proportion
from wsus.two_scores.parts import pair
from wsus.two_scores.patients import several_images
from wsus.two_scores.scores import ScoreTable
from wsus.two_scores.settings import StatsSettings

_LARGEST_LEVELS = 50


def subgroup_part(table: ScoreTable, column: str, settings: StatsSettings) -> dict[str, Any]:
    """AUC, sensitivity and specificity per level of a column, over patients where one has several cases in the level.

    An empty value is no level. No test of interaction is made.
    """
    levels = np.array(table.levels if table.levels is not None else [])
    known = sorted({level for level in levels.tolist() if level})
    shown = known[:_LARGEST_LEVELS]
    return {
        "column": column,
        "unknown": int((levels == "").sum()),
        "levels_left_out": len(known) - len(shown),
        "levels": {level: _level(table, levels == level, settings) for level in shown},
    }


def _level(table: ScoreTable, inside: NDArray[np.bool_], settings: StatsSettings) -> dict[str, Any]:
    positive = table.labels[inside] == 1
    patients = None if table.patients is None else table.patients[inside]
    found: dict[str, Any] = {"n": int(inside.sum()), "n_pos": int(positive.sum())}
    for side, scores in (("a", table.scores_a), ("b", table.scores_b)):
        if scores is not None:
            found[side] = _figures(positive, scores[inside], patients, settings)
    return found


def _figures(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], patients: NDArray[np.str_] | None, settings: StatsSettings
) -> dict[str, Any]:
    called, level = scores >= settings.threshold, settings.confidence
    over = patients if several_images(patients) else None
    figures: dict[str, Any] = {"auc": None, "auc_ci": [None, None]}
    if positive.any() and not positive.all():
        if over is None:
            plain = auc_with_interval(positive, scores, level)
            figures |= {"auc": plain.auc, "auc_ci": pair(plain.ci if 0 < plain.auc < 1 else plain.ci_score)}
        else:
            clustered = clustered_auc(positive, scores, over, level)
            figures |= {"auc": clustered.auc, "auc_ci": pair(clustered.ci_logit)}
    for name, right, of in (("sens", called, positive), ("spec", ~called, ~positive)):
        if over is None:
            share = proportion(int(right[of].sum()), int(of.sum()), level)
            figures |= {name: share.estimate, f"{name}_ci": pair(share.ci)}
        else:
            clustered_share = clustered_proportion(right[of], over[of], level)
            figures |= {name: clustered_share.estimate, f"{name}_ci": pair(clustered_share.ci)}
    return figures
