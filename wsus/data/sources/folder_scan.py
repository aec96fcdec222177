"""The images of a class folder and their masks: told apart by names, by folders, and by what is in the picture.

A mask is never an image, since one with a label would be learned from. So a picture that is named after another one is its
mask or is left out, and so is one of two values. What is an image shows in its content, whatever its suffix.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsus.data.audit.near_duplicates import Fingerprint, NearDuplicate, find_near_duplicates, fingerprint, group_near_duplicates
from wsus.data.images import open_picture, read_image
from wsus.data.mask_faults import looks_like_a_mask
from wsus.data.sources.imported import LeftOut
from wsus.data.sources.mask_names import is_image_folder, is_mask_folder, named_image, perhaps_named_image
from wsus.errors import ImageError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom", ".ima")  # what may be left out of an image's id


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImage:
    """One image of a class folder. image_id: unique within a scan, fit for a file name."""

    image_id: str
    class_name: str
    path: Path
    mask_paths: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedImage:
    """An image that can be read: what near-duplicates are told by, and the warnings of its decoding."""

    found: FoundImage
    seen: Fingerprint
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SamePictures:
    """What comparing the images of a scan gave.

    pairs: near-duplicates, by position in `images`.  patient_of: image_id -> the id of the first image of its group.
    warned: how many images each kind of warning concerns.
    """

    images: tuple[FoundImage, ...]
    pairs: tuple[NearDuplicate, ...]
    patient_of: dict[str, str]
    warned: dict[str, int]


class _Seen(NamedTuple):
    """What is in one file: a mask, an image's fingerprint and warnings, or the reason why it is neither."""

    mask: bool = False
    image: Fingerprint | None = None
    warnings: tuple[str, ...] = ()
    reason: str = ""


def scan_class(
    folder: Path, class_name: str, *, prefix: str, root: Path, used: set[str], mask_folders: Sequence[Path] = ()
) -> tuple[list[ScannedImage], list[LeftOut]]:
    """The images of one class folder in natural order ("2" before "10"), and what in it is neither image nor mask.

    Args:
        used: ids that are given already; those of the images are added.
        mask_folders: outside the class folder; those in it are found by their names.
    """
    entries, left_out = _entries(folder, root)
    masks_beside, outside = _entries_of_all(mask_folders, root)
    for subfolder in [path for path in entries if path.is_dir()]:
        if is_mask_folder(subfolder.name) or is_image_folder(subfolder.name):
            inside, rest = _entries(subfolder, root)
            left_out += rest
            target = masks_beside if is_mask_folder(subfolder.name) else entries
            target.extend(path for path in inside if path.is_file())
        else:
            reason = "a folder inside a class folder is not read, but for images/ and masks/; move its files up"
            left_out.append(_left_out(subfolder, root, reason))
    files = [path for path in entries if path.is_file()]

    masks, images, rest = _sorted_out(files, masks_beside, root)
    found = []
    for path, seen in images:
        assert seen.image is not None
        image_id = _unused(f"{prefix}{_slug(stem_of(path))}", used)
        mask_paths = tuple(mask.resolve() for mask in masks.get(path, ()))
        one = FoundImage(image_id=image_id, class_name=class_name, path=path.resolve(), mask_paths=mask_paths)
        found.append(ScannedImage(found=one, seen=seen.image, warnings=seen.warnings))
    return found, [*left_out, *outside, *rest]


def same_pictures(scanned: Sequence[ScannedImage]) -> SamePictures:
    """Group near-duplicates: where nobody wrote down the patients, they are the best guess."""
    images = [one.found for one in scanned]
    pairs = find_near_duplicates([one.seen for one in scanned])
    groups = group_near_duplicates(len(images), pairs)
    patient_of = {images[k].image_id: images[group[0]].image_id for group in groups for k in group}
    warned = Counter(kind for one in scanned for kind in {getattr(w, "kind", "other") for w in one.warnings})
    return SamePictures(images=tuple(images), pairs=pairs, patient_of=patient_of, warned=dict(warned))


def stem_of(path: Path) -> str:
    """A file's name without the suffix of an image; of `1.2.840.7` all of it."""
    return path.stem if path.suffix.lower() in _SUFFIXES else path.name


