"""The `wsus` command: one module for each group of commands. They alone compose the rooms, inside functions."""

from __future__ import annotations

import logging
import sys

import typer

from wsus.cli import cluster, data, evaluate, k8s, models, predict, serving, stats, studies, study
from wsus.disclaimer import DISCLAIMER
from wsus.errors import WsusError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=f"Weakly-supervised breast-ultrasound diagnosis: train studies, compare them, publish and try models.\n\n{DISCLAIMER}",
)
app.command(help=f"Train, compare and publish: study + compare + publish.\n{study.STUDY_HELP}")(study.run)
app.command(help=f"Train a study's cells (backbone x supervision mode) with Ray Tune.\n{study.STUDY_HELP}")(study.study)
app.command()(study.compare)
app.command()(study.publish)
app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.command()(evaluate.calibrate)
app.command()(serving.serve)
app.command()(stats.stats)
app.add_typer(data.data_app, name="data")
app.add_typer(models.models_app, name="models")
app.add_typer(cluster.cluster_app, name="cluster")
app.add_typer(studies.studies_app, name="studies")
app.add_typer(serving.tokens_app, name="tokens")
app.add_typer(k8s.k8s_app, name="k8s")


def main() -> None:
    """Entry point: a mistake of the user ends in one clear line and exit status 2 (3 where trials failed)."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda _: logging.getLogger().handlers == [handler])  # Ray, told to log as JSON, adds one of its own
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[handler])
    try:
        app(standalone_mode=True)
    except WsusError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same line again to go on", err=True)
        sys.exit(130)
