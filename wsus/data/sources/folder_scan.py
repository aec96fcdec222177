"""Images and masks that are told apart by their file names: `<stem>.png`, `<stem>_mask.png`, `<stem>_mask_1.png`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from wsus.data.audit.near_duplicates import Fingerprint, NearDuplicate, find_near_duplicates, fingerprint, group_near_duplicates
from wsus.data.formats.sniff import is_dicom
from wsus.data.images import read_grey
from wsus.data.sources.imported import LeftOut
from wsus.errors import ImageError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_MASK_STEM = re.compile(r"(?P<image>.+)_mask(?:_?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImage:
    """One image of a class folder. image_id: unique within a scan, fit for a file name."""

    image_id: str
    class_name: str
    path: Path
    mask_paths: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SamePictures:
    """What comparing the images of a scan gave.

    images: those that can be read.  unreadable: the others, with the reason.
    pairs: near-duplicates, by position in `images`.  patient_of: image_id -> the id of the first image of its group.
    """

    images: tuple[FoundImage, ...]
    unreadable: tuple[LeftOut, ...]
    pairs: tuple[NearDuplicate, ...]
    patient_of: dict[str, str]


def scan_class(folder: Path, class_name: str, *, prefix: str, root: Path) -> tuple[list[FoundImage], list[LeftOut]]:
    """The images of one class folder in natural order ("2" before "10"), and what in it is neither image nor mask."""
    images: list[Path] = []
    masks: dict[str, list[Path]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for path in sorted(folder.iterdir(), key=_natural):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            left_out.append(LeftOut(item=str(path.relative_to(root)), reason="a folder inside a class folder is not read"))
        elif path.suffix.lower() not in IMAGE_SUFFIXES and not is_dicom(path):
            reason = f"not an image ({', '.join(IMAGE_SUFFIXES)}, or DICOM of any name)"
            left_out.append(LeftOut(item=str(path.relative_to(root)), reason=reason))
        elif match := _MASK_STEM.fullmatch(path.stem):
            masks[match["image"]].append(path.resolve())
        else:
            images.append(path)
    orphans = sorted(path for stem in masks.keys() - {path.stem for path in images} for path in masks[stem])
    left_out += [LeftOut(item=f"{folder.name}/{path.name}", reason="a mask without its image") for path in orphans]
    found: list[FoundImage] = []
    used: set[str] = set()
    for path in images:
        image_id = _unused(f"{prefix}{_slug(path.stem)}", used)
        found.append(
            FoundImage(image_id=image_id, class_name=class_name, path=path.resolve(), mask_paths=tuple(masks.get(path.stem, ())))
        )
    return found, left_out


def same_pictures(images: Sequence[FoundImage], *, root: Path) -> SamePictures:
    """Read all images, and group near-duplicates: where nobody wrote down the patients, they are the best guess."""
    with ThreadPoolExecutor() as pool:
        prints = list(pool.map(_fingerprint_or_reason, images))
    readable = [(image, seen) for image, seen in zip(images, prints, strict=True) if isinstance(seen, Fingerprint)]
    unreadable = tuple(
        LeftOut(item=str(image.path.relative_to(root.resolve())), reason=seen)
        for image, seen in zip(images, prints, strict=True)
        if isinstance(seen, str)
    )
    pairs = find_near_duplicates([seen for _, seen in readable])
    groups = group_near_duplicates(len(readable), pairs)
    patient_of = {readable[k][0].image_id: readable[group[0]][0].image_id for group in groups for k in group}
    return SamePictures(images=tuple(image for image, _ in readable), unreadable=unreadable, pairs=pairs, patient_of=patient_of)


def _fingerprint_or_reason(image: FoundImage) -> Fingerprint | str:
    try:
        return fingerprint(read_grey(image.path))
    except ImageError as error:
        return str(error)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"(\d+)", path.name)]


def _slug(stem: str) -> str:
    return re.sub(r"[^\w.]+", "-", stem).strip("-.") or "image"


def _unused(image_id: str, used: set[str]) -> str:
    candidate, number = image_id, 2
    while candidate in used:
        candidate, number = f"{image_id}-{number}", number + 1
    used.add(candidate)
    return candidate
