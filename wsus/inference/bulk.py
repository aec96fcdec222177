"""Very many images: how they are found, and the two halves of one image's way, which may run in different processes.

`decoded` needs the file and no network; `answers` needs the network and no file. What comes out are the answers of
`wsus predict` (`wsus.inference.answer.answer_json`), and for a file that cannot be used `image`, `error` and `reason`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wsus.data.formats.sniff import is_dicom
from wsus.data.images import DEFAULT_LIMITS, decode_frames, decode_image, read_file_bytes
from wsus.data.roi import CropConfig, extract, whole_image
from wsus.errors import ConfigError, DataError, ImageError, ImageReason, StoreError
from wsus.inference.answer import answer_of
from wsus.inference.crops import NetworkInput
from wsus.inference.files import overlay
from wsus.inference.predict import Predictor
from wsus.storage import Store, open_store
from wsus.types import Explain, GreyImage

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom", ".ima")
_TABLES = (".csv", ".tsv", ".xlsx", ".parquet")
_PATH_COLUMNS = ("path", "file", "filename", "image", "address")
_BOX = pa.list_(pa.int64())
SCHEMA = pa.schema(
    {
        "image": pa.string(),
        "pom": pa.float64(),
        "label": pa.string(),
        "operating_point": pa.float64(),
        "explained_class": pa.string(),
        "boxes_xyxy_px": pa.list_(_BOX),
        "sizes_mm": pa.list_(pa.list_(pa.float64())),
        "area_fraction": pa.float64(),
        "constant_map": pa.bool_(),
        "model": pa.string(),
        "pom_means": pa.string(),
        "site": pa.string(),
        "model_pom": pa.float64(),
        "not_sure": pa.bool_(),
        "ood_score": pa.float64(),
        "ood_threshold": pa.float64(),
        "warnings": pa.list_(pa.string()),
        "frame": pa.int64(),
        "frames": pa.int64(),
        "region_xyxy_px": _BOX,
        "overlay": pa.string(),
        "error": pa.string(),
        "reason": pa.string(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """Image files below `root`, a folder or s3://bucket/prefix, by their paths there; `passed_over` are no images."""

    root: str
    names: tuple[str, ...]
    passed_over: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """One image ready for a weak network. facts: the image without its pixels, which are kept where they are to be drawn on."""

    seen: NetworkInput
    facts: GreyImage
    pixels: bool


def find_images(address: str, column: str | None = None) -> Images:
    """The images of a folder, of s3://bucket/prefix, or of a table's column of paths, in the order of their names or rows.

    Args:
        column: of the table; one called path, file, filename, image or address where None.
    Raises:
        DataError: there is nothing, or no image in it.  ConfigError: a table without such a column.
    """
    local = Path(address)
    if "://" not in address and local.is_file():
        return _of_table(local, column)
    if "://" not in address and not local.is_dir():
        raise DataError(f"{address}: no such folder or table; expected images, a table of their paths, or s3://bucket/prefix")
    if column is not None:
        raise ConfigError(f"--column is for a table of paths; {address} is a folder")
    if "://" in address:
        store = open_store(address)
        keys = store.keys("")
        root, every = store.locator, [key for key in keys if not key.rpartition("/")[2].startswith(".")]
        names = [key for key in every if key.lower().endswith(_SUFFIXES)]
    else:
        root, files = (
            str(local.resolve()),
            [path for path in local.rglob("*") if path.is_file() and not path.name.startswith(".")],
        )
        every = [str(path.relative_to(local)) for path in files]
        names = [name for name, path in zip(every, files, strict=True) if _is_image(path)]
    if not names:
        raise DataError(f"{address}: none of its {len(every)} files is an image; expected PNG, JPEG, BMP, TIFF or DICOM")
    return Images(root=root, names=tuple(sorted(names)), passed_over=len(every) - len(names))


def decoded(
    images: Images, name: str, crop: CropConfig, *, all_frames: bool, keep_pixels: bool
) -> list[Decoded] | dict[str, Any]:
    """One file as a weak network with this crop sees it, frame by frame; or why it cannot be used."""
    try:
        content = _content(images.root, name)
        found = decode_frames(content, name=name) if all_frames else (decode_image(content, name=name),)
    except ImageError as error:
        return {"image": name, "error": str(error), "reason": error.reason.value}
    ready = []
    for image in found:
        geometry = whole_image((image.grey_HW.shape[0], image.grey_HW.shape[1]), crop)
        seen = NetworkInput(image_id=name, pixels_HW=extract(image.grey_HW, geometry), geometry=geometry)
        if not seen.pixels_HW.any():
            return {"image": name, "error": f"{name}: all black", "reason": ImageReason.BLANK.value}
        facts = image if keep_pixels else replace(image, grey_HW=np.zeros((0, 0), dtype=np.uint8))
        ready.append(Decoded(seen=seen, facts=facts, pixels=keep_pixels))
    return ready


