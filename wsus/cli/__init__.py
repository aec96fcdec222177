"""The `wsus` command: one module for each group of commands. They alone compose the rooms, inside functions."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from wsus.cli import cluster, data, evaluate, k8s, models, predict, recipes, score, serving, stats, studies, study
from wsus.cli.registries import HelpFromRegistries
from wsus.disclaimer import DISCLAIMER
from wsus.errors import WsusError


class _Interrupted(Exception):  # noqa: N818  no error
    """A KeyboardInterrupt on its way to `main`: Typer would end on one without a word."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise _Interrupted(str(stop)) from stop


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=f"Weakly-supervised breast-ultrasound diagnosis: train studies, compare them, publish and try models.\n\n{DISCLAIMER}",
)
app.command(cls=HelpFromRegistries, help=f"Train, compare and publish: study + compare + publish.\n{study.STUDY_HELP}")(study.run)
app.command(
    cls=HelpFromRegistries, help=f"Train a study's cells (backbone x supervision mode) with Ray Tune.\n{study.STUDY_HELP}"
)(study.study)
app.command()(study.compare)
app.command()(study.publish)
app.command()(predict.predict)
app.command()(score.score)
app.command()(evaluate.evaluate)
app.command()(evaluate.calibrate)
app.command()(evaluate.shortcuts)
app.command()(serving.serve)
app.command()(stats.stats)
app.add_typer(data.data_app, name="data")
app.add_typer(recipes.recipes_app, name="recipes")
app.add_typer(models.models_app, name="models")
app.add_typer(cluster.cluster_app, name="cluster")
app.add_typer(studies.studies_app, name="studies")
app.add_typer(serving.tokens_app, name="tokens")
app.add_typer(k8s.k8s_app, name="k8s")


def main() -> None:
    """Entry point: a mistake of the user ends in one clear line and exit status 2 (3 where trials failed).

    Ctrl-C, SIGTERM and the like end in one line, too, that says what is kept, and in 128 + the signal's number.
    """
    from cluster.interrupts import owned_signals

    handler = logging.StreamHandler()
    handler.addFilter(lambda _: logging.getLogger().handlers == [handler])  # Ray, told to log as JSON, adds one of its own
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[handler])
    with owned_signals() as signals:
        try:
            app(standalone_mode=True)
        except WsusError as error:
            _say(f"error: {error}")
            sys.exit(error.exit_status)
        except (_Interrupted, KeyboardInterrupt, SystemExit) as stop:  # the last two before a command begins
            if signals.received is None:
                raise
            kept = str(stop) if isinstance(stop, _Interrupted) else ""
            _say(f"interrupted by {signals.received.name}; {kept or signals.hint()}")
            signals.leave()
        except Exception as error:
            if signals.received is None or not _comes_of_an_interrupt(error):
                raise
            _say(f"interrupted by {signals.received.name}; {signals.hint()}")
            signals.leave()


def _comes_of_an_interrupt(error: BaseException | None) -> bool:
    """Whether a library made an exception of its own of a KeyboardInterrupt, as native modules do while they are imported."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        typer.echo(line, err=True)