def _sorted_out(
    files: list[Path], mask_files: list[Path], root: Path
) -> tuple[dict[Path, list[Path]], list[tuple[Path, _Seen]], list[LeftOut]]:
    """Masks by the image that they belong to, images, and what is neither."""
    by_stem = {stem_of(path).casefold(): path for path in reversed(files) if named_image(stem_of(path)) is None}
    masks: dict[Path, list[Path]] = defaultdict(list)
    left_out: list[LeftOut] = []
    to_look_at: list[Path] = []
    for path in files:
        named = named_image(stem_of(path))
        if named is None:
            to_look_at.append(path)
        elif (owner := by_stem.get(named.casefold())) is not None:
            masks[owner].append(path)
        else:
            left_out.append(_left_out(path, root, "a mask without its image"))

    owners = {path: owner for path in to_look_at if (owner := _extended(path, by_stem)) is not None}
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(lambda path: _look(path, extends=path in owners), to_look_at))
    images: list[tuple[Path, _Seen]] = []
    for path, seen in zip(to_look_at, looks, strict=True):
        owner = owners.get(path)
        if seen.mask and owner is not None and _is_apart(path, owner):
            masks[owner].append(path)
        elif seen.image is not None and owner is not None and perhaps_named_image(stem_of(path)) is not None:
            reason = f"its name says that it belongs to {owner.name}, but it is no mask; rename it if it is an image of its own"
            left_out.append(_left_out(path, root, reason))
        elif seen.image is not None:
            images.append((path, seen))
        else:
            left_out.append(_left_out(path, root, seen.reason))

    readable = {path for path, _ in images}
    for path in mask_files:
        stem = stem_of(path)
        owner = by_stem.get(stem.casefold()) or by_stem.get((named_image(stem) or perhaps_named_image(stem) or "").casefold())
        if owner is None:
            left_out.append(_left_out(path, root, "a mask without its image"))
        else:
            masks[owner].append(path)
    orphans = [path for owner, several in masks.items() if owner not in readable for path in several]
    left_out += [_left_out(path, root, "a mask whose image is not taken") for path in orphans]
    return masks, images, left_out


def _extended(path: Path, by_stem: dict[str, Path]) -> Path | None:
    """The sibling with the longest name that this one's begins with."""
    stem = stem_of(path).casefold()
    sibling = next((by_stem[stem[:end]] for end in range(len(stem) - 1, 0, -1) if stem[:end] in by_stem), None)
    return sibling if sibling != path else None


def _is_apart(path: Path, owner: Path) -> bool:
    """Whether the longer name goes on with something else than a letter or a digit: `a_tumor` after `a`, not `a12` after `a1`."""
    return not stem_of(path)[len(stem_of(owner))].isalnum()


def _look(path: Path, *, extends: bool) -> _Seen:
    try:
        if extends:
            picture = open_picture(path)
            if picture is not None and looks_like_a_mask(picture):
                return _Seen(mask=True, reason="a picture of few values, as masks are; it is not clear of which image")
        image = read_image(path)
    except ImageError as error:
        return _Seen(reason=str(error))
    if np.unique(image.grey_HW[::2, ::2]).size <= 2 and np.unique(image.grey_HW).size <= 2:
        return _Seen(reason="a picture of two values, as masks are, and no image of that name beside it")
    return _Seen(image=fingerprint(image.grey_HW), warnings=image.warnings)


def _entries(folder: Path, root: Path) -> tuple[list[Path], list[LeftOut]]:
    """What lies in a folder, in natural order; links are followed within the root alone."""
    entries: list[Path] = []
    left_out: list[LeftOut] = []
    for path in sorted(folder.iterdir(), key=_natural):
        if path.name.startswith("."):
            continue
        reason = odd_name(path) or odd_link(path, root)
        if reason:
            left_out.append(_left_out(path, root, reason))
        else:
            entries.append(path)
    return entries, left_out


def _entries_of_all(folders: Sequence[Path], root: Path) -> tuple[list[Path], list[LeftOut]]:
    both = [_entries(folder, root) for folder in folders]
    return [path for entries, _ in both for path in entries if path.is_file()], [one for _, rest in both for one in rest]


def odd_link(path: Path, root: Path) -> str:
    """Why a link is not followed; nothing for what is none, or leads to another place below the root."""
    if not path.is_symlink():
        return ""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # dangling, or in a circle
        return "a link that leads nowhere"
    return "" if target.is_relative_to(root.resolve()) else "a link that leads out of the folder; copy the file into it"


def odd_name(path: Path) -> str:
    """Why a name cannot stand in a manifest; nothing where it can."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    return ""


def reasons_of(left_out: Sequence[LeftOut]) -> Iterator[str]:
    """Reasons with how often and, for instance, where, the most frequent first."""
    counted = Counter(one.reason.replace(one.item, "...") for one in left_out)
    first = {one.reason.replace(one.item, "..."): one.item for one in reversed(left_out)}
    for reason, count in counted.most_common():
        yield f"{count} x {reason} (for instance {first[reason]})"


def _left_out(path: Path, root: Path, reason: str) -> LeftOut:
    item = str(path.relative_to(root)).encode(errors="backslashreplace").decode()
    return LeftOut(item=item, reason=reason)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", path.name)]


def _slug(stem: str) -> str:
    return re.sub(r"[^\w.]+", "-", stem).strip("-.") or "image"


def _unused(image_id: str, used: set[str]) -> str:
    candidate, number = image_id, 2
    while candidate in used:
        candidate, number = f"{image_id}-{number}", number + 1
    used.add(candidate)
    return candidate