def answers(
    predictor: Predictor, images: Sequence[Decoded], explain: Explain = "predicted", overlays: str | None = None
) -> list[dict[str, Any]]:
    """What the model says of decoded images, in their order. overlays: a store's address, to draw the maps into."""
    found = []
    for image, prediction in zip(images, predictor.predict_inputs([image.seen for image in images], explain), strict=True):
        shape = image.seen.geometry.source_hw
        facts = image.facts if image.pixels else replace(image.facts, grey_HW=np.broadcast_to(np.uint8(0), shape))
        answer = answer_of(image.seen.image_id, facts, prediction, predictor.site)
        if overlays is not None:
            key, stream = _overlay_key(image.seen.image_id, facts), io.BytesIO()
            overlay(facts.grey_HW, prediction.cam_HW, prediction.localisation.boxes_xyxy_px).save(stream, "PNG")
            _store(overlays).write_bytes(key, stream.getvalue())
            answer["overlay"] = _store(overlays).url(key)
        found.append(answer)
    return found


def as_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Answers as a Parquet file of SCHEMA."""
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), stream)
    return stream.getvalue()


def as_csv(content: bytes, *, header: bool) -> bytes:
    """A Parquet file of SCHEMA as CSV, its lists as JSON."""
    rows = pq.read_table(io.BytesIO(content))
    table = rows.to_pandas()
    for field in SCHEMA:
        if pa.types.is_list(field.type):
            table[field.name] = [None if value is None else json.dumps(value) for value in rows[field.name].to_pylist()]
    return str(table.to_csv(index=False, header=header, lineterminator="\n")).encode()


def _of_table(path: Path, column: str | None) -> Images:
    if path.suffix.lower() not in _TABLES:
        raise DataError(
            f"{path}: expected a folder of images or a table ({', '.join(_TABLES)}); for one image use `wsus predict`"
        )
    if path.suffix.lower() == ".parquet":
        table = pd.read_parquet(path)
    elif path.suffix.lower() == ".xlsx":
        table = pd.read_excel(path, dtype=str)
    else:
        table = pd.read_csv(path, sep=None, engine="python", dtype=str)
    known = [name for name in table.columns if str(name).lower() in _PATH_COLUMNS]
    chosen = column if column is not None else next(iter(known), None)
    if chosen not in table.columns:
        raise ConfigError(
            f"{path}: no column {column or ' or '.join(_PATH_COLUMNS)}; it has {', '.join(map(str, table.columns))}: "
            "name the one that holds the paths with --column"
        )
    names = [str(name) for name in table[chosen].dropna()]
    if not names:
        raise DataError(f"{path}: its column {chosen!r} names no image")
    return Images(root=str(path.parent.resolve()), names=tuple(dict.fromkeys(names)))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES or ((path.suffix == "" or path.suffix[1:].isdigit()) and is_dicom(path))


def _content(root: str, name: str) -> bytes:
    """Raises ImageError."""
    if "://" not in root and "://" not in name:
        return read_file_bytes(Path(root, name))
    folder, _, key = name.rpartition("/") if "://" in name else (root, "", name)
    try:
        content = _store(folder).read_bytes(key)
    except StoreError as error:
        raise ImageError(str(error), ImageReason.NOT_FOUND) from error
    if len(content) > DEFAULT_LIMITS.max_bytes:
        raise ImageError(f"{name}: {len(content):,} bytes; at most {DEFAULT_LIMITS.max_bytes:,} are read", ImageReason.TOO_LARGE)
    return content


@cache
def _store(address: str) -> Store:
    """One a process: a client of S3 costs 0.1 s."""
    return open_store(address, patient=True)


def _overlay_key(name: str, facts: GreyImage) -> str:
    folders = [part for part in PurePosixPath(name.replace("://", "/")).parts if part not in ("/", "..")]
    return "/".join(folders) + (f"-{facts.frame}" if facts.frame_count > 1 else "") + "-cam.png"
