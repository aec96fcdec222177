"""Images decoded, cropped and resized once, into one memory-mapped array that all trials of a machine share.

The array is a file in a cache folder; the kernel keeps its pages once for all processes, and drops them under
pressure, so a set larger than memory streams from disk. Building is guarded by a lock: the first process builds, the
others wait and map what it built.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from wsus.data import roi
from wsus.data.images import read_image, read_union_mask
from wsus.data.roi import CropConfig, CropGeometry
from wsus.errors import DataError, MaskError, StoreError
from wsus.storage import folder_built_beside
from wsus.types import BoxXyxyPx, GreyImage, ImageRecord, Mode

logger = logging.getLogger(__name__)
_VERSION = 3  # raise it when the same key would mean other pixels
Boxes = Mapping[str, BoxXyxyPx | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedInputs:
    """Network inputs of some records, in their order.

    images_NHW: uint8, memory-mapped.  masks_NHW: the lesion masks at the same geometry (0 or 1), where asked for.
    fallback: image ids for which no automatic ROI was found.
    """

    image_ids: tuple[str, ...]
    images_NHW: NDArray[np.uint8]
    masks_NHW: NDArray[np.uint8] | None
    geometries: tuple[CropGeometry, ...]
    fallback: frozenset[str]

    def rows(self, records: Sequence[ImageRecord]) -> NDArray[np.int64]:
        """The rows of some of the records."""
        position = {image_id: row for row, image_id in enumerate(self.image_ids)}
        return np.array([position[record.image_id] for record in records], dtype=np.int64)


def default_cache_dir() -> Path:
    """WSUS_CACHE_DIR, or the user's cache folder."""
    base = os.environ.get("WSUS_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "wsus"
    return Path(base).expanduser()


def open_cache(
    records: Sequence[ImageRecord],
    crop: CropConfig,
    mode: Mode,
    *,
    digest: str,
    boxes: Boxes | None = None,
    with_masks: bool = False,
    cache_dir: Path | None = None,
    workers: int = 2,
) -> CachedInputs:
    """Map the network inputs of these records, building them if this machine has not yet.

    Args:
        digest: of the manifest, so that changed files make a new cache.
        boxes: automatic ROIs by image id, None where none was found; needed for the mode auto_roi.
        with_masks: also the union of each image's masks at the same geometry (to train a U-Net).
    Raises:
        DataError: an image or a mask cannot be used.
        StoreError: the cache folder cannot be written, or has no room.
    """
    folder = (cache_dir or default_cache_dir()) / name_of_inputs(records, crop, mode, digest, boxes, with_masks)
    with locked(folder):
        if not folder.is_dir():
            _build(folder, records, crop, mode, boxes, with_masks, workers)
    return _open(folder)


def geometry_of(record: ImageRecord, image: GreyImage, crop: CropConfig, mode: Mode, box: BoxXyxyPx | None) -> CropGeometry:
    """The part of an image that a network of this mode sees; `box` is the automatic ROI, None for the whole image."""
    image_hw = (image.grey_HW.shape[0], image.grey_HW.shape[1])
    if mode is Mode.WEAK or (mode is Mode.AUTO_ROI and box is None):
        return roi.whole_image(image_hw, crop)
    if mode is Mode.AUTO_ROI:
        assert box is not None
        return roi.around_box(image_hw, box, crop)
    if not record.mask_paths:
        raise MaskError(f"{record.image_id}: has no mask, which the mode manual_roi needs; add mask_path, or use the mode 'weak'")
    return roi.around_mask(read_union_mask(record.mask_paths, image=image), crop, name=record.image_id)


def decode_input(
    record: ImageRecord, crop: CropConfig, mode: Mode, boxes: Boxes | None
) -> tuple[GreyImage, CropGeometry, NDArray[np.uint8]]:
    """A record's image, the part of it that a network of this mode sees, and that part as the network's input.

    Args:
        boxes: automatic ROIs by image id, None where none was found; needed for the mode auto_roi.
    Raises:
        DataError: the image or its mask cannot be used, or there are no boxes where they are needed.
    """
    if mode is Mode.AUTO_ROI and boxes is None:
        raise DataError("the mode auto_roi needs the boxes that a U-Net found; train it first")
    image = read_image(record.path, frame=record.frame)
    geometry = geometry_of(record, image, crop, mode, boxes.get(record.image_id) if boxes else None)
    return image, geometry, roi.extract(image.grey_HW, geometry)


def name_of_inputs(
    records: Sequence[ImageRecord], crop: CropConfig, mode: Mode, digest: str, boxes: Boxes | None, *more: object
) -> str:
    """A name that stands for the decoded inputs of these records; two sets of one name hold the same pixels."""
    ids = [record.image_id for record in records]
    parts = [_VERSION, digest, ids, asdict(crop), mode.value, sorted(boxes.items()) if boxes else None, *more]
    return f"{mode.value}-{crop.size_px}px-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]}"


def _build(
    folder: Path,
    records: Sequence[ImageRecord],
    crop: CropConfig,
    mode: Mode,
    boxes: Boxes | None,
    with_masks: bool,
    workers: int,
) -> None:
    shape = (len(records), crop.size_px, crop.size_px)
    _check_room(folder.parent, 2 * int(np.prod(shape)) if with_masks else int(np.prod(shape)))
    logger.info("decoding %d images for the mode %s into %s", len(records), mode.value, folder)
    with folder_built_beside(folder) as building:
        images_NHW = np.lib.format.open_memmap(building / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        masks_NHW = (
            np.lib.format.open_memmap(building / "masks.npy", mode="w+", dtype=np.uint8, shape=shape) if with_masks else None
        )

        def fill(row: int) -> CropGeometry:
            record = records[row]
            image, geometry, images_NHW[row] = decode_input(record, crop, mode, boxes)
            if masks_NHW is not None:
                mask_HW = read_union_mask(record.mask_paths, image=image)
                masks_NHW[row] = roi.extract(mask_HW.astype(np.uint8) * 255, geometry) >= 128
            return geometry

        with ThreadPoolExecutor(workers) as pool:  # Pillow decodes and resizes outside Python's lock
            geometries = list(pool.map(fill, range(len(records))))
        images_NHW.flush()
        fallback = (
            [r.image_id for r in records if boxes is not None and boxes.get(r.image_id) is None] if mode is Mode.AUTO_ROI else []
        )
        index = {
            "image_ids": [record.image_id for record in records],
            "geometries": [(g.source_hw, g.box_xyxy_px) for g in geometries],
            "size_px": crop.size_px,
            "fallback": fallback,
        }
        (building / "index.json").write_text(json.dumps(index))


def _open(folder: Path) -> CachedInputs:
    index = json.loads((folder / "index.json").read_text())
    masks = folder / "masks.npy"
    return CachedInputs(
        image_ids=tuple(index["image_ids"]),
        images_NHW=np.load(folder / "images.npy", mmap_mode="c"),
        masks_NHW=np.load(masks, mmap_mode="c") if masks.exists() else None,
        geometries=tuple(
            CropGeometry(source_hw=tuple(hw), box_xyxy_px=tuple(box), size_px=index["size_px"]) for hw, box in index["geometries"]
        ),
        fallback=frozenset(index["fallback"]),
    )


def _check_room(folder: Path, needed: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StoreError(
            f"{folder}: the cache folder cannot be made ({error.strerror}); set WSUS_CACHE_DIR to another"
        ) from error
    if free < needed * 1.05:
        raise StoreError(
            f"{folder}: {needed / 2**20:.0f} MiB are needed for decoded images, {free / 2**20:.0f} MiB are free; "
            "make room or set WSUS_CACHE_DIR to another folder"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold this machine's lock on a cached folder, so that one process builds it and the others wait. Raises StoreError."""
    with open_lock(folder) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def open_lock(folder: Path) -> IO[str]:
    """The open file whose lock stands for a cached folder, there or not. Raises StoreError."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return (folder.parent / f".{folder.name}.lock").open("a+")
    except OSError as error:
        raise StoreError(
            f"{folder.parent}: cannot be written ({error.strerror}); set WSUS_CACHE_DIR to another folder"
        ) from error
