"""Shards hold what the cache holds, each row once; a damaged, missing or unfinished one is never taken for whole."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsus.data.cache import open_cache
from wsus.data.roi import CropConfig
from wsus.data.shards import (
    ShardCut,
    ShardedArray,
    ShardSet,
    cut,
    read_index,
    read_shards,
    shard_sum,
    write_index,
    write_shard,
)
from wsus.errors import StoreError
from wsus.storage import FolderStore
from wsus.types import ImageRecord, Mode

CROP = CropConfig(size_px=32, margin_px=2)


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """Eleven images, the malignant ones last, as many manifests have them."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(11):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(1, 255, (40, 50), dtype=np.uint8)).save(path)
        made.append(ImageRecord(image_id=f"i{number}", patient_id=f"p{number}", path=path, label=int(number > 5)))
    return made


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def cut_of(records: list[ImageRecord], *, per_shard: int = 4, scattered: bool = True, digest: str = "d") -> ShardCut:
    return cut(records, CROP, Mode.WEAK, digest=digest, boxes=None, per_shard=per_shard, scattered=scattered)


def written(store: FolderStore, records: list[ImageRecord]) -> ShardSet:
    made = cut_of(records)
    sums = [
        write_shard(store, made.prefix, number, [records[row] for row in rows], CROP, Mode.WEAK, None)
        for number, rows in enumerate(made.rows)
    ]
    return write_index(store, made, sums, CROP.size_px)


def test_shards_hold_the_pixels_of_the_cache(store: FolderStore, records: list[ImageRecord], tmp_path: Path) -> None:
    images_NHW = open_cache(records, CROP, Mode.WEAK, digest="d", cache_dir=tmp_path / "c").images_NHW

    shards = written(store, records)

    assert [len(rows) for rows in shards.rows] == [4, 4, 3]
    assert sorted(np.concatenate(shards.rows)) == list(range(11))
    for rows, found_NHW in zip(shards.rows, read_shards(store, shards, [0, 1, 2]), strict=True):
        assert np.array_equal(found_NHW, images_NHW[rows])
    array = ShardedArray(store, shards)
    for part in (slice(None), slice(2, 9), slice(None, None, 3), slice(9, 40)):
        assert np.array_equal(array[part], images_NHW[part])


def test_an_index_is_read_as_it_was_written_and_only_when_all_is_done(store: FolderStore, records: list[ImageRecord]) -> None:
    made = cut_of(records)
    assert read_index(store, made.prefix) is None
    digest = write_shard(store, made.prefix, 1, [records[row] for row in made.rows[1]], CROP, Mode.WEAK, None)
    assert (shard_sum(store, made.prefix, 0), shard_sum(store, made.prefix, 1)) == (None, digest)
    assert read_index(store, made.prefix) is None

    shards = written(store, records)

    found = read_index(store, made.prefix)
    assert found is not None
    assert (found.sums, found.size_px, found.sums[1]) == (shards.sums, 32, digest)
    assert [rows.tolist() for rows in found.rows] == [rows.tolist() for rows in shards.rows]


def test_classes_are_mixed_over_shards_where_rows_are_scattered_and_left_in_order_where_not(records: list[ImageRecord]) -> None:
    labels = [{records[row].label for row in rows} for rows in cut_of(records).rows]
    assert all(found == {0, 1} for found in labels)
    assert [rows.tolist() for rows in cut_of(records, scattered=False).rows] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_the_name_follows_images_and_cut(records: list[ImageRecord]) -> None:
    base = cut_of(records).prefix
    others = [cut_of(records[1:]), cut_of(records, per_shard=5), cut_of(records, scattered=False), cut_of(records, digest="e")]
    assert cut_of(records).prefix == base
    assert len({base, *(other.prefix for other in others)}) == 5


def test_a_damaged_and_a_missing_shard_are_named_with_what_to_do(store: FolderStore, records: list[ImageRecord]) -> None:
    shards = written(store, records)
    content = bytearray(store.read_bytes(f"{shards.prefix}/00001.npy"))
    content[-1] ^= 1
    store.write_bytes(f"{shards.prefix}/00001.npy", bytes(content))
    store.delete(f"{shards.prefix}/00002.npy")

    assert len(list(read_shards(store, shards, [0]))) == 1
    with pytest.raises(StoreError, match=r"shards/weak-32px-\w+: the shard 00001\.npy .* damaged .* delete this folder and run"):
        list(read_shards(store, shards, [0, 1]))
    with pytest.raises(StoreError, match=r"the shard 00002\.npy of decoded images is missing; delete this folder and run"):
        list(read_shards(store, shards, [2]))


def test_a_damaged_index_is_named(store: FolderStore, records: list[ImageRecord]) -> None:
    shards = written(store, records)
    store.write_json(f"{shards.prefix}/index.json", {"shards": [{}]})
    with pytest.raises(StoreError, match=r"index\.json: not an index of shards .* delete this folder"):
        read_index(store, shards.prefix)
