"""Options that several commands share, and how their words are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsus.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from wsus.data.sources.own import OwnImages
    from wsus.storage import Store

Recipe = Annotated[str | None, typer.Option(help="One of: <recipes>; that of --config, else quick, by default.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="YAML", help="A study's settings, see `wsus recipes show`; --set comes on top.")
]
DataPaths = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="KIND=PATH", help="<data sets>; each may be s3://bucket/prefix."),
]
Out = Annotated[
    str, typer.Option("--out", "--store", envvar="WSUS_STORE", metavar="STORE", help="A folder or s3://bucket/prefix.")
]
Name = Annotated[str | None, typer.Option(help="The study's name in the store; the recipe's by default.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. train.epochs=5.")]
Backbones = Annotated[str | None, typer.Option(help="Comma-separated: <backbones>.")]
Modes = Annotated[str | None, typer.Option(help="Comma-separated: <modes>.")]
RayAddress = Annotated[str | None, typer.Option(help="Address of a running Ray cluster; by default one starts here.")]
Cpus = Annotated[int | None, typer.Option(help="CPU cores for Ray on this machine; all by default.")]
ModelName = Annotated[str | None, typer.Option("--model-name", help="Which model of the store; not needed where there is one.")]
MinDevelopment = Annotated[
    int | None, typer.Option(help="Development images that a model for `production` needs at least; 20 by default.")
]
Study = Annotated[str, typer.Option("--study", "--name", help="The study's name in the store.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]


Columns = Annotated[
    list[str] | None, typer.Option("--column", metavar="NAME=COLUMN", help="Of a table: which column is it, as label=Diagnosis.")
]
LabelWords = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="CLASS=WORDS", help="Of a table: malignant=4,5 benign=2,3; others are left out."),
]
ImagesRoot = Annotated[
    str | None,
    typer.Option("--images", metavar="DIR", help="Of a table: the folder that its paths are relative to; its own by default."),
]
Patients = Annotated[
    str, typer.Option(help="Whose image is it: auto (a column, DICOM PatientID, near-duplicates), each, or name:PATTERN.")
]


def existing_store(address: str) -> Store:
    """The store of a command that only reads one. Raises StoreError where a folder does not exist."""
    from wsus.storage import open_store

    if "://" not in address and not Path(address).is_dir():
        raise StoreError(f"{address}: no such folder; expected a store, as `wsus run --out {address}` makes one")
    return open_store(address)


def own_images(columns: list[str] | None, labels: list[str] | None, images: str | None, patients: str) -> OwnImages:
    """How own images are read, from a command's options. Raises ConfigError."""
    from wsus.data.sources.own import OwnImages

    return OwnImages(columns=pairs(columns, "--column"), labels=pairs(labels, "--label"), images=images, patients=patients)


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE arguments as a dictionary. Raises ConfigError, naming the option."""
    found = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise ConfigError(f"{option} takes NAME=VALUE; got {text!r}")
        found[key] = value
    return found
