"""Published models on labelled images: scored by the inference path, judged by the statistics of a study's comparison."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from wsus.comparison.compare import ComparisonConfig
from wsus.errors import ConfigError, DataError
from wsus.inference.engines.engine import EngineChoice
from wsus.inference.predict import Predictor
from wsus.inference.scoring import ScoredImage, as_table, choose_examples, score_records
from wsus.models.asked import AskedModel
from wsus.models.seen import count_seen
from wsus.types import ImageRecord
from wsus.validation.first_use import record_use
from wsus.validation.judge import judge
from wsus.validation.result import EvaluatedSet, Evaluation, ScoredModel
from wsus.validation.sets import LabelledSet

Say = Callable[[str], None]
_PACKAGES = ("wsus", "torch", "onnxruntime", "numpy", "scipy", "scikit-learn")
_SAY_EVERY_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How published models are evaluated.

    prevalence: share of cancers among those examined where the models would be used; None leaves predictive values at it out.
    comparison: intervals, margin, bootstrap, as of a study.
    site: whose profiles scale and cut the POMs; None for the models' own.
    device, engine, batch_size: what runs the networks.
    """

    prevalence: float | None = None
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    site: str | None = None
    device: str = "cpu"
    engine: EngineChoice = "auto"
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise ConfigError(f"prevalence is the share of cancers, in (0, 1), as 0.02; got {self.prevalence!r}")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One model's answers to one set: rows of the predictions, pictures for the report, and what could not be scored."""

    table: pd.DataFrame
    examples: tuple[ScoredImage, ...]
    left_out: tuple[dict[str, str], ...]


def evaluate(
    models: Sequence[AskedModel], sets: Sequence[LabelledSet], config: EvaluationConfig = EvaluationConfig(), *, say: Say
) -> tuple[Evaluation, dict[tuple[str, str], tuple[ScoredImage, ...]]]:
    """Score every set with every model, and judge.

    Args:
        say: is told how far it is.
    Returns:
        the evaluation, and the most telling examples by (set, model).
    Raises:
        DataError: none of a set's images can be scored.  BundleError, ConfigError: a model cannot be run.
    """
    predictors = [_predictor(model, config) for model in models]
    tables: list[pd.DataFrame] = []
    evaluated: list[EvaluatedSet] = []
    examples: dict[tuple[str, str], tuple[ScoredImage, ...]] = {}
    for images in sets:
        scored = {
            model.label: score_set(predictor, images, model, say=say) for model, predictor in zip(models, predictors, strict=True)
        }
        table = pd.concat([one.table for one in scored.values()], ignore_index=True)
        tables.append(table)
        examples |= {(images.name, label): one.examples for label, one in scored.items()}
        evaluated.append(_judged(images, models, table, scored, config))
    evaluation = Evaluation(
        models=tuple(_described(model, predictor) for model, predictor in zip(models, predictors, strict=True)),
        sets=tuple(evaluated),
        predictions=pd.concat(tables, ignore_index=True),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
    )
    return evaluation, examples


def score_set(predictor: Predictor, images: LabelledSet, model: AskedModel, *, say: Say) -> Scored:
    """One model's answers to one set; what cannot be read is left out and named."""
    left_out: list[dict[str, str]] = []

    def note(record: ImageRecord, error: DataError) -> None:
        left_out.append({"model": model.label, "image_id": record.image_id, "reason": str(error)})

    rows: list[dict[str, Any]] = []
    examples: list[ScoredImage] = []
    for row, example in _told(score_records(predictor, images.records, left_out=note), images, model, say):
        rows.append(row)
        examples = choose_examples([({}, kept) for kept in (*examples, example)])
    if not rows:
        raise DataError(f"{model.label}: none of the images of {images.name} could be scored: {left_out[0]['reason']}")
    card = predictor.card
    about: dict[str, Any] = {"set": images.name, "model": model.label, "model_id": predictor.model_id}
    about |= {"backbone": card.net.backbone, "mode": card.mode.value, "seed": int(card.training.get("seed", 0))}
    return Scored(table=as_table(rows, **about), examples=tuple(examples), left_out=tuple(left_out))


def _told(
    scored: Iterator[tuple[dict[str, Any], ScoredImage]], images: LabelledSet, model: AskedModel, say: Say
) -> Iterator[tuple[dict[str, Any], ScoredImage]]:
    """What passes, with a line every ten seconds and at the end."""
    total, start = len(images.records), time.monotonic()
    last = start
    done = 0
    for done, item in enumerate(scored, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _SAY_EVERY_S:
            rate, last = done / (now - start), now
            say(f"{model.label} on {images.name}: {done} of {total} images, {rate:.1f}/s, {(total - done) / rate:.0f} s left")
    took = time.monotonic() - start
    say(f"{model.label} on {images.name}: {done} of {total} images in {took:.0f} s, {done / max(took, 1e-9):.1f}/s")


def _judged(
    images: LabelledSet,
    models: Sequence[AskedModel],
    table: pd.DataFrame,
    scored: Mapping[str, Scored],
    config: EvaluationConfig,
) -> EvaluatedSet:
    left_out = [item for one in scored.values() for item in one.left_out]
    return judge(
        images,
        table,
        config.comparison,
        prevalence=config.prevalence,
        seen={model.label: count_seen(model.bundle, images.image_digests) for model in models},
        uses={model.label: record_use(model, images, "evaluate") for model in models},
        left_out=left_out,
    )


def _predictor(model: AskedModel, config: EvaluationConfig) -> Predictor:
    site = model.profile(config.site)
    return Predictor(model.bundle, device=config.device, engine=config.engine, batch_size=config.batch_size, site=site)


def _described(model: AskedModel, predictor: Predictor) -> ScoredModel:
    card = predictor.card
    return ScoredModel(
        label=model.label,
        model_id=predictor.model_id,
        digest=predictor.digest,
        backbone=card.net.backbone,
        mode=card.mode.value,
        operating_point=predictor.operating_point if predictor.site is None else predictor.site.operating_point,
        site=None if predictor.site is None else predictor.site.sentence,
        engine=predictor.engine_name,
        training=card.training,
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
