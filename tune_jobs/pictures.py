"""The pictures that a study keeps for its report, so that comparing it needs no image of the data: written here, read here.

Each cell keeps its gallery; the study keeps the hardest cases of all cells, made small.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_jobs.keys import in_path
from wsus.inference.scoring import ScoredImage
from wsus.report.inputs import GalleryItem, HardCasePicture
from wsus.types import GreyHW, MaskHW

LONGEST_PX = 192  # of a hard case: twelve of them with three maps each take about a third of a megabyte
_INDEX = "gallery.json"
_HARD_INDEX = "cases.json"


def write_gallery(folder: Path, examples: Sequence[ScoredImage]) -> None:
    """Write a cell's examples into a new folder, in original pixels."""
    folder.mkdir()
    index = []
    for example in examples:
        entry = {k: getattr(example, k) for k in ("kind", "split", "image_id", "label", "pom", "box_xyxy_px")}
        pictures = {"image": example.image_HW, "cam": example.cam_HW, **_mask(example.mask_HW)}
        index.append(entry | _write(folder, example.kind, pictures))
    (folder / _INDEX).write_text(json.dumps(index, indent=1))


def read_gallery(folder: Path) -> tuple[GalleryItem, ...]:
    """What `write_gallery` wrote."""
    items = []
    for entry in json.loads((folder / _INDEX).read_text()):
        fields = {name: entry[name] for name in ("kind", "split", "image_id", "label", "pom")}
        box = tuple(entry["box_xyxy_px"]) if entry["box_xyxy_px"] else None
        image_HW, cam_HW = (_read(folder / entry[name]) for name in ("image", "cam"))
        items.append(GalleryItem(**fields, box_xyxy_px=box, image_HW=image_HW, cam_HW=cam_HW, mask_HW=_read_mask(folder, entry)))
    return tuple(items)


def write_hard_cases(folder: Path, by_backbone: Mapping[str, Sequence[ScoredImage]]) -> None:
    """Write the hardest cases, at most LONGEST_PX on a side.

    Args:
        folder: exists.
        by_backbone: the same images in the same order as each weak network sees them; empty where there is no hard case.
    """
    index = []
    for place, examples in enumerate(zip(*by_backbone.values(), strict=True)):
        first = examples[0]
        pictures = {"image": first.image_HW, **_mask(first.mask_HW)}
        pictures |= {f"cam-{name}": one.cam_HW for name, one in zip(by_backbone, examples, strict=True)}
        small = {name: _shrunk(picture_HW, smooth=name != "mask") for name, picture_HW in pictures.items()}
        index.append({"split": first.split, "image_id": first.image_id} | _write(folder, f"{place:02d}", small))
    (folder / _HARD_INDEX).write_text(json.dumps(index, indent=1))


def read_hard_cases(folder: Path) -> tuple[HardCasePicture, ...]:
    """What `write_hard_cases` wrote."""
    return tuple(
        HardCasePicture(
            split=entry["split"],
            image_id=entry["image_id"],
            image_HW=_read(folder / entry["image"]),
            mask_HW=_read_mask(folder, entry),
            cam_of={name.removeprefix("cam-"): _read(folder / entry[name]) for name in entry if name.startswith("cam-")},
        )
        for entry in json.loads((folder / _HARD_INDEX).read_text())
    )


def _mask(mask_HW: MaskHW | None) -> dict[str, GreyHW]:
    return {} if mask_HW is None else {"mask": mask_HW.astype(np.uint8) * 255}


def _write(folder: Path, start: str, pictures: Mapping[str, GreyHW]) -> dict[str, str]:
    """One PNG each; name -> file name."""
    names = {name: f"{start}-{in_path(name)}.png" for name in pictures}
    for name, pixels_HW in pictures.items():
        buffer = io.BytesIO()
        Image.fromarray(pixels_HW).save(buffer, format="PNG", optimize=True)
        (folder / names[name]).write_bytes(buffer.getvalue())
    return names


def _read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def _read_mask(folder: Path, entry: Mapping[str, str]) -> MaskHW | None:
    return _read(folder / entry["mask"]) > 0 if "mask" in entry else None


def _shrunk(picture_HW: GreyHW, *, smooth: bool) -> GreyHW:
    height, width = picture_HW.shape
    scale = min(1.0, LONGEST_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture_HW).resize(size, Image.Resampling.BOX if smooth else Image.Resampling.NEAREST))
