"""The commands of `wsus models`: published versions, their aliases, canaries and shadows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsus.cli.options import Out, existing_store

if TYPE_CHECKING:
    from wsus.models.registry import Rollout

models_app = typer.Typer(no_args_is_help=True, help="Published models and their aliases.")


@models_app.command("list")
def models_list(out: Out = "store") -> None:
    """List the published models of a store."""
    from wsus.models.registry import list_models

    for model in list_models(existing_store(out)):
        typer.echo(f"{model.name}  {model.version}  {', '.join(model.aliases)}".rstrip())


@models_app.command("promote")
def models_promote(
    name: str, version: int, out: Out = "store", alias: Annotated[str, typer.Option(help="The alias to move.")] = "production"
) -> None:
    """Point an alias at another version."""
    from wsus.models.card import CARD
    from wsus.models.gate import GateNote
    from wsus.models.registry import bundle_key, promote_model

    store = existing_store(out)
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

    typer.echo(_rollout_line(set_canary(existing_store(out), name, version, share=share, alias=alias)))


@models_app.command("shadow")
def models_shadow(
    name: str,
    version: Annotated[int | None, typer.Argument(help="The version; leave it out to end the trial.")] = None,
    out: Out = "store",
    alias: Annotated[str, typer.Option(help="The alias whose requests it gets.")] = "production",
) -> None:
    """Let another version see an alias's requests without answering them; only metrics show what it said."""
    from wsus.models.registry import set_shadow

    typer.echo(_rollout_line(set_shadow(existing_store(out), name, version, alias=alias)))


@models_app.command("sign")
def models_sign(
    name: str,
    version: int,
    key: Annotated[Path, typer.Option(metavar="PEM", help="An Ed25519 private key: `openssl genpkey -algorithm ed25519`.")],
    out: Out = "store",
) -> None:
    """Sign a version, once its digests hold and each engine passes its self-test."""
    from wsus.models.registry import bundle_key, check_version
    from wsus.models.signing import read_private_key, sign_model
    from wsus.storage import open_store

    store = open_store(out)
    check_version(store, name, version)
    private = read_private_key(key)
    with store.fetched(bundle_key(name, version)) as folder:
        digest = _tested(folder)
    typer.echo(f"{name}  {version}  {digest[:12]}  signed by {sign_model(store, name, version, digest, private)}")


@models_app.command("verify")
def models_verify(
    name: str,
    version: int,
    keys: Annotated[Path | None, typer.Option(metavar="PEM", help="Public keys, one of which must have signed it.")] = None,
    out: Out = "store",
) -> None:
    """Check a version: its digests, its signature where --keys names who may sign, and the self-test of each engine."""
    from wsus.models.registry import bundle_key, check_version
    from wsus.models.signing import read_public_keys, verify_model
    from wsus.storage import SUMS, open_store
    from wsus.storage.files import digest_of

    store = open_store(out)
    check_version(store, name, version)
    trusted = None if keys is None else read_public_keys(keys)
    with store.fetched(bundle_key(name, version)) as folder:
        digest = digest_of(folder / SUMS)
        by = "not asked" if trusted is None else verify_model(store, name, version, digest, trusted)
        _tested(folder)
    typer.echo(f"{name}  {version}  {digest[:12]}  signed by: {by}")


def _tested(folder: Path) -> str:
    """A bundle's digest, once each engine that can run it here has passed. Raises BundleError."""
    from wsus.inference.self_test import every_engine
    from wsus.models.bundle import read_bundle

    bundle = read_bundle(folder)
    for engine, difference in every_engine(bundle).items():
        said = (
            "carries no images for a self-test" if difference is None else f"POM within {difference:.1g} of the one at publishing"
        )
        typer.echo(f"{engine}: {said}")
    return bundle.digest


def _rollout_line(rollout: Rollout) -> str:
    canary = f"  canary {rollout.canary} ({rollout.canary_share:.0%})" if rollout.canary is not None else ""
    shadow = f"  shadow {rollout.shadow}" if rollout.shadow is not None else ""
    return f"{rollout.name}  {rollout.primary}{canary}{shadow}"
