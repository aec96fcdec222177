"""The commands of `wsus models`: published versions, their aliases, canaries and shadows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wsus.cli.options import Out

if TYPE_CHECKING:
    from wsus.models.registry import Rollout

models_app = typer.Typer(no_args_is_help=True, help="Published models and their aliases.")


@models_app.command("list")
def models_list(out: Out = "store") -> None:
    """List the published models of a store."""
    from wsus.models.registry import list_models
    from wsus.storage import open_store

    for model in list_models(open_store(out)):
        typer.echo(f"{model.name}  {model.version}  {', '.join(model.aliases)}".rstrip())


@models_app.command("promote")
def models_promote(
    name: str, version: int, out: Out = "store", alias: Annotated[str, typer.Option(help="The alias to move.")] = "production"
) -> None:
    """Point an alias at another version."""
    from wsus.models.card import CARD
    from wsus.models.gate import GateNote
    from wsus.models.registry import bundle_key, promote_model
    from wsus.storage import open_store

    store = open_store(out)
    model = promote_model(store, name, version, alias=alias)
    typer.echo(f"{model.name}  {model.version}  {', '.join(model.aliases)}")
    gate = store.read_json(f"{bundle_key(name, version)}/{CARD}").get("gate")
    if gate is not None and not gate["passed"]:
        typer.echo(f"note: it did not pass the gate when it was published: {GateNote.from_json(gate).why_not}")


@models_app.command("canary")
def models_canary(
    name: str,
    version: Annotated[int | None, typer.Argument(help="The version; leave it out to end the trial.")] = None,
    share: Annotated[float, typer.Option(help="Share of the requests that it answers, e.g. 0.1.")] = 0.1,
    out: Out = "store",
    alias: Annotated[str, typer.Option(help="The alias whose requests it gets.")] = "production",
) -> None:
    """Let another version answer a share of an alias's requests."""
    from wsus.models.registry import set_canary
    from wsus.storage import open_store

    typer.echo(_rollout_line(set_canary(open_store(out), name, version, share=share, alias=alias)))


@models_app.command("shadow")
def models_shadow(
    name: str,
    version: Annotated[int | None, typer.Argument(help="The version; leave it out to end the trial.")] = None,
    out: Out = "store",
    alias: Annotated[str, typer.Option(help="The alias whose requests it gets.")] = "production",
) -> None:
    """Let another version see an alias's requests without answering them; only metrics show what it said."""
    from wsus.models.registry import set_shadow
    from wsus.storage import open_store

    typer.echo(_rollout_line(set_shadow(open_store(out), name, version, alias=alias)))


def _rollout_line(rollout: Rollout) -> str:
    canary = f"  canary {rollout.canary} ({rollout.canary_share:.0%})" if rollout.canary is not None else ""
    shadow = f"  shadow {rollout.shadow}" if rollout.shadow is not None else ""
    return f"{rollout.name}  {rollout.primary}{canary}{shadow}"
