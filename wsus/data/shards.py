"""Decoded images in a store, cut into shards of a bounded size, for sets that no machine holds as a whole.

    shards/<name>/00000.npy     uint8 (n, H, W), written whole
                  00000.sha256  its digest: this shard is done
                  index.json    which rows each shard holds, and its digest: all are done

The name stands for the images' digest, the preprocessing and the cut, so that another study, or the same one resumed,
finds what is there. Writers do not lock each other out: the same name means the same bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsus.data.cache import Boxes, decode_input, name_of_inputs
from wsus.data.roi import CropConfig
from wsus.errors import StoreError
from wsus.storage import Store
from wsus.types import ImageRecord, Mode

Rows = NDArray[np.int64]
_REMEDY = "delete this folder and run the same line again: what lay there is decoded anew"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCut:
    """How records become shards. prefix: in the store.  rows: of each shard, ascending; positions among the records."""

    prefix: str
    rows: tuple[Rows, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSet:
    """Shards that are written. sums: the SHA-256 of each.  size_px: side of an image."""

    prefix: str
    rows: tuple[Rows, ...]
    sums: tuple[str, ...]
    size_px: int

    def __len__(self) -> int:
        return sum(map(len, self.rows))


def cut(
    records: Sequence[ImageRecord],
    crop: CropConfig,
    mode: Mode,
    *,
    digest: str,
    boxes: Boxes | None,
    per_shard: int,
    scattered: bool,
) -> ShardCut:
    """Divide records into shards of `per_shard` images, the last one smaller.

    Args:
        digest: of the manifest, so that changed files make other shards.
        scattered: each shard is a random part of the set, since manifests are often sorted by class; else rows in order.
    """
    count = len(records)
    rows = np.random.default_rng(0).permutation(count) if scattered else np.arange(count)
    name = name_of_inputs(records, crop, mode, digest, boxes, per_shard, scattered)
    parts = tuple(np.sort(rows[start : start + per_shard]).astype(np.int64) for start in range(0, count, per_shard))
    return ShardCut(prefix=f"shards/{name}", rows=parts)


def shard_sum(store: Store, prefix: str, number: int) -> str | None:
    """The digest of a shard that was written before; None where it was not."""
    key = f"{_key(prefix, number)}.sha256"
    return store.read_bytes(key).decode() if store.exists(key) else None


def write_shard(
    store: Store, prefix: str, number: int, records: Sequence[ImageRecord], crop: CropConfig, mode: Mode, boxes: Boxes | None
) -> str:
    """Decode the images of one shard and write it; returns its digest.

    Raises:
        DataError: an image or a mask cannot be used.  StoreError: the store cannot be written.
    """
    images_NHW = np.empty((len(records), crop.size_px, crop.size_px), dtype=np.uint8)
    for row, record in enumerate(records):
        _, _, images_NHW[row] = decode_input(record, crop, mode, boxes)
    buffer = io.BytesIO()
    np.save(buffer, images_NHW)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    store.write_bytes(f"{_key(prefix, number)}.npy", content)
    store.write_bytes(f"{_key(prefix, number)}.sha256", digest.encode())
    return digest


def write_index(store: Store, cut: ShardCut, sums: Sequence[str], size_px: int) -> ShardSet:
    """Say that all shards are written."""
    parts = [{"sha256": digest, "rows": rows.tolist()} for rows, digest in zip(cut.rows, sums, strict=True)]
    store.write_json(f"{cut.prefix}/index.json", {"size_px": size_px, "shards": parts})
    return ShardSet(prefix=cut.prefix, rows=cut.rows, sums=tuple(sums), size_px=size_px)


def read_index(store: Store, prefix: str) -> ShardSet | None:
    """The shards below a prefix; None where they are not all written. Raises StoreError where the index is damaged."""
    if not store.exists(f"{prefix}/index.json"):
        return None
    index = store.read_json(f"{prefix}/index.json")
    try:
        rows = tuple(np.array(part["rows"], dtype=np.int64) for part in index["shards"])
        sums = tuple(str(part["sha256"]) for part in index["shards"])
        return ShardSet(prefix=prefix, rows=rows, sums=sums, size_px=int(index["size_px"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{store.url(prefix)}/index.json: not an index of shards ({error!r}); {_REMEDY}") from error


def read_shard(store: Store, prefix: str, number: int, digest: str) -> NDArray[np.uint8]:
    """The images of a shard, verified.

    Raises:
        StoreError: it is missing, or has not this digest.
    """
    key, folder = f"{_key(prefix, number)}.npy", store.url(prefix)
    if not store.exists(key):
        raise StoreError(f"{folder}: the shard {number:05}.npy of decoded images is missing; {_REMEDY}")
    content = store.read_bytes(key)
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        raise StoreError(
            f"{folder}: the shard {number:05}.npy of decoded images is damaged (its SHA-256 is {found[:12]}..., the index says "
            f"{digest[:12]}...); {_REMEDY}"
        )
    images_NHW: NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
    return images_NHW


def read_shards(store: Store, shards: ShardSet, numbers: Sequence[int]) -> Generator[NDArray[np.uint8]]:
    """Shards one after the other, read by this process as they are asked for. Raises StoreError."""
    for number in numbers:
        yield read_shard(store, shards.prefix, number, shards.sums[number])


class ShardedArray:
    """Images of shards by their rows, as an array that is read when it is sliced, one shard in memory at a time."""

    def __init__(self, store: Store, shards: ShardSet) -> None:
        self._store, self._shards = store, shards
        self._number, self._images_NHW = -1, np.empty((0, 0, 0), dtype=np.uint8)
        self._shard_N, self._place_N = np.empty(len(shards), dtype=np.int64), np.empty(len(shards), dtype=np.int64)
        for number, rows in enumerate(shards.rows):
            self._shard_N[rows], self._place_N[rows] = number, np.arange(len(rows))

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        """Images (n, H, W). Raises StoreError."""
        shard_n, place_n = self._shard_N[rows], self._place_N[rows]
        found_NHW = np.empty((len(shard_n), self._shards.size_px, self._shards.size_px), dtype=np.uint8)
        for number in np.unique(shard_n):
            here = shard_n == number
            found_NHW[here] = self._shard(int(number))[place_n[here]]
        return found_NHW

    def _shard(self, number: int) -> NDArray[np.uint8]:
        if number != self._number:
            (self._images_NHW,), self._number = read_shards(self._store, self._shards, [number]), number
        return self._images_NHW


def _key(prefix: str, number: int) -> str:
    return f"{prefix}/{number:05}"
