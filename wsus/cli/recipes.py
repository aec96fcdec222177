"""The commands of `wsus recipes`: the ready studies, and their settings as a file."""

from __future__ import annotations

from typing import Annotated

import typer

from wsus.cli.options import DataPaths, pairs
from wsus.cli.registries import HelpFromRegistries

recipes_app = typer.Typer(no_args_is_help=True, help="The ready studies: list them, print their settings as a file.")


@recipes_app.command("list")
def recipes_list() -> None:
    """List the recipes."""
    from tune_jobs.recipes import RECIPES

    for recipe in RECIPES.values():
        typer.echo(f"{recipe.name}  {recipe.summary}")


@recipes_app.command("show", cls=HelpFromRegistries)
def recipes_show(recipe: Annotated[str, typer.Argument(help="One of: <recipes>.")], data: DataPaths = None) -> None:
    """Print a recipe's settings as a YAML file, for `wsus run --config`.

    wsus recipes show own --data images=OUR_IMAGES > study.yaml
    """
    from tune_jobs.study_file import study_file

    typer.echo(study_file(recipe, pairs(data, "--data")), nl=False)
