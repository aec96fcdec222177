"""The commands of `wsus` that start a server and keep its tokens; composes lazily."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from wsus.cli.options import ModelName
from wsus.disclaimer import DISCLAIMER
from wsus.errors import ConfigError, ImageError, ImageReason
from wsus.types import Explain

tokens_app = typer.Typer(no_args_is_help=True, help="Bearer tokens of the server, kept hashed in a file.")
_OF_THE_IMAGE = (413, 415, 422)  # statuses that other images need not get
TokenFile = Annotated[Path, typer.Option("--file", metavar="JSON", help="The token file, for `wsus serve --tokens`.")]


def serve(
    store: Annotated[
        str | None,
        typer.Option("--store", "--out", metavar="STORE", help="A folder or s3://bucket/prefix; $WSUS_STORE by default."),
    ] = None,
    name: ModelName = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="[NAME[@ALIAS]=]STORE", help="Store, name and alias in one, as of `wsus evaluate`, in place of these."
        ),
    ] = None,
    alias: Annotated[str, typer.Option(help="The alias to serve; the server follows it when it moves.")] = "production",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    tokens: Annotated[Path | None, typer.Option(metavar="JSON", help="Hashed bearer tokens; see `wsus tokens`.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="No tokens; listens on this machine only.")] = False,
    engine: Annotated[str, typer.Option(help="auto, torch or onnx.")] = "auto",
    replicas: Annotated[int, typer.Option(min=1, help="Maximum number of predictors; scales with load.")] = 1,
    min_replicas: Annotated[int, typer.Option(min=1, help="Minimum number of predictors.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs per predictor; a fraction shares one.")] = 0.0,
    s3_prefix: Annotated[list[str] | None, typer.Option(help="Clients may name objects below s3://bucket/folder/.")] = None,
    ingresses: Annotated[int, typer.Option(min=1, help="Processes that accept requests and decode images.")] = 1,
    audit_log: Annotated[Path | None, typer.Option(metavar="JSONL", help="Who asked for what, a line for each image.")] = None,
    require_signature: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Serve only what one of these public keys signed; see `wsus models sign`.")
    ] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the file for `serve deploy` and end.")] = False,
    ray_address: Annotated[str | None, typer.Option(help="A running Ray cluster; without one, Ray starts here.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a `wsus serve` that runs on that cluster.")
    ] = False,
) -> None:
    """Serve a published weak model over HTTP, with a page for people at its address.

    wsus tokens add reader --file tokens.json\n
    wsus serve --store store --tokens tokens.json

    On this machine alone, without tokens: wsus serve --insecure

    For a cluster, where WSUS_STORE names the store: wsus serve --print-config --host 0.0.0.0 --tokens /etc/wsus/tokens.json
    """
    from serve_app.settings import settings_from

    if not insecure and tokens is None:
        raise ConfigError("give --tokens FILE (see `wsus tokens add --help`), or --insecure on this machine alone")
    if model is not None and name is None and not (Path(model).is_dir() or "=" in model or "://" in model):
        name, model = model, None  # what `--model` meant here before
    if model is not None:
        store, name, alias = _store_of(model, name, alias)
    settings = settings_from(
        {
            "store": _address(store or os.environ.get("WSUS_STORE") or "store"),
            "model": name,
            "alias": alias,
            "tokens_file": str(tokens.resolve()) if tokens else None,
            "insecure": insecure,
            "require_signature": str(require_signature.resolve()) if require_signature else None,
            "audit_log": str(audit_log.resolve()) if audit_log else None,
            "engine": engine,
            "min_replicas": min_replicas,
            "max_replicas": max(replicas, min_replicas),
            "ingress_replicas": ingresses,
            "num_gpus": gpus,
            "s3_prefixes": tuple(s3_prefix or ()),
        }
    )
    if print_config:
        from serve_app.config_file import serve_config, serve_config_yaml

        config = serve_config(settings, host=host, port=port, store=store is not None)
        typer.echo(serve_config_yaml(config), nl=False)
        return
    _check_servable(settings.store, settings.model, settings.alias)
    from serve_app.proxy import laptop_environment, proxy_folder, refuse_taken

    with ExitStack() as stack:
        for variable, value in laptop_environment(stack.enter_context(proxy_folder())).items():
            os.environ.setdefault(variable, value)
        from cluster.interrupts import allow, hint
        from cluster.session import ray_session, shared_address
        from serve_app.running import FINISH_S, running

        begun, shared = time.monotonic(), shared_address(ray_address) is not None
        if not shared:
            refuse_taken(host, port)
        typer.echo(f"starting; {DISCLAIMER}")
        stack.enter_context(ray_session(ray_address))
        allow(FINISH_S + 10)  # it may answer requests before it is said to be ready
        address = stack.enter_context(running(settings, host=host, port=port, shared=shared, replace=replace))
        typer.echo(f"{address}  ready after {time.monotonic() - begun:.0f} s; stop it with Ctrl-C")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            typer.echo("stopping: what is under way is answered, nothing new is taken")
    hint(
        "the server answered what was under way and is gone" + (", the cluster and its other applications stay" if shared else "")
    )
    raise KeyboardInterrupt


@tokens_app.command("add")
def tokens_add(
    name: Annotated[str, typer.Argument(help="Who will use it; stands in the file and nowhere else.")],
    file: TokenFile = Path("tokens.json"),
    scope: Annotated[list[str] | None, typer.Option(help="predict (default) or admin; may be repeated.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="ISO", help="As 2027-01-31T00:00:00+00:00; never by default.")] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Images a minute; the server's own limit by default.")] = None,
) -> None:
    """Make a token and print it; it is not kept and cannot be shown again."""
    from serve_app.tokens import add_token

    secret = add_token(file, name, tuple(scope or ["predict"]), expires, per_minute)
    typer.echo(secret)
    typer.echo(f"kept hashed in {file}; a running server takes it at once", err=True)


@tokens_app.command("list")
def tokens_list(file: TokenFile = Path("tokens.json")) -> None:
    """List names, scopes and expiry; the tokens themselves are not known here."""
    from serve_app.tokens import read_tokens

    for token in read_tokens(file):
        rate = f"  {token.per_minute} images a minute" if token.per_minute else ""
        typer.echo(f"{token.name}  {', '.join(token.scopes)}  {token.expires or 'never expires'}{rate}")


@tokens_app.command("remove")
def tokens_remove(name: str, file: TokenFile = Path("tokens.json")) -> None:
    """Remove a token; a running server refuses it at once."""
    from serve_app.tokens import remove_token

    remove_token(file, name)
    typer.echo(f"{name} removed from {file}")


def ask_server(
    images: list[Path],
    url: str,
    token: str | None,
    explain: Explain,
    frame: int | None = None,
    overlay_dir: Path | None = None,
    region: int | None = None,
    skip_bad: bool = False,
    site: str | None = None,
) -> list[dict[str, Any]]:
    """What `wsus predict` prints, answered by a server; all images or none, but for those that `skip_bad` lets pass.

    Raises:
        ServerError: the server refused an image or did not answer.  ImageError: there is no such file.
        StoreError: an overlay cannot be written.
    """
    from serve_app.client import CamForm, Client, ServerError, as_answer

    missing = [str(path) for path in images if not path.is_file()]
    if missing and not skip_bad:
        raise ImageError(f"{missing[0]}: no such file; check the path on the command line", ImageReason.NOT_FOUND)
    drawn = overlay_dir is not None
    cam: CamForm = "png" if drawn else "none"
    found, not_used = list[tuple[Path, dict[str, Any]]](), list[dict[str, Any]]()
    with Client(url, token=token) as client:
        for path in images:
            try:
                one = client.predict(path, explain=explain, frame=frame or 0, region=region, site=site, cam=cam, picture=drawn)
            except (ServerError, OSError) as error:
                if not skip_bad or (isinstance(error, ServerError) and error.status not in _OF_THE_IMAGE):
                    raise
                not_used.append(
                    {"image": str(path), "error": f"{path}: {error}", "reason": getattr(error, "reason", "unreadable")}
                )
            else:
                found.append((path, one))
    answers = [as_answer(path, one) for path, one in found]
    if overlay_dir is not None:
        from wsus.inference.files import overlay_names

        names = overlay_names([(path, one["image"]["frame"], one["image"]["frames"]) for path, one in found])
        for (_, one), name, answer in zip(found, names, answers, strict=True):
            answer["overlay"] = _overlay(one, overlay_dir / name)
    return [*not_used, *answers]


def _overlay(found: dict[str, Any], file: Path) -> str:
    """Drawn from what the server sent, as it is drawn here."""
    from serve_app.client import cam_array, decoded_image
    from wsus.inference.files import write_overlay

    write_overlay(file, decoded_image(found), cam_array(found), found["localisation"]["boxes_xyxy_px"])
    return str(file)


def _check_servable(address: str, model: str | None, alias: str) -> None:
    """What no predictor could load is said here, in one line, before Ray starts. Raises as `resolve_model`."""
    from wsus.models.registry import resolve_model
    from wsus.storage import open_store

    store = open_store(address)
    if not store.exists("card.json"):
        resolve_model(store, model, alias=alias)


def _store_of(text: str, name: str | None, alias: str) -> tuple[str, str | None, str]:
    """(store, name, alias) of the words of `--model`. Raises ConfigError where they name a version: an alias is followed."""
    from wsus.models.asked import parts_of

    address, asked, version = parts_of(text)
    if version is not None and version.isdigit():
        command = f"wsus models promote {asked} {version}"
        raise ConfigError(f"--model {text}: the server follows an alias, not a version; point one at it: `{command}`")
    return address, asked or name, version or alias


def _address(store: str) -> str:
    return store if "://" in store else str(Path(store).resolve())
