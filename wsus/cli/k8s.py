"""The commands of `wsus` that print Kubernetes manifests; composes lazily."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsus.cli.options import pairs
from wsus.cli.registries import HelpFromRegistries

k8s_app = typer.Typer(no_args_is_help=True, help="Manifests for Kubernetes; see docs/operations.md.")
render_app = typer.Typer(no_args_is_help=True, help="Print a manifest, checked.")
k8s_app.add_typer(render_app, name="render")


@render_app.callback()
def _render() -> None:
    """Print a manifest, checked."""


@render_app.command("study", cls=HelpFromRegistries)
def render_study_job(
    store: Annotated[str, typer.Option("--store", "--out", metavar="S3", envvar="WSUS_STORE", help="s3://bucket/prefix.")],
    recipe: Annotated[str, typer.Option(help="One of: <recipes>.")] = "open",
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="KIND=PATH", help="A path below /data, as pods see it; or s3://bucket/prefix."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The study's name in the store; the recipe's by default.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="Workers with one GPU each; the maximum where they autoscale.")] = 0,
    overlay: Annotated[str | None, typer.Option(help="cpu, gpu, gpu-autoscale ...; gpu where GPUs are named, else cpu.")] = None,
    image: Annotated[str | None, typer.Option(help="The image, instead of the overlay's.")] = None,
    job_name: Annotated[str | None, typer.Option(help="The RayJob's name; wsus-STUDY by default.")] = None,
    manifests: Annotated[Path, typer.Option(metavar="DIR", help="The folder k8s of the repository, or a copy.")] = Path("k8s"),
) -> None:
    """Print the RayJob of a study; nothing is applied.

    wsus k8s render study --recipe open --gpus 4 --store s3://bucket/prefix > study.yaml
    """
    import yaml

    from cluster.manifests.rayjob import StudyJob, render_study
    from tune_jobs.recipes import make_config
    from tune_jobs.study_file import with_words

    paths = pairs(data, "--data") or _below_data(recipe)
    changes = pairs(settings, "--set")
    config = with_words(make_config(recipe, paths, name=name), changes)
    job = StudyJob(
        name=job_name or f"wsus-{config.name}",
        recipe=recipe,
        study=config.name,
        store=store,
        gpus=gpus,
        data=paths,
        settings=changes,
        image=image,
    )
    document = render_study(job, overlay or ("gpu" if gpus else "cpu"), manifests)
    typer.echo(yaml.safe_dump(document, sort_keys=False, width=160), nl=False)


def _below_data(recipe: str) -> dict[str, str]:
    """What a recipe needs, where pods see it by default."""
    from tune_jobs.recipes import RECIPES

    return {kind: f"/data/{kind}" for kind in RECIPES[recipe].data} if recipe in RECIPES else {}
