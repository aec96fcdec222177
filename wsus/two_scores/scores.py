"""One or two scores of the same cases, whatever file they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsus.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreTable:
    """One or two scores of the same cases, shape (N,) each.

    labels: int64, 1 malignant, 0 benign.  scores_a, scores_b: finite float64; b None where there is one score.
    patients: None where the file does not say.  levels: of the subgroup that was asked for, '' where unknown; None without one.
    hints: what looks like a slip in the table.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    scores_a: NDArray[np.float64]
    scores_b: NDArray[np.float64] | None
    patients: NDArray[np.str_] | None
    levels: NDArray[np.str_] | None = None
    hints: tuple[str, ...] = ()


def check_classes(path: Path, labels: list[int]) -> None:
    """Raises DataError where only one class occurs."""
    n_pos = sum(labels)
    if n_pos in (0, len(labels)):
        raise DataError(f"{path}: {n_pos} malignant and {len(labels) - n_pos} benign cases; both classes are needed")
