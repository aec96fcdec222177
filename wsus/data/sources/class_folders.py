"""Any folder with `benign/` and `malignant/`; masks, where there are any, lie beside their image as `<stem>_mask.png`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsus.data.manifest import Manifest
from wsus.data.sources.folder_scan import FoundImage, SamePictures, same_pictures, scan_class
from wsus.data.sources.imported import Imported, LeftOut
from wsus.errors import ManifestError
from wsus.types import CLASS_NAMES, ImageRecord

_LAYOUT = "expected the folders benign/ and malignant/ with the images, and masks, if any, beside them as <stem>_mask.png"


def read_class_folders(folder: Path, *, name: str | None = None, institution: str | None = None) -> Imported:
    """Read a folder whose subfolders are the classes.

    Nobody wrote down the patients here, so each image is its own patient, except that near-duplicates are one.

    Raises:
        ManifestError: the folder has another layout, or no image can be taken.
    """
    class_folders = find_class_folders(folder, CLASS_NAMES, layout=_LAYOUT)
    left_out = unknown_entries(folder, CLASS_NAMES)
    images: list[FoundImage] = []
    for class_name, class_folder in class_folders.items():
        found, rest = scan_class(class_folder, class_name, prefix=f"{class_name}-", root=folder)
        images += found
        left_out += rest
    seen = same_pictures(images, root=folder)
    records = lesion_records(seen, institution=institution)
    if not records:
        raise ManifestError(f"{folder}: no image that can be read in {' and '.join(class_folders)}; {_LAYOUT}")
    manifest = Manifest(records=records, name=name or folder.resolve().name)
    return Imported(
        manifest=manifest, taken=len(records), left_out=(*left_out, *seen.unreadable), notes=patient_notes(seen, records)
    )


def find_class_folders(folder: Path, names: Sequence[str], *, layout: str) -> dict[str, Path]:
    """Class name -> its folder, whatever the case of its letters. Raises ManifestError where one is missing."""
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder; {layout}")
    by_name = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    missing = [name for name in names if name not in by_name]
    if missing:
        found = ", ".join(sorted(by_name)) or "no folder"
        raise ManifestError(f"{folder}: {' and '.join(f'{name}/' for name in missing)} missing, found {found}; {layout}")
    return {name: by_name[name] for name in names}


def unknown_entries(folder: Path, names: Sequence[str]) -> list[LeftOut]:
    """What lies beside the class folders."""
    return [
        LeftOut(item=path.name, reason=f"not one of the classes {', '.join(names)}")
        for path in sorted(folder.iterdir())
        if path.name.lower() not in names and not path.name.startswith(".")
    ]


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
    """How patients came about, and how many near-duplicates contradict each other."""
    patients = len({record.patient_id for record in records})
    notes = [f"no patient identifiers: {len(records)} images are taken as {patients} patients, near-duplicates as one"]
    across = [p for p in seen.pairs if seen.images[p.first].class_name != seen.images[p.second].class_name]
    if across:
        notes.append(f"{len(across)} of the folder's {len(seen.pairs)} near-duplicate pairs lie in two classes")
    without = sum(not record.mask_paths for record in records)
    if without:
        notes.append(f"{without} images have no mask: the mode manual_roi cannot use them")
    return tuple(notes)
