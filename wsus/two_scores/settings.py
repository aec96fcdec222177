"""What `wsus stats` is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wsus.errors import ConfigError
from wsus.evaluation.paired import ONE_SIDED

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class StatsSettings:
    """threshold: a case is called malignant where score >= threshold.  margin: of non-inferiority of a to b.

    confidence: of two-sided intervals.  noninferiority_confidence: of the one-sided bound.
    draws, seed: of the patient bootstrap, made where patients are known.
    prevalence: the share of cancers that the decision curve is for; None takes that of the cases.
    """

    threshold: float = DEFAULT_THRESHOLD
    margin: float = 0.05
    confidence: float = 0.95
    noninferiority_confidence: float = ONE_SIDED
    draws: int = 2000
    seed: int = 0
    prevalence: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ConfigError(f"the threshold must be a finite number, such as 0.5; got {self.threshold!r}")
        words = {"margin": "the margin of non-inferiority", "noninferiority_confidence": "the one-sided confidence"}
        for name in ("margin", "confidence", "noninferiority_confidence", "prevalence"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                raise ConfigError(f"{words.get(name, f'the {name}')} must lie in (0, 1), such as 0.05 or 0.95; got {value!r}")
        if self.draws < 1 or self.seed < 0:
            raise ConfigError(f"the bootstrap takes 1 draw or more and a seed of 0 or more; got {self.draws} and {self.seed}")
