"""An evaluation as files: predictions, figures of the statistics as JSON, tables, drawings, one page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from wsus.comparison.compare import chosen_predictions
from wsus.comparison.predictions import without_lists
from wsus.disclaimer import DISCLAIMER
from wsus.errors import StoreError
from wsus.inference.scoring import ScoredImage
from wsus.report.figures.canvas import Drawing
from wsus.report.figures.decision import decision_drawing
from wsus.report.figures.forest import forest_drawing
from wsus.report.figures.gallery import gallery_drawing
from wsus.report.figures.plots import box_accuracy_drawing, calibration_drawing, roc_drawing
from wsus.report.html import render_page
from wsus.report.inputs import CellArtefacts, GalleryItem
from wsus.report.tables.table import Table
from wsus.report.wording import mode_name, number, percent, percent_with_interval, with_interval
from wsus.report.write import replaced_folder
from wsus.validation.result import EvaluatedSet, Evaluation
from wsus.validation.tables import SPLIT, performance_table, set_words, tables_of

RESULT, REPORT, PREDICTIONS = "evaluation.json", "report.html", "predictions.parquet"
Examples = Mapping[tuple[str, str], Sequence[ScoredImage]]


def write_evaluation(folder: Path, evaluation: Evaluation, examples: Examples) -> None:
    """Write predictions (Parquet, CSV), evaluation.json, tables/, figures/, summary.txt and report.html.

    Built beside the folder and renamed; an evaluation that stood there is replaced, anything else is not.

    Raises:
        StoreError: the folder cannot be written, or holds something else.
    """
    check_place(folder)
    with replaced_folder(folder) as beside:
        _write_all(beside, evaluation, examples)


def check_place(folder: Path) -> None:
    """Raise StoreError where a folder holds something that is no evaluation, before anything is computed."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RESULT).is_file():
        raise StoreError(f"{folder}: holds files that are no evaluation; name a new folder, or one that an evaluation wrote")
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file; an evaluation is a folder: name a new one")


def summary(evaluation: Evaluation) -> str:
    """The performance of every model on every set, and what must be known, as plain text."""
    blocks = []
    for one in evaluation.sets:
        blocks += [performance_table(one).to_text(), "\n".join(f"  {line}" for line in to_be_known(one))]
    return "\n\n".join([*blocks, DISCLAIMER])


def to_be_known(one: EvaluatedSet) -> list[str]:
    """What a reader must know before the figures of one set, in sentences."""
    return [*_use(one), *_seen(one), *_guard(one), *_calibration(one), *_left_out(one)]


def _use(one: EvaluatedSet) -> Iterator[str]:
    for model, use in one.uses.items():
        yield f"{model}: {use.sentence}"


def _seen(one: EvaluatedSet) -> Iterator[str]:
    total = len(one.images.records)
    for model, counts in one.seen.items():
        if counts is None:
            yield f"{model}: an older bundle does not say which images trained it; whether it has seen these is not known."
        elif counts:
            words = " and ".join(f"{number} of its {split} images" for split, number in sorted(counts.items()))
            yield f"{model}: {sum(counts.values())} of these {total} images are {words}: its figures here are too good."


def _guard(one: EvaluatedSet) -> Iterator[str]:
    for cell in one.comparison.cells:
        share = cell.unlike_training
        if share is None:
            yield f"{cell.backbone}: has no guard, so whether these images are like its training images is not known."
        elif share.value is not None and share.value > 0.05:
            yield f"{cell.backbone}: its guard calls {percent(share.value, 0)}% of the images unlike its training images."


def _calibration(one: EvaluatedSet) -> Iterator[str]:
    for cell in one.comparison.cells:
        slope, low, high = cell.calibration_slope.value, cell.calibration_slope.low, cell.calibration_slope.high
        if slope is None or low is None or high is None or low <= 1 <= high:
            continue
        if high <= 0 or low <= 0:
            yield f"{cell.backbone}: its scores do not order these images, so no scaling makes them probabilities here."
        else:
            how = "too extreme" if slope < 1 else "not extreme enough"
            yield f"{cell.backbone}: its probabilities are {how} here (slope {number(slope, 2)}); see wsus calibrate."


def _left_out(one: EvaluatedSet) -> Iterator[str]:
    if one.left_out:
        names = ", ".join(dict.fromkeys(item["image_id"] for item in one.left_out[:5]))
        yield f"{len(one.left_out)} images could not be scored and are left out ({names}); a table below says why."


