"""Any folder with `benign/` and `malignant/`; masks lie beside their image, in a folder of their own, or there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsus.data.formats.image_warning import warning_notes
from wsus.data.manifest import Manifest
from wsus.data.sources.folder_scan import SamePictures, ScannedImage, odd_link, reasons_of, same_pictures, scan_class
from wsus.data.sources.imported import Imported, LeftOut
from wsus.data.sources.mask_names import is_image_folder, is_mask_folder
from wsus.errors import ManifestError
from wsus.types import CLASS_NAMES, ImageRecord

_LAYOUT = (
    "expected the folders benign/ and malignant/ (or images/benign ...) with the images, and masks, if any, beside them as "
    "<stem>_mask.png or with their names in a folder masks/"
)
_MOST_REASONS = 5


def read_class_folders(folder: Path, *, name: str | None = None, institution: str | None = None) -> Imported:
    """Read a folder whose subfolders are the classes.

    Nobody wrote down the patients here, so each image is its own patient, except that near-duplicates are one.

    Raises:
        ManifestError: the folder has another layout, or no image can be taken.
    """
    scanned, left_out = scan_classes(folder, CLASS_NAMES, layout=_LAYOUT, prefix="{class_name}-")
    seen = same_pictures(scanned)
    records = lesion_records(seen, institution=institution)
    if not records:
        raise nothing_taken(folder, left_out, layout=_LAYOUT)
    manifest = Manifest(records=records, name=name or folder.resolve().name)
    return Imported(manifest=manifest, taken=len(records), left_out=tuple(left_out), notes=patient_notes(seen, records))


def scan_classes(
    folder: Path, names: Sequence[str], *, layout: str, prefix: str, optional: Sequence[str] = ()
) -> tuple[list[ScannedImage], list[LeftOut]]:
    """The images of all class folders, and all that is left out of the folder.

    Args:
        prefix: of each image's id; `{class_name}` stands for its class.  optional: classes that may be missing.
    Raises:
        ManifestError: a class folder is missing.
    """
    place = class_root(folder, names)
    class_folders = find_class_folders(place, names, layout=layout, root=folder, optional=optional)
    beside = {name: _mask_folders(folder, place, name) for name in class_folders}
    known = {*class_folders.values(), *(path for paths in beside.values() for path in paths)}
    left_out = unknown_entries(folder, names, known)
    scanned: list[ScannedImage] = []
    used: set[str] = set()
    for name, class_folder in class_folders.items():
        found, rest = scan_class(
            class_folder, name, prefix=prefix.format(class_name=name), root=folder, used=used, mask_folders=beside[name]
        )
        scanned += found
        left_out += rest
    return scanned, left_out


def class_root(folder: Path, names: Sequence[str]) -> Path:
    """Where the class folders lie: in the folder, or in its only folder of images."""
    if not folder.is_dir():
        return folder
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    if any(path.name.lower() in names for path in inner):
        return folder
    images = [path for path in inner if is_image_folder(path.name) and any((path / name).is_dir() for name in names)]
    return images[0] if len(images) == 1 else folder


def find_class_folders(
    folder: Path, names: Sequence[str], *, layout: str, root: Path | None = None, optional: Sequence[str] = ()
) -> dict[str, Path]:
    """Class name -> its folder, whatever the case of its letters. Raises ManifestError where one is missing."""
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder; {layout}")
    by_name = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    missing = [name for name in names if name not in by_name and name not in optional]
    if missing:
        found = ", ".join(sorted(by_name)) or "no folder"
        raise ManifestError(f"{folder}: {' and '.join(f'{name}/' for name in missing)} missing, found {found}; {layout}")
    for name in names:
        reason = odd_link(by_name[name], root or folder) if name in by_name else ""
        if reason:
            raise ManifestError(f"{by_name[name]}: {reason}; {layout}")
    return {name: by_name[name] for name in names if name in by_name}


def unknown_entries(folder: Path, names: Sequence[str], known: set[Path]) -> list[LeftOut]:
    """What lies beside the class folders."""
    within = {parent for path in known for parent in (path, *path.parents)}
    return [
        LeftOut(item=path.name, reason=f"not one of the classes {', '.join(names)}")
        for path in sorted(folder.iterdir())
        if path not in within and not path.name.startswith(".")
    ]


def nothing_taken(folder: Path, left_out: Sequence[LeftOut], *, layout: str) -> ManifestError:
    """The error of a folder of which no image can be taken: why, and what is expected."""
    reasons = list(reasons_of(left_out))
    why = "; ".join(reasons[:_MOST_REASONS]) or "its folders are empty"
    return ManifestError(f"{folder}: no image of a lesion that can be read: {why}; {layout}")


def lesion_records(seen: SamePictures, *, institution: str | None) -> tuple[ImageRecord, ...]:
    """The benign and malignant images of a scan; the patient is the group of near-duplicates."""
    return tuple(
        ImageRecord(
            image_id=image.image_id,
            patient_id=seen.patient_of[image.image_id],
            path=image.path,
            label=CLASS_NAMES.index(image.class_name),
            mask_paths=image.mask_paths,
            institution=institution,
        )
        for image in seen.images
        if image.class_name in CLASS_NAMES
    )


def patient_notes(seen: SamePictures, records: Sequence[ImageRecord]) -> tuple[str, ...]:
    """How patients came about, how many near-duplicates contradict each other, and what decoding warned of."""
    patients = len({record.patient_id for record in records})
    notes = [f"no patient identifiers: {len(records)} images are taken as {patients} patients, near-duplicates as one"]
    across = [p for p in seen.pairs if seen.images[p.first].class_name != seen.images[p.second].class_name]
    if across:
        notes.append(f"{len(across)} of the folder's {len(seen.pairs)} near-duplicate pairs lie in two classes")
    without = sum(not record.mask_paths for record in records)
    if without:
        notes.append(f"{without} images have no mask: the mode manual_roi cannot use them")
    return (*notes, *warning_notes(seen.warned))


def _mask_folders(folder: Path, place: Path, class_name: str) -> list[Path]:
    """Where a class's masks lie outside its own folder: `masks/benign`, `benign_masks`."""
    found = []
    for path in sorted({*folder.iterdir(), *place.iterdir()}):
        if not path.is_dir() or odd_link(path, folder):
            continue
        if is_mask_folder(path.name):
            found += [inner for inner in sorted(path.iterdir()) if inner.is_dir() and inner.name.lower() == class_name]
        elif path.name.lower().startswith(class_name) and is_mask_folder(path.name[len(class_name) :].strip(" _.-")):
            found.append(path)
    return found
