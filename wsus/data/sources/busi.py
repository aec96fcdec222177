"""BUSI, as distributed: benign/, malignant/ and normal/, several masks per image, no patient identifiers.

Source: Al-Dhabyani, Gomaa, Khaled, Fahmy, "Dataset of breast ultrasound images", Data in Brief 28, 2020.
"""

from __future__ import annotations

from pathlib import Path

from wsus.data.manifest import Manifest
from wsus.data.sources.class_folders import find_class_folders, lesion_records, patient_notes, unknown_entries
from wsus.data.sources.folder_scan import FoundImage, SamePictures, same_pictures, scan_class
from wsus.data.sources.imported import Imported, LeftOut
from wsus.errors import ManifestError

_CLASSES = ("benign", "malignant", "normal")
_LAYOUT = "expected the folders benign/, malignant/ and normal/ with files such as 'benign (1).png' and 'benign (1)_mask.png'"


def read_busi(folder: Path, *, institution: str = "B") -> Imported:
    """Read BUSI from its folder.

    Images without a lesion are left out. BUSI names no patients, so near-duplicates are taken as one patient, whose id
    is that of the group's first image.

    Raises:
        ManifestError: the folder has another layout, or no image can be taken.
    """
    left_out = [] if not folder.is_dir() else unknown_entries(folder, _CLASSES)
    images: list[FoundImage] = []
    for class_name, class_folder in find_class_folders(folder, _CLASSES, layout=_LAYOUT).items():
        found, rest = scan_class(class_folder, class_name, prefix="busi-", root=folder)
        images += found
        left_out += rest
    seen = same_pictures(images, root=folder)
    records = lesion_records(seen, institution=institution)
    if not records:
        raise ManifestError(f"{folder}: no image of a lesion that can be read; {_LAYOUT}")
    left_out += [*_without_lesion(seen), *seen.unreadable]
    manifest = Manifest(records=records, name="BUSI")
    return Imported(manifest=manifest, taken=len(records), left_out=tuple(left_out), notes=patient_notes(seen, records))


def _without_lesion(seen: SamePictures) -> list[LeftOut]:
    twins: dict[str, str] = {}
    for pair in seen.pairs:
        one, other = seen.images[pair.first], seen.images[pair.second]
        for image, twin in ((one, other), (other, one)):
            if twin.class_name != "normal":
                twins[image.image_id] = f"no lesion; but the same picture as {twin.image_id}"
    normals = (image for image in seen.images if image.class_name == "normal")
    return [LeftOut(item=image.image_id, reason=twins.get(image.image_id, "no lesion")) for image in normals]
