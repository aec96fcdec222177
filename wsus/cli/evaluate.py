"""The commands that judge a published model on labelled images, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    typer.Option("--data", metavar="[KIND=]PATH", help="Labelled images: bus-bra=DIR, class-folders=DIR, manifest=CSV ..."),
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
    from wsus.evaluating.evaluate import EvaluationConfig
    from wsus.evaluating.evaluate import evaluate as evaluate_models
    from wsus.evaluating.models import asked_models
    from wsus.evaluating.report import REPORT, check_place, summary, write_evaluation
    from wsus.evaluating.sets import read_sets

    check_place(out)
    config = EvaluationConfig(
        prevalence=prevalence,
        comparison=ComparisonConfig(bootstrap=bootstrap, margin=margin),
        device=device,
        engine=engine,  # type: ignore[arg-type]
    )
    with asked_models(models) as asked:
        sets = read_sets(data)
        evaluation, examples = evaluate_models(asked, sets, config, say=lambda line: typer.echo(line, err=True))
    write_evaluation(out, evaluation, examples)
    typer.echo(f"{summary(evaluation)}\n\nreport  {out / REPORT}")
