"""Two readers of the same cases: is a as good as b? Any scores will do, whatever made them.

    python examples/compare_scores.py scores.csv [--margin 0.05]     # columns id, label, score_a, score_b
    python examples/compare_scores.py                                # made scores

`wsus stats --csv scores.csv` prints everything; this shows the functions behind it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsus.errors import DataError, WsusError
from wsus.evaluation.auc import delong_paired
from wsus.evaluation.paired import mcnemar_exact, noninferiority_auc, paired_counts
from wsus.two_scores.scores import ScoreTable
from wsus.two_scores.table import read_score_table


def main() -> int:
    """Compare the areas under the ROC curve, and the calls at 0.5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="?")
    parser.add_argument("--margin", type=float, default=0.05)
    asked = parser.parse_args()
    try:
        table = made_scores() if asked.csv is None else read_score_table(asked.csv)
        if table.scores_b is None:
            raise DataError(f"{asked.csv}: one column of scores; two are compared here, so add score_b")
        compare(table, table.scores_b, asked.margin)
    except WsusError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def compare(table: ScoreTable, scores_b: NDArray[np.float64], margin: float) -> None:
    """Print the paired tests."""
    test = delong_paired(table.labels, table.scores_a, scores_b)
    print(f"AUC a {test.a.auc:.4f}, b {test.b.auc:.4f}, difference {test.diff:+.4f}")
    print("DeLong " + (f"P = {test.p_value:.4f}" if test.p_value is not None else f"not estimable: {test.notes[0]}"))
    print(f"a against b at a margin of {margin:g}: {noninferiority_auc(test, margin).verdict}")
    for name, cases in (("sensitivity", table.labels == 1), ("specificity", table.labels == 0)):
        truth = table.labels[cases] == 1
        right_a, right_b = ((scores[cases] >= 0.5) == truth for scores in (table.scores_a, scores_b))
        print(
            f"{name}: a {right_a.mean():.3f}, b {right_b.mean():.3f}, "
            f"exact McNemar P = {mcnemar_exact(paired_counts(right_a, right_b)).p_value:.4f}"
        )


def made_scores(cases: int = 200, seed: int = 0) -> ScoreTable:
    """Two correlated scores of the same cases, the second a little better."""
    rng = np.random.default_rng(seed)
    labels = np.arange(cases) % 2
    common = rng.normal(size=cases)
    scores = [1 / (1 + np.exp(-(gain * (labels - 0.5) + common + 0.5 * rng.normal(size=cases)))) for gain in (2.0, 2.4)]
    ids = tuple(f"case-{number}" for number in range(cases))
    return ScoreTable(ids=ids, labels=labels, scores_a=scores[0], scores_b=scores[1], patients=None)


if __name__ == "__main__":
    raise SystemExit(main())
