"""Batches of a set that is streamed: those of a set in memory where the pool holds it, and an order that repeats where not."""

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsus.nets.cam_net import CamNet, NetConfig
from wsus.training.batches import ImageSet, LabelledImages, StreamedImages, draw_order
from wsus.training.classifier import EpochReport, Fit
from wsus.training.config import AugmentConfig, TrainConfig
from wsus.training.group import ALONE, Group

CPU = torch.device("cpu")
SIDE = 32


class Shards:
    """Shards of some images, and how many of those that were asked for have been read."""

    def __init__(self, images_NHW: NDArray[np.uint8], rows: Sequence[NDArray[np.int64]]) -> None:
        self.images_NHW, self.rows = images_NHW, rows
        self.read: list[int] = []
        self.closed = 0

    def __call__(self, numbers: Sequence[int]) -> Generator[NDArray[np.uint8]]:
        try:
            for number in numbers:
                self.read.append(number)
                yield self.images_NHW[self.rows[number]]
        finally:
            self.closed += 1


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(1, 255, (count, SIDE, SIDE), dtype=np.uint8)


def scattered(count: int, size: int) -> list[NDArray[np.int64]]:
    """Rows in shards of a size, the last one smaller."""
    rows = np.random.default_rng(9).permutation(count)
    return [np.sort(rows[start : start + size]) for start in range(0, count, size)]


def streamed(images_NHW: NDArray[np.uint8], rows: Sequence[NDArray[np.int64]], pool: int) -> tuple[StreamedImages, Shards]:
    shards = Shards(images_NHW, rows)
    labels = torch.arange(len(images_NHW)) % 2
    return StreamedImages(labels_N=labels, shards=rows, read_shards=shards, pool=pool, size_px=SIDE), shards


def in_memory(images_NHW: NDArray[np.uint8]) -> LabelledImages:
    count = len(images_NHW)
    return LabelledImages.take(images_NHW, np.arange(count), [number % 2 for number in range(count)], CPU)


def trained(train: ImageSet, development: ImageSet) -> tuple[list[EpochReport], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    net = CamNet(NetConfig(backbone="vgg16", width=0.125))
    fit = Fit(net, train, development, TrainConfig(epochs=2, batch_size=8, augment=AugmentConfig()), seed=3, device=CPU)
    return [replace(report, train_s=0, data_wait_s=0) for report in fit], fit.net.state_dict()


def test_a_pool_that_holds_all_shards_gives_the_weights_of_a_set_in_memory_to_the_bit() -> None:
    train_NHW, development_NHW = pictures(26), pictures(21, seed=1)
    expected, weights = trained(in_memory(train_NHW), in_memory(development_NHW))

    train, shards = streamed(train_NHW, scattered(26, 7), pool=4)
    development, _ = streamed(development_NHW, np.array_split(np.arange(21), 4), pool=1)
    found, others = trained(train, development)

    assert found == expected
    assert all(torch.equal(value, others[name]) for name, value in weights.items())
    assert shards.closed == 4  # two epochs, and the batch statistics after each


@pytest.mark.parametrize(("count", "size", "pool", "batch"), [(100, 10, 3, 8), (103, 10, 1, 16), (64, 20, 2, 33), (7, 1, 3, 2)])
def test_order_image_comes_once_with_its_own_row_and_few_are_held(count: int, size: int, pool: int, batch: int) -> None:
    images_NHW = pictures(count)
    images, shards = streamed(images_NHW, scattered(count, size), pool)
    torch.manual_seed(1)
    order = images.draw_order()
    batches = order.rows_N.split(batch)

    came = 0
    for rows_B, images_BHW in zip(batches, images.read(order, batches, ALONE.share), strict=True):
        assert np.array_equal(images_BHW.numpy(), images_NHW[rows_B.numpy()])
        came += len(rows_B)
        assert sum(len(shards.rows[shard]) for shard in shards.read) - came <= pool * size  # no shard is read too early
    assert sorted(order.rows_N.tolist()) == list(range(count))
    assert order.held <= pool * size
    assert shards.read == list(order.shards)
    assert sorted(shards.read) == list(range(len(shards.rows)))


def test_the_order_follows_from_the_seed_alone_and_mixes_neighbours() -> None:
    shards = scattered(1000, 50)

    def order(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return list(map(int, draw_order(shards, 4).rows_N))

    assert order(1) == order(1) != order(2)
    first = order(1)[:50]
    assert len({next(n for n, rows in enumerate(shards) if row in rows) for row in first}) == 4  # of all shards of the pool
    assert first != sorted(first)


def test_workers_take_their_shares_of_the_same_batches() -> None:
    images_NHW = pictures(40)
    parts = []
    for rank in range(3):
        images, _ = streamed(images_NHW, scattered(40, 9), pool=2)
        torch.manual_seed(5)
        order = images.draw_order()
        batches = order.rows_N.split(8)
        parts.append(list(images.read(order, batches, Group(rank=rank, size=3).share)))
    for rows_B, *shares in zip(batches, *parts, strict=True):
        assert np.array_equal(torch.cat(shares).numpy(), images_NHW[rows_B.numpy()])


@pytest.mark.parametrize("rows", [slice(None), slice(0, 9), slice(9, 31), slice(10, 20), slice(30, 40), slice(5, 5)])
def test_rows_in_order_are_those_of_a_set_in_memory_in_the_same_batches(rows: slice) -> None:
    images_NHW = pictures(40)
    images, shards = streamed(images_NHW, np.array_split(np.arange(40), 4), pool=1)
    expected = [batch.numpy() for batch in in_memory(images_NHW).in_order(rows, 7)]
    found = [batch.numpy() for batch in images.in_order(rows, 7)]
    assert len(found) == len(expected)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    if rows == slice(10, 20):
        assert shards.read == [1]  # no shard that holds none of them


def test_reading_ends_where_training_does() -> None:
    images, shards = streamed(pictures(40), scattered(40, 5), pool=1)
    order = images.draw_order()
    reading = images.read(order, order.rows_N.split(4), ALONE.share)
    next(reading)
    reading.close()
    assert (len(shards.read), shards.closed) == (1, 1)
