"""The commands of `wsus data`: make, import and check images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from wsus.cli.options import Columns, ImagesRoot, LabelWords, Patients, own_images
from wsus.cli.registries import HelpFromRegistries
from wsus.errors import ConfigError, WsusError

data_app = typer.Typer(no_args_is_help=True, help="Make, import and check images.")


@data_app.command("phantom")
def data_phantom(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    patients: Annotated[int, typer.Option(help="Patients per class and institution.")] = 50,
    institution: Annotated[str, typer.Option(help="A, B or AB.")] = "AB",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Make phantom images with exact masks, and their manifest."""
    from wsus.data.sources.phantom import PhantomConfig
    from wsus.data.sources.phantom_set import MANIFEST, make_phantom_set

    if institution not in ("A", "B", "AB"):
        raise ConfigError(f"--institution is A, B or AB; got {institution!r}")
    configs = [PhantomConfig(patients_per_class=patients, institution=letter, seed=seed) for letter in institution]  # type: ignore[arg-type]
    manifest = make_phantom_set(folder, configs)
    typer.echo(f"{len(manifest.records)} images in {folder / MANIFEST}")


@data_app.command("import", cls=HelpFromRegistries)
def data_import(
    kind: Annotated[str, typer.Argument(help="One of: <data kinds>.")],
    folder: Annotated[str, typer.Argument(metavar="PATH", help="The data set's folder or table, or s3://bucket/prefix.")],
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="CSV", help="Where to write it; DIR/manifest.csv by default. Images lie below it."),
    ] = None,
    columns: Columns = None,
    labels: LabelWords = None,
    images: ImagesRoot = None,
    patients: Patients = "auto",
) -> None:
    """Read a data set and write its manifest; says what was taken, left out and why.

    wsus data import own OUR_IMAGES\n
    wsus data import own TABLE.xlsx --column label=Diagnosis --label malignant=4,5 --label benign=2,3
    """
    from wsus.data.manifest import write_manifest
    from wsus.data.remote import is_remote, local_path

    remote = is_remote(folder)
    if remote and manifest is None:
        raise ConfigError(f"{folder}: say where to write the manifest: --manifest CSV; then put it beside the images")
    place = local_path(folder)
    how = own_images(columns, labels, images, patients)
    if kind == "own":
        from wsus.data.sources.own import read_own

        imported = read_own(place, how)
    elif columns or labels or images or patients != "auto":
        raise ConfigError(f"{kind}: its layout is known; --column, --label, --images and --patients are for `own`")
    else:
        imported = _imported(kind, place)
    target = manifest or (place if place.is_dir() else place.parent) / "manifest.csv"
    write_manifest(imported.manifest, target, root=place if remote else None)
    typer.echo(f"{imported.taken} images taken, {len(imported.left_out)} left out; {target}")
    for note in imported.notes:
        typer.echo(f"  note: {note}")
    reasons: dict[str, list[str]] = {}
    for item in imported.left_out:
        reasons.setdefault(item.reason, []).append(str(item.item))
    for reason, names in reasons.items():
        shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        typer.echo(f"  left out: {len(names)} x {reason} ({shown})")


@data_app.command("audit", cls=HelpFromRegistries)
def data_audit(
    source: Annotated[str, typer.Argument(metavar="CSV|KIND=DIR", help="A manifest, or <data sets>; s3:// too.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False,
    page: Annotated[Path | None, typer.Option(metavar="HTML", help="Write a page for people.")] = None,
) -> None:
    """Check images before anyone trains on them. Exit status 2 where the audit finds errors."""
    from wsus.data.audit.audit import audit, write_audit_page
    from wsus.data.manifest import read_manifest
    from wsus.data.remote import is_remote, local_path

    kind, _, path = ("", "", "") if is_remote(source) else source.partition("=")
    if path:
        imported = _imported(kind, local_path(path))
        report = audit(imported.manifest, notes=imported.notes)
    else:
        report = audit(read_manifest(local_path(source), allow_leaks=True))
    typer.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))
    if page is not None:
        write_audit_page(report, page)
    if not report.ok:
        raise typer.Exit(WsusError.exit_status)


def _imported(kind: str, folder: Path) -> Any:
    from wsus.data.sources import read_source

    return read_source(kind, folder)