def _write_all(folder: Path, evaluation: Evaluation, examples: Examples) -> None:
    evaluation.predictions.to_parquet(folder / PREDICTIONS, index=False)
    without_lists(evaluation.predictions).to_csv(folder / "predictions.csv", index=False)
    text = json.dumps(_plain(evaluation.to_json()), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    tables = [table for one in evaluation.sets for table in tables_of(one)]
    drawings = [drawing for one in evaluation.sets for drawing in _drawings(evaluation, one, examples)]
    for table in tables:
        for ending, content in (("csv", table.to_csv()), ("md", table.to_markdown()), ("tex", table.to_latex())):
            (folder / "tables" / f"{table.slug}.{ending}").write_text(content, encoding="utf-8")
    for drawing in drawings:
        (folder / "figures" / f"{drawing.slug}.svg").write_bytes(drawing.svg)
        (folder / "figures" / f"{drawing.slug}.png").write_bytes(drawing.png)
    (folder / "summary.txt").write_text(summary(evaluation) + "\n", encoding="utf-8")
    (folder / REPORT).write_text(_page(evaluation, tables, drawings), encoding="utf-8")


def _page(evaluation: Evaluation, tables: Sequence[Table], drawings: Sequence[Drawing]) -> str:
    return render_page(
        "evaluation.html.j2",
        evaluation=evaluation,
        facts=_facts(evaluation),
        known={one.images.name: to_be_known(one) for one in evaluation.sets},
        tables={table.slug: Markup(table.to_html()) for table in tables},
        drawings={drawing.slug: drawing for drawing in drawings},
        provenance=_provenance(evaluation),
    )


def _facts(evaluation: Evaluation) -> list[dict[str, str]]:
    """The evaluation in a few figures: {"name", "figure", "detail"}."""
    facts = []
    for one in evaluation.sets:
        images = one.images
        detail = f"{images.n_patients:,} patients, {images.count(1):,} malignant"
        facts.append({"name": images.name, "figure": f"{len(images.records):,}", "detail": f"images; {detail}"})
        facts += [
            {
                "name": f"AUC, {cell.backbone}",
                "figure": number(cell.auc.value),
                "detail": f"{images.name}; 95% CI {with_interval(cell.auc).partition(' ')[2].strip('()')}; sensitivity "
                f"{percent_with_interval(cell.sensitivity, digits=0)}%, specificity "
                f"{percent_with_interval(cell.specificity, digits=0)}%",
            }
            for cell in one.comparison.cells
        ]
    return facts


def _drawings(evaluation: Evaluation, one: EvaluatedSet, examples: Examples) -> Iterator[Drawing]:
    comparison = one.comparison
    rows = evaluation.predictions[evaluation.predictions["set"] == one.images.name]
    chosen = chosen_predictions(rows.assign(backbone=rows["model"]), comparison)
    drawings = [
        roc_drawing(comparison, chosen, SPLIT),
        calibration_drawing(comparison, SPLIT),
        decision_drawing(comparison, SPLIT),
        box_accuracy_drawing(comparison, SPLIT),
        forest_drawing(comparison, SPLIT),
        *(_gallery(model.label, examples.get((one.images.name, model.label), ())) for model in evaluation.models),
    ]
    for drawing in drawings:
        if drawing is not None:
            slug = drawing.slug.removesuffix(f"_{SPLIT}")
            caption = set_words(drawing.caption, one)
            yield replace(drawing, slug=f"{one.images.name}_{slug}", title=set_words(drawing.title, one), caption=caption)


def _gallery(model: str, examples: Sequence[ScoredImage]) -> Drawing | None:
    names = GalleryItem.__dataclass_fields__
    items = tuple(GalleryItem(**{name: getattr(example, name) for name in names}) for example in examples)
    return gallery_drawing(CellArtefacts(backbone=model, mode="weak", info={}, history=pd.DataFrame(), gallery=items))


def _provenance(evaluation: Evaluation) -> list[tuple[str, str]]:
    rows = [("Evaluated", evaluation.created)]
    for model in evaluation.models:
        trained = ", ".join(
            f"{name} {value}" for name in ("study", "manifest_digest", "seed") if (value := model.training.get(name))
        )
        rows.append(
            (
                f"Model {model.label}",
                f"{model.model_id}, {model.backbone}, {mode_name(model.mode)}, operating point {model.operating_point:g}, run by "
                f"{model.engine}; {model.site or 'not calibrated for a site'}; trained: {trained or 'not stated'}",
            )
        )
    for one in evaluation.sets:
        rows.append((f"Set {one.images.name}", f"{one.images.address}, digest {one.images.digest}"))
    settings = ", ".join(f"{name} {value}" for name, value in evaluation.sets[0].comparison.settings.items())
    versions = ", ".join(f"{name} {number}" for name, number in evaluation.versions.items())
    return [*rows, ("Statistics", settings), ("Versions", versions)]


def _plain(value: Any) -> Any:
    """Finite numbers, null where one is not."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
