"""What every statistic of this package starts from: labelled cases with one or more scores.

Convention: malignant = 1 is the positive class and a higher score means more malignant. It is never flipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsus.errors import DataError

LABEL_WORDS: dict[object, int] = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "benign": 0, "malignant": 1}
_LABELS: dict[object, int] = {0: 0, 1: 1, **LABEL_WORDS}


def check_labels(labels: ArrayLike) -> NDArray[np.bool_]:
    """Labels as booleans, True where malignant, shape (N,).

    Args:
        labels: 0 or 1, or the words benign and malignant, shape (N,).
    Raises:
        DataError: a label is none of these, or only one of the two classes occurs.
        ValueError: the labels are not one-dimensional.
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels have shape (N,); got {values.shape}")
    if values.dtype.kind in "USO":  # words, or numbers among what is missing
        values = np.array([_LABELS.get(label, -1) for label in values.tolist()])
    positive = values == 1
    known = positive | (values == 0)
    if not known.all():
        strange = sorted({str(value) for value in np.asarray(labels)[~known].tolist()})[:3]
        raise DataError(
            f"labels must be 0 (benign) or 1 (malignant); {int((~known).sum())} are not, such as {', '.join(strange)}"
        )
    n_pos = int(positive.sum())
    if n_pos in (0, positive.size):
        raise DataError(f"both classes are needed; found {n_pos} malignant and {positive.size - n_pos} benign cases")
    return positive


def check_scores(scores: ArrayLike, n_cases: int, *, name: str = "score") -> NDArray[np.float64]:
    """Scores as float64, shape (N,).

    Raises:
        DataError: a score is NaN, infinite, missing or no number.
        ValueError: there is not one score per case.
    """
    try:
        values = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: scores must be numbers ({error}); convert them, or leave those cases out on purpose") from None
    if values.shape != (n_cases,):
        raise ValueError(f"{name}: one score per label, shape ({n_cases},); got {values.shape}")
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.flatnonzero(~finite)[0])
        raise DataError(
            f"{name}: {int((~finite).sum())} of {n_cases} scores are NaN or infinite, "
            f"the first is {values[first]} at position {first}; leave those cases out on purpose, or score them again"
        )
    return values


def check_confidence(confidence: float) -> float:
    """The confidence itself. Raises ValueError where it does not lie in (0, 1)."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), such as 0.95; got {confidence!r}")
    return confidence
