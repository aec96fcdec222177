"""Predictions made for the tests of comparisons, small enough that their counts can be made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from wsus.comparison.compare import ComparisonConfig

QUICK = ComparisonConfig(bootstrap=50)
LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
WEAK = [0.1, 0.2, 0.3, 0.7, 0.4, 0.6, 0.8, 0.9]  # one benign image called malignant, one malignant called benign
FULL = [0.2, 0.6, 0.1, 0.3, 0.7, 0.45, 0.55, 0.8]


def cell_of(
    backbone: str, mode: str, pom: list[float], labels: list[int], *, split: str = "internal", seed: int = 0
) -> pd.DataFrame:
    """Predictions of one cell on a split, an image per patient: the last without a mask, every other one from device X."""
    n = len(pom)
    return pd.DataFrame(
        {
            "backbone": backbone,
            "mode": mode,
            "seed": seed,
            "split": split,
            "image_id": [f"{split}-{i:03d}" for i in range(n)],
            "patient_id": [f"{split}-p{i:03d}" for i in range(n)],
            "label": labels,
            "pom": pom,
            "operating_point": 0.5,
            "called_malignant": [value >= 0.5 for value in pom],
            "localised": [True] * (n - 1) + [None],
            "iou": [0.6] * (n - 1) + [np.nan],
            "pointing_hit": [False] * (n - 1) + [None],
            "fallback_crop": False,
            "device": ["X" if i % 2 else "Y" for i in range(n)],
        }
    )
