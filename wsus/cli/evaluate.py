"""The commands that judge a published model on labelled images, without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wsus.cli.options import AsJson, Columns, ImagesRoot, LabelWords, Patients, own_images
from wsus.disclaimer import DISCLAIMER
from wsus.errors import ConfigError

Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        metavar="[NAME[@VERSION]=]STORE_OR_BUNDLE",
        help="A bundle's folder, a store with one model, or NAME=STORE, NAME@3=STORE, NAME@canary=STORE; several allowed.",
    ),
]
Labelled = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="[KIND=]PATH", help="Labelled images: a folder, a table, or bus-bra=DIR, manifest=CSV ..."),
]


def evaluate(
    models: Models,
    data: Labelled = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where report and predictions go.")] = Path("evaluation"),
    prevalence: Annotated[float | None, typer.Option(help="Share of cancers where the model would be used, as 0.02.")] = None,
    bootstrap: Annotated[int, typer.Option(help="Draws of patients; 0 leaves them out.")] = 2000,
    margin: Annotated[float, typer.Option(help="Of non-inferiority between models, on AUC.")] = 0.05,
    engine: Annotated[str, typer.Option(help="What runs the network: auto, torch or onnx.")] = "auto",
    device: Annotated[str, typer.Option(help="As torch names it: cpu, cuda, mps.")] = "cpu",
    site: Annotated[str | None, typer.Option(help="Scale and cut by this site's profile, see `wsus calibrate`.")] = None,
    columns: Columns = None,
    labels: LabelWords = None,
    images: ImagesRoot = None,
    patients: Patients = "auto",
) -> None:
    """Judge published models on labelled images: nothing is trained.

    wsus evaluate --model store --data class-folders=OUR_IMAGES --out evaluation\n
    wsus evaluate --model open@1=STORE --model open@2=STORE --data busi=DIR --data manifest=TABLE.csv --prevalence 0.05

    Leaves DIR/report.html, predictions.parquet and predictions.csv, evaluation.json, tables and figures. That these images were
    used with this model is noted in the model's store, so that a report can say which use was the first.
    """
    if not data:
        raise ConfigError("evaluate needs --data KIND=PATH: labelled images that the model was not trained on")
    from wsus.comparison.compare import ComparisonConfig
    from wsus.models.asked import asked_models
    from wsus.validation.evaluate import EvaluationConfig
    from wsus.validation.evaluate import evaluate as evaluate_models
    from wsus.validation.report import REPORT, check_place, summary, write_evaluation
    from wsus.validation.sets import read_sets

    check_place(out)
    config = EvaluationConfig(
        prevalence=prevalence,
        comparison=ComparisonConfig(bootstrap=bootstrap, margin=margin, prevalence=prevalence),
        device=device,
        engine=engine,  # type: ignore[arg-type]
        site=site,
    )
    with asked_models(models) as asked:
        sets = read_sets(data, own_images(columns, labels, images, patients))
        evaluation, examples = evaluate_models(asked, sets, config, say=lambda line: typer.echo(line, err=True))
    write_evaluation(out, evaluation, examples)
    typer.echo(f"{summary(evaluation)}\n\nreport  {out / REPORT}")


def calibrate(
    model: Annotated[str, typer.Option(metavar="[NAME[@VERSION]=]STORE_OR_BUNDLE", help="One model, as for `wsus evaluate`.")],
    site: Annotated[str, typer.Option("--for", metavar="SITE", help="The site's name: lower-case letters, digits, hyphens.")],
    data: Labelled = None,
    method: Annotated[
        str | None, typer.Option(help="temperature, platt or isotonic; by the number of images where none.")
    ] = None,
    operating_point: Annotated[
        str, typer.Option(metavar="RULE", help="sensitivity:0.95, youden, cost:9 (false alarms per missed cancer) or keep.")
    ] = "sensitivity:0.95",
    prevalence: Annotated[float | None, typer.Option(help="Share of cancers at the site; that of the images by default.")] = None,
    not_sure: Annotated[
        float | None, typer.Option("--not-sure", metavar="ERROR", help="Answer 'not sure' beyond this error per class, as 0.1.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Of the cross-fitting, over patients.")] = 10,
    engine: Annotated[str, typer.Option(help="What runs the network: auto, torch or onnx.")] = "auto",
    device: Annotated[str, typer.Option(help="As torch names it: cpu, cuda, mps.")] = "cpu",
    columns: Columns = None,
    labels: LabelWords = None,
    images: ImagesRoot = None,
    patients: Patients = "auto",
) -> None:
    """Fit a site's profile: make POM a probability there, and choose its operating point. The model is not changed.

    wsus calibrate --model store --data class-folders=OUR_IMAGES --for our-hospital\n
    wsus predict scan.png --store store --site our-hospital

    The labelled images must not be those that trained the model, which its digests tell.
    """
    if not data or len(data) != 1:
        raise ConfigError(f"calibrate needs one --data KIND=PATH: labelled images of {site}; got {len(data or [])}")
    from wsus.inference.predict import Predictor
    from wsus.models.asked import asked_model
    from wsus.models.sites import check_site, write_profile
    from wsus.validation.calibrate import CalibrationConfig, check_unseen, fit_profile, profile_lines
    from wsus.validation.evaluate import score_set
    from wsus.validation.first_use import record_use
    from wsus.validation.sets import read_sets

    check_site(site)
    config = CalibrationConfig(
        method=method,  # type: ignore[arg-type]
        rule=operating_point,
        prevalence=prevalence,
        not_sure=not_sure,
        folds=folds,
    )
    with asked_model(model) as asked:
        (labelled,) = read_sets(data, own_images(columns, labels, images, patients))
        if not check_unseen(asked, labelled):
            typer.echo(
                "warning: an older bundle does not say which images trained it; make sure that none of these did", err=True
            )
        predictor = Predictor(asked.bundle, device=device, engine=engine)  # type: ignore[arg-type]
        scored = score_set(predictor, labelled, asked, say=lambda line: typer.echo(line, err=True))
        for item in scored.left_out:
            typer.echo(f"left out: {item['image_id']}: {item['reason']}", err=True)
        profile = fit_profile(site, asked, labelled, scored.table, config)
        record_use(asked, labelled, "calibrate")
        address = write_profile(profile, asked.where)
    typer.echo("\n".join([*profile_lines(profile), f"profile  {address}"]))


def shortcuts(
    model: Annotated[str, typer.Option(metavar="[NAME[@VERSION]=]STORE_OR_BUNDLE", help="One model, as for `wsus evaluate`.")],
    data: Annotated[str, typer.Option(metavar="[KIND=]PATH", help="Labelled images with masks, as for `wsus evaluate`.")],
    as_json: AsJson = False,
    engine: Annotated[str, typer.Option(help="What runs the network: auto, torch or onnx.")] = "auto",
    columns: Columns = None,
    labels: LabelWords = None,
    images: ImagesRoot = None,
    patients: Patients = "auto",
) -> None:
    """Does a weak model look at the lesion? Where its map lies, and what it says without the lesion, or without calipers.

    wsus shortcuts --model store --data busi=DIR

    Masks tell where the lesion is; the model never sees them. Four passes over each image.
    """
    from wsus.inference.predict import Predictor
    from wsus.models.asked import asked_model
    from wsus.validation.sets import read_sets
    from wsus.validation.shortcuts import audit_shortcuts

    with asked_model(model) as asked:
        (labelled,) = read_sets([data], own_images(columns, labels, images, patients))
        predictor = Predictor(asked.bundle, engine=engine)  # type: ignore[arg-type]
        audit = audit_shortcuts(predictor, labelled.records, lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(audit.to_json(), indent=1) if as_json else "\n".join([*audit.lines(), "", DISCLAIMER]))
