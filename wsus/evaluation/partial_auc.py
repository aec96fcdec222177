"""The area under a part of the ROC curve: where specificity, or sensitivity, is high enough to be of use.

Sources: McClish 1989, Medical Decision Making 9:190 (the area and its standardised form); Jiang, Metz and Nishikawa 1996,
Radiology 201:745 (the part of high sensitivity). The variance is that of the two classes' influence on the area (Hsieh and
Turnbull 1996, Annals of Statistics 24:25, give the expansion): over the whole range it is DeLong's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsus.evaluation.auc import single_case_reason
from wsus.evaluation.cases import check_confidence, check_labels, check_scores
from wsus.evaluation.intervals import Interval

Focus = Literal["specificity", "sensitivity"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialAuc:
    """A partial area under an empirical ROC curve; None where something cannot be estimated, with the reason in `notes`.

    area: of the curve over the range of `focus` from `low` to `high`, in [0, high - low]. Divided by high - low it is the
        mean sensitivity over those specificities (the mean specificity over those sensitivities).
    standardised: McClish's, 0.5 for a coin and 1 for a perfect score.
    ci, ci_standardised: on the logit scale of area / (high - low); None where the area is 0 or as large as it can be. Over
        a range of 0.1 and 100 + 100 cases it rests on ten cases and covers 0.92 instead of 0.95; over 0.2, 0.94.
    """

    focus: Focus
    low: float
    high: float
    area: float
    standardised: float
    variance: float | None
    ci: Interval | None
    ci_standardised: Interval | None
    n_pos: int
    n_neg: int
    confidence: float
    notes: tuple[str, ...] = ()


def partial_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    focus: Focus = "specificity",
    low: float = 0.8,
    high: float = 1.0,
    confidence: float = 0.95,
) -> PartialAuc:
    """The area under the ROC curve where `focus` lies in [low, high].

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  scores: finite, higher is more malignant, shape (N,).
        low, high: of specificity or sensitivity, 0 <= low < high <= 1.
    Raises:
        DataError: an unknown label, one class only, a score that is not finite.
        ValueError: shapes that do not fit, an unknown focus, a range or a confidence that cannot be.

    >>> partial_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], low=0.5).area
    0.25
    """
    check_confidence(confidence)
    if focus not in ("specificity", "sensitivity"):
        raise ValueError(f"focus must be 'specificity' or 'sensitivity'; got {focus!r}")
    if not 0.0 <= low < high <= 1.0:
        raise ValueError(f"a range needs 0 <= low < high <= 1, such as 0.8 to 1; got {low!r} to {high!r}")
    positive = check_labels(labels)
    values = check_scores(scores, positive.size)
    n_pos = int(positive.sum())
    if focus == "sensitivity":  # the curve seen from the other class: benign cases are found by a low score
        positive, values = ~positive, -values
    found = _Stretch.of(positive, values, 1.0 - high, 1.0 - low)
    return _estimate(found, focus, (low, high), (n_pos, positive.size - n_pos), confidence)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stretch:
    """The area over x in [left, right] of the curve's horizontal axis, and the influence of every case on it.

    of_pos, of_neg: a component per case of the class on the vertical and on the horizontal axis, up to a constant.
    """

    left: float
    right: float
    area: float
    of_pos: NDArray[np.float64]
    of_neg: NDArray[np.float64]

    @classmethod
    def of(cls, positive: NDArray[np.bool_], scores: NDArray[np.float64], left: float, right: float) -> _Stretch:
        """Each group G of equal scores is one straight piece of the curve, from (x0, y0) to (x1, y1)."""
        pos_G, neg_G = _groups(positive, scores)
        x, y = np.append(0, np.cumsum(neg_G)) / neg_G.sum(), np.append(0, np.cumsum(pos_G)) / pos_G.sum()
        x0, x1, width = x[:-1], x[1:], np.diff(x)
        a, b = np.clip(x0, left, right), np.clip(x1, left, right)  # the part of the piece that lies in the range
        slope = _quotient(np.diff(y), width, 0.0)
        height_a, height_b = y[:-1] + slope * (a - x0), y[:-1] + slope * (b - x0)
        inside = (b - a) * (height_a + height_b) / 2
        before, after = np.minimum(x1, left) - np.minimum(x0, left), np.maximum(x1, right) - np.maximum(x0, right)
        within = np.flatnonzero(b > a)
        height = before * height_a[within[0]] + inside + after * height_b[within[-1]]
        place = before * left + (b - a) * (a + b) / 2 + after * right
        return cls(
            left=left,
            right=right,
            area=float(inside.sum()),
            of_pos=np.repeat(right - _quotient(place, width, a), pos_G),
            of_neg=np.repeat(_quotient(height, width, 0.0), neg_G),
        )

    @property
    def variance(self) -> float | None:
        """None where a class has fewer than two cases."""
        if min(self.of_pos.size, self.of_neg.size) < 2:
            return None
        return float(self.of_pos.var(ddof=1) / self.of_pos.size + self.of_neg.var(ddof=1) / self.of_neg.size)


def _groups(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many cases of each class share a score, from the highest score down, shape (G,) each."""
    order = np.argsort(-scores, kind="stable")
    values = scores[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    pos_G = np.add.reduceat(positive[order].astype(np.int64), starts)
    return pos_G, np.diff(np.append(starts, positive.size)) - pos_G


def _quotient(
    over: NDArray[np.float64], width: NDArray[np.float64], otherwise: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """over / width, and `otherwise` for a piece without width."""
    return np.divide(over, width, out=np.zeros_like(width) + otherwise, where=width > 0)


def _estimate(found: _Stretch, focus: Focus, limits: Interval, counts: tuple[int, int], confidence: float) -> PartialAuc:
    left, right = found.left, found.right
    width, by_chance = right - left, (right - left) * (right + left) / 2
    share = min(found.area / width, 1.0)
    variance, notes = found.variance, []
    ci = ci_standardised = None

    def standardised(area: float) -> float:
        return 0.5 * (1.0 + (area - by_chance) / (width - by_chance))

    if variance is None:
        notes.append(single_case_reason(*counts))
    elif not 0.0 < share < 1.0:
        notes.append("the partial area is 0 or as large as it can be: its interval would have no width")
    else:
        half = float(special.ndtri(1.0 - (1.0 - confidence) / 2.0)) * math.sqrt(variance) / (width * share * (1.0 - share))
        ends = (float(special.expit(special.logit(share) + side * half)) * width for side in (-1, 1))
        ci = next(ends), next(ends)
        ci_standardised = standardised(ci[0]), standardised(ci[1])
    return PartialAuc(
        focus=focus,
        low=limits[0],
        high=limits[1],
        area=found.area,
        standardised=standardised(found.area),
        variance=variance,
        ci=ci,
        ci_standardised=ci_standardised,
        n_pos=counts[0],
        n_neg=counts[1],
        confidence=confidence,
        notes=tuple(notes),
    )
