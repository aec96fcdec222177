"""BUSI, as distributed: benign/, malignant/ and normal/, several masks per image, no patient identifiers.

Source: Al-Dhabyani, Gomaa, Khaled, Fahmy, "Dataset of breast ultrasound images", Data in Brief 28, 2020.
"""

from __future__ import annotations

from pathlib import Path

from wsus.data.manifest import Manifest
from wsus.data.sources.class_folders import lesion_records, nothing_taken, patient_notes, scan_classes
from wsus.data.sources.folder_scan import SamePictures, same_pictures
from wsus.data.sources.imported import Imported, LeftOut

_CLASSES = ("benign", "malignant", "normal")
_LAYOUT = (
    "expected the folders benign/, malignant/ and perhaps normal/ with files such as 'benign (1).png' and 'benign (1)_mask.png'"
)


def read_busi(folder: Path, *, institution: str = "B") -> Imported:
    """Read BUSI from its folder; copies without normal/ are about.

    Images without a lesion are left out. BUSI names no patients, so near-duplicates are taken as one patient, whose id
    is that of the group's first image.

    Raises:
        ManifestError: the folder has another layout, or no image can be taken.
    """
    scanned, left_out = scan_classes(folder, _CLASSES, layout=_LAYOUT, prefix="busi-", optional=("normal",))
    seen = same_pictures(scanned)
    records = lesion_records(seen, institution=institution)
    if not records:
        raise nothing_taken(folder, left_out, layout=_LAYOUT)
    left_out = [*left_out, *_without_lesion(seen)]
    notes = patient_notes(seen, records)
    if not any(image.class_name == "normal" for image in seen.images):
        notes = (*notes, "there is no folder normal/; its images would be left out anyway")
    manifest = Manifest(records=records, name="BUSI")
    return Imported(manifest=manifest, taken=len(records), left_out=tuple(left_out), notes=notes)


def _without_lesion(seen: SamePictures) -> list[LeftOut]:
    twins: dict[str, str] = {}
    for pair in seen.pairs:
        one, other = seen.images[pair.first], seen.images[pair.second]
        for image, twin in ((one, other), (other, one)):
            if twin.class_name != "normal":
                twins[image.image_id] = f"no lesion; but the same picture as {twin.image_id}"
    normals = (image for image in seen.images if image.class_name == "normal")
    return [LeftOut(item=image.image_id, reason=twins.get(image.image_id, "no lesion")) for image in normals]
