"""The commands of `wsus cluster`; composes lazily."""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from wsus.cli.options import AsJson
from wsus.errors import ConfigError, StoreError, WsusError

cluster_app = typer.Typer(no_args_is_help=True, help="Ray clusters: start, join, check, submit to them, stop.")
RayAddress = Annotated[str, typer.Option(help="The cluster; 'auto' finds the one of this machine.")]
Host = Annotated[str, typer.Option(help="The address to listen on; this machine only by default.")]
JobsAddress = Annotated[str, typer.Option(help="Of the cluster's Jobs API.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="As `wsus cluster jobs` lists it.")]
JOBS_API = "http://127.0.0.1:8265"
Cpus = Annotated[int | None, typer.Option(min=0, help="Processor cores to offer; all by default.")]


@cluster_app.command("start")
def cluster_start(
    head: Annotated[bool, typer.Option("--head", help="Start a new cluster here.")] = False,
    join: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Join the cluster of this head.")] = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the head.")] = 6379,
    dashboard_port: Annotated[int, typer.Option(help="Port of the dashboard and the Jobs API.")] = 8265,
    cpus: Cpus = None,
) -> None:
    """Start a Ray node in the background: a head, or one that joins. Ray's token protects all of them."""
    from cluster import local

    if head == (join is not None):
        raise ConfigError("say --head, or --join HOST:PORT")
    if join is not None:
        node = local.join(join, host=host, num_cpus=cpus)
        typer.echo(f"joined {node.address} (process {node.pid}); `wsus cluster stop` ends it")
        return
    node = local.start_head(host=host, port=port, dashboard_port=dashboard_port, num_cpus=cpus)
    typer.echo(f"head    {node.address} (process {node.pid}); others: wsus cluster start --join {node.address}")
    typer.echo(f"jobs    {node.dashboard}; the token lies in ~/.ray/auth_token")


@cluster_app.command("stop")
def cluster_stop() -> None:
    """Stop the node that `wsus cluster start` started here, and nothing else."""
    from cluster import local

    node = local.stop()
    typer.echo(f"{node.role} {node.address} stopped" if node else "nothing that was started here runs")


@cluster_app.command("status")
def cluster_status(ray_address: RayAddress = "auto") -> None:
    """List the nodes of a running Ray cluster and what they offer."""
    from cluster.state import cluster_nodes

    with _connected(ray_address):
        for node in cluster_nodes():
            offers = ", ".join(f"{node.resources.get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
            typer.echo(f"{node.address}  {'alive' if node.alive else 'dead'}  {offers}")


@cluster_app.command("check")
def cluster_check(
    ray_address: RayAddress = "auto",
    out: Annotated[
        str | None, typer.Option("--out", "--store", metavar="STORE", help="A store to write to and read from on every node.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file or folder that every node must hold alike, or reach in S3.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False,
) -> None:
    """Check every node: versions, devices, room, clocks, store, data, open ports. Exit status 2 where something is wrong."""
    from cluster.check import check_cluster
    from wsus.storage import open_store

    if data is not None:
        from wsus.data.remote import is_remote, with_settings

        data = with_settings(data) if is_remote(data) else str(Path(data).resolve())
    store = _store_probe(open_store(out).locator) if out else None
    with _connected(ray_address):
        found = check_cluster(store=store, data=_data_probe(data) if data else None)
    typer.echo(json.dumps([asdict(item) for item in found], indent=1) if as_json else "\n".join(map(str, found)))
    if any(item.level == "error" for item in found):
        raise typer.Exit(WsusError.exit_status)


@cluster_app.command("submit", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def cluster_submit(
    arguments: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="As after `wsus`: run --recipe quick --out s3://...")
    ],
    address: JobsAddress = JOBS_API,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable for the job; may be repeated.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not follow its log.")] = False,
) -> None:
    """Run a wsus command on a cluster, follow its log, and end with its exit status.

    wsus cluster submit run --recipe quick --out s3://bucket/prefix
    """
    from cluster.check import own_environment
    from cluster.jobs import submit

    variables = own_environment()
    for text in env or []:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigError(f"--env takes NAME=VALUE; got {text!r}")
        variables[name] = value

    _, status = submit(address, arguments, environment=variables, write=_write, wait=not no_wait)
    if status:
        raise typer.Exit(status)


@cluster_app.command("jobs")
def cluster_jobs(address: JobsAddress = JOBS_API, as_json: AsJson = False) -> None:
    """List the jobs that were submitted to a cluster, the newest first."""
    from cluster.jobs import jobs

    found = jobs(address)
    typer.echo(json.dumps([asdict(job) for job in found], indent=1) if as_json else "\n".join(map(str, found)) or "no jobs")


@cluster_app.command("logs")
def cluster_logs(job: JobId, address: JobsAddress = JOBS_API) -> None:
    """Print what a job has written so far; `wsus cluster attach` follows it."""
    from cluster.jobs import log_of

    _write(log_of(address, job))


@cluster_app.command("attach")
def cluster_attach(job: JobId, address: JobsAddress = JOBS_API) -> None:
    """Follow a job's log from its beginning, and end with its exit status; Ctrl-C lets it go on."""
    from cluster.jobs import attach

    if status := attach(address, job, _write):
        raise typer.Exit(status)


@cluster_app.command("cancel")
def cluster_cancel(job: JobId, address: JobsAddress = JOBS_API) -> None:
    """Stop a job; a study keeps what its trials have saved, and goes on when it is submitted again."""
    from cluster.jobs import cancel

    typer.echo(str(cancel(address, job)))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def _connected(ray_address: str) -> Iterator[None]:
    from cluster.session import ray_session

    with ray_session(ray_address, any_version=True):
        yield


def _store_probe(locator: str) -> Callable[[], str]:
    """Asked on every node: write an object, read it back, delete it."""

    def probe() -> str:
        from wsus.storage import open_store

        store, key, content = open_store(locator), f".wsus-probe-{secrets.token_hex(8)}", secrets.token_bytes(64)
        store.write_bytes(key, content)
        if store.read_bytes(key) != content:
            raise StoreError(f"{store.url(key)}: what was read is not what was written")
        store.delete(key)
        return "written and read"

    return probe


def _data_probe(path: str) -> Callable[[], str]:
    """Asked on every node: the digest of a file, of the names and sizes below a folder, or of a listing in S3."""

    def probe() -> str:
        from wsus.data.remote import is_remote, snapshot_of

        if is_remote(path):
            return snapshot_of(path)
        place = Path(path)
        if place.is_file():
            return hashlib.sha256(place.read_bytes()).hexdigest()
        if not place.is_dir():
            raise FileNotFoundError(f"{path}: no such file or folder on this node")
        files = sorted(file for file in place.rglob("*") if file.is_file())
        listed = "\n".join(f"{file.relative_to(place)} {file.stat().st_size}" for file in files)
        return hashlib.sha256(listed.encode()).hexdigest()

    return probe
