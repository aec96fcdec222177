"""Help that names what is registered: looked up when the help is shown, since the registries load more than a command may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand


class HelpFromRegistries(TyperCommand):
    """A command in whose help `<recipes>`, `<data sets>` ... stand for the names that are registered."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # of the click that Typer brings, whichever it is
        self.help = filled(self.help or "")
        for parameter in self.params:
            if isinstance(text := getattr(parameter, "help", None), str):
                parameter.help = filled(text)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def filled(text: str) -> str:
    """A help text with names in place of its placeholders."""
    for placeholder, words in _PLACEHOLDERS.items():
        if placeholder in text:
            text = text.replace(placeholder, words())
    return text


def _recipes() -> str:
    from tune_jobs.recipes import RECIPES

    return ", ".join(RECIPES)


def _recipe_list() -> str:
    from tune_jobs.recipes import RECIPES

    return "\n\n".join(f"[bold]{recipe.name}[/bold]: {recipe.summary}" for recipe in RECIPES.values())


def _data_sets() -> str:
    from wsus.data.sources import SOURCES

    named = [f"{source.name}={source.takes}" for source in SOURCES.values()]
    return ", ".join([*named, "images=PATH and external=PATH (recipe own)"])


def _data_kinds() -> str:
    from wsus.data.sources import SOURCES

    return ", ".join(SOURCES)


def _backbones() -> str:
    from wsus.nets.backbones import TIMM_PREFIX, backbone_names

    return ", ".join([*backbone_names(), f"{TIMM_PREFIX}NAME"])


def _modes() -> str:
    from wsus.types import Mode

    return ", ".join(mode.value for mode in Mode)


_PLACEHOLDERS: dict[str, Callable[[], str]] = {
    "<recipes>": _recipes,
    "<recipe list>": _recipe_list,
    "<data sets>": _data_sets,
    "<data kinds>": _data_kinds,
    "<backbones>": _backbones,
    "<modes>": _modes,
}
