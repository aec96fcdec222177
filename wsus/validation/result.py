"""What an evaluation found, as frozen records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from wsus.comparison.result import Comparison, PairResult
from wsus.validation.first_use import Use
from wsus.validation.sets import LabelledSet

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class AtPrevalence:
    """Predictive values of one model where so many of those examined have cancer."""

    model: str
    prevalence: float
    ppv: float | None
    npv: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPair:
    """Two models on the same images: `result` holds the first as its weak, the second as its full reader."""

    first: str
    second: str
    result: PairResult


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedSet:
    """All models on one set.

    comparison: every model as a cell of its own on the split "external".
    seen: by model, how many of the images it was trained on or chosen by, by split; None where its bundle does not say.
    left_out: records that could not be scored: {"model", "image_id", "reason"}.
    """

    images: LabelledSet
    comparison: Comparison
    pairs: tuple[ModelPair, ...]
    at_prevalence: tuple[AtPrevalence, ...]
    seen: Mapping[str, Mapping[str, int] | None]
    uses: Mapping[str, Use]
    left_out: tuple[dict[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values, without the images."""
        return {
            "set": self.images.name,
            "address": self.images.address,
            "digest": self.images.digest,
            "comparison": self.comparison.to_json(),
            "pairs": [{**dataclasses.asdict(pair)} for pair in self.pairs],
            "at_prevalence": [dataclasses.asdict(one) for one in self.at_prevalence],
            "seen": {name: counts if counts is None else dict(counts) for name, counts in self.seen.items()},
            "uses": {name: dataclasses.asdict(use) for name, use in self.uses.items()},
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredModel:
    """A model of an evaluation: what a report must say of it. site: what its POM means by a site's profile."""

    label: str
    model_id: str
    digest: str
    backbone: str
    mode: str
    operating_point: float
    engine: str
    site: str | None
    training: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Models on sets.

    predictions: the table of `wsus.comparison.predictions` with the columns set, model and model_id before it.
    """

    models: tuple[ScoredModel, ...]
    sets: tuple[EvaluatedSet, ...]
    predictions: pd.DataFrame
    created: str
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """JSON values, without the predictions."""
        return {
            "schema_version": SCHEMA_VERSION,
            "created": self.created,
            "versions": dict(self.versions),
            "models": [{**dataclasses.asdict(model), "training": dict(model.training)} for model in self.models],
            "sets": [one.to_json() for one in self.sets],
        }
