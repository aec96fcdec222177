"""The command that asks a published model about very many images, on Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsus.cli.options import Cpus, RayAddress
from wsus.disclaimer import DISCLAIMER


def score(
    images: Annotated[
        str, typer.Option(metavar="DIR|s3://prefix|TABLE", help="A folder, a bucket's prefix, or a table of paths.")
    ],
    out: Annotated[
        str, typer.Option(metavar="PARQUET", help="A folder of Parquet files, or s3://bucket/prefix, of predict's rows.")
    ],
    model: Annotated[
        str, typer.Option(metavar="[NAME[@VERSION]=]STORE_OR_BUNDLE", help="One model, as for `wsus evaluate`.")
    ] = "store",
    overlays: Annotated[str | None, typer.Option(metavar="DIR|s3://prefix", help="Draw the maps into this place.")] = None,
    csv: Annotated[bool, typer.Option("--csv/--no-csv", help="Write OUT with the suffix .csv beside it at the end.")] = True,
    column: Annotated[str | None, typer.Option(help="Of a table: the column that holds the paths.")] = None,
    site: Annotated[str | None, typer.Option(help="Scale and cut by this site's profile, see `wsus calibrate`.")] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Every frame of a clip that is not blank.")] = False,
    shard: Annotated[int, typer.Option(help="Files whose answers are written together.")] = 1000,
    batch_size: Annotated[int, typer.Option(help="Images per pass through the network.")] = 32,
    workers: Annotated[int, typer.Option(help="Processes that hold the network.")] = 1,
    worker_cpus: Annotated[float, typer.Option(help="CPU cores of each.")] = 1.0,
    gpus: Annotated[float, typer.Option(help="GPUs of each; a fraction shares one.")] = 0.0,
    decode_cpus: Annotated[float, typer.Option(help="CPU cores of one decoding task.")] = 1.0,
    engine: Annotated[str, typer.Option(help="What runs the network: auto, torch or onnx.")] = "auto",
    ray_address: RayAddress = None,
    cpus: Cpus = None,
) -> None:
    """Score very many images on Ray, a row each as `wsus predict` says it; a file that cannot be used is a row with a reason.

    wsus score --model store --images ARCHIVE --out scores.parquet\n
    wsus score --model open=s3://bucket/store --images s3://bucket/archive --out s3://bucket/scores --workers 4 --gpus 1

    What is written stays: the same line goes on after a crash or Ctrl-C, and loses a shard at most.
    """
    from cluster.interrupts import hint
    from cluster.session import ray_session
    from tune_jobs.score import ScoreConfig, score_images, write_csv
    from wsus.inference.bulk import find_images
    from wsus.storage import open_store

    config = ScoreConfig(
        shard=shard,
        batch_size=batch_size,
        decode_cpus=decode_cpus,
        workers=workers,
        cpus_per_worker=worker_cpus,
        gpus_per_worker=gpus,
        engine=engine,  # type: ignore[arg-type]
        site=site,
        all_frames=all_frames,
        overlays=overlays if overlays is None or "://" in overlays else str(Path(overlays).resolve()),
    )
    open_store(out).check_writable()
    found = find_images(images, column)
    over = f", {found.passed_over} other files are no images" if found.passed_over else ""
    typer.echo(f"{len(found.names):,} images below {found.root}{over}", err=True)
    hint(f"{out}: every whole shard is kept; run the same line again to go on")
    with ray_session(ray_address, num_cpus=cpus):
        scored = score_images(model, found, out, config, say=lambda line: typer.echo(line, err=True))
    rate = f", {scored.files / scored.seconds:.0f}/s with Ray's start" if scored.files else ""
    typer.echo(f"{scored.images:,} images scored, {scored.bad:,} not used, {scored.kept:,} files were there already{rate}")
    if csv and "://" not in out:
        beside = Path(out).resolve().with_suffix(".csv")
        write_csv(out, -(-len(found.names) // shard), open_store(beside.parent), beside.name)
        typer.echo(f"csv     {beside}")
    typer.echo(f"rows    {out}\n{DISCLAIMER}")
