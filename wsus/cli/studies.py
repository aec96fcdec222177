"""The commands of `wsus studies`; composes lazily."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from wsus.cli.options import AsJson, Out, existing_store
from wsus.errors import ConfigError

studies_app = typer.Typer(no_args_is_help=True, help="The studies of a store: list, show, compare settings, remove.")


@studies_app.command("list")
def studies_list(out: Out = "store", as_json: AsJson = False) -> None:
    """List the studies of a store with their state, cells and model."""
    from tune_jobs.studies import list_studies

    found = list_studies(existing_store(out))
    if as_json:
        typer.echo(json.dumps([asdict(item) for item in found], indent=1))
        return
    for item in found:
        cells = f"{len(item.cells)}/{item.planned} cells"
        typer.echo(f"{item.name}  {item.recipe}  {item.created}  {item.state}  {cells}  {item.model or ''}".rstrip())
        for line in item.half_trained:
            typer.echo(f"  half-trained by an earlier version, the next run of the study trains it on: {line}")
        if item.half_trained and item.model:
            typer.echo(f"  its model {item.model} was published when they were; the next run publishes another")


@studies_app.command("show")
def studies_show(name: str, out: Out = "store") -> None:
    """Show a study's settings, versions, cells and failures as JSON."""
    from tune_jobs.studies import read_study, summarise

    store = existing_store(out)
    typer.echo(json.dumps({**read_study(store, name), "summary": asdict(summarise(store, name))}, indent=1))


@studies_app.command("diff")
def studies_diff(one: str, other: str, out: Out = "store") -> None:
    """Show where two studies differ: settings, images, versions. Exit status 1 where they do."""
    from tune_jobs.studies import diff_studies

    lines = diff_studies(existing_store(out), one, other)
    typer.echo("\n".join(lines) if lines else "no difference")
    if lines:
        raise typer.Exit(1)


@studies_app.command("compare")
def studies_compare(one: str, other: str, out: Out = "store", as_csv: Annotated[bool, typer.Option("--csv")] = False) -> None:
    """Compare the results of two studies cell by cell, paired on the images that both scored."""
    from tune_jobs.against import studies_against
    from wsus.disclaimer import DISCLAIMER

    table = studies_against(existing_store(out), one, other)
    typer.echo(table.to_csv() if as_csv else f"{table.to_text()}\n\n{DISCLAIMER}")


@studies_app.command("mlflow")
def studies_mlflow(
    name: str,
    uri: Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="The MLflow server, as http://127.0.0.1:5000.")],
    out: Out = "store",
) -> None:
    """Copy a study to an MLflow server: a run per trial with settings and epochs, the report, the published version.

    Needs the extra: pip install 'wsus[mlflow]'. Called again it adds what is new.
    """
    from tune_jobs.mlflow_export import export_study

    done = export_study(existing_store(out), name, uri)
    model = f", model {done.model}" if done.model else ""
    typer.echo(f"{done.new} runs written, {done.kept} were there already{model}; {uri}")


@studies_app.command("results")
def studies_results(
    name: str,
    page: Annotated[Path, typer.Option(metavar="MD", help="The page; its figures go into a folder of its name beside it.")],
    out: Out = "store",
    command: Annotated[str, typer.Option(help="The line that repeats the study, as the page shall name it.")] = "",
    notes: Annotated[Path | None, typer.Option(metavar="MD", help="Markdown to add: what was tried, what differs.")] = None,
) -> None:
    """Write a compared study's tables and curves as one Markdown page without any patient's image."""
    from tune_jobs.results_page import write_results_page

    added = notes.read_text(encoding="utf-8") if notes is not None and notes.is_file() else ""
    if notes is not None and not added:
        raise ConfigError(f"--notes {notes}: no such file, or nothing in it; name a Markdown file, or leave it out")
    typer.echo(str(write_results_page(existing_store(out), name, page, command=command, notes=added)))


@studies_app.command("rm")
def studies_rm(name: str, out: Out = "store", yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove a study: cells, checkpoints, comparison. Published models stay; a study that runs is refused."""
    from tune_jobs.keys import STUDIES, study_key
    from tune_jobs.studies import remove_study, summarise
    from wsus.errors import WsusError

    store = existing_store(out)
    try:
        model = summarise(store, name).model
    except WsusError:
        model = None
        if name not in store.children(STUDIES):
            raise
    if not yes and not typer.confirm(f"remove {store.url(study_key(name))} and all its checkpoints?"):
        raise ConfigError("nothing was removed")
    count = remove_study(store, name)
    typer.echo(f"{count} objects removed" + (f"; the published model {model} stays" if model else ""))


@studies_app.command("clean")
def studies_clean(
    out: Out = "store",
    older_than_h: Annotated[float, typer.Option(min=0, help="Leave younger pieces: they may be in progress.")] = 24.0,
    shards: Annotated[
        bool, typer.Option("--shards", help="Also remove the decoded images that studies stream; they are rebuilt when needed.")
    ] = False,
) -> None:
    """Remove what interrupted writers left behind: unfinished multipart uploads, half-written files."""
    from tune_jobs.studies import remove_shards

    store = existing_store(out)
    typer.echo(f"{store.clean(older_than_s=3600 * older_than_h)} pieces removed")
    if shards:
        typer.echo(f"{remove_shards(store)} objects of decoded images removed")
