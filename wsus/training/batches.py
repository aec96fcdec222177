"""Where training takes its batches from: a set that lies in memory, or one of which a pool of shards does.

Both draw an epoch's order from torch's generator, so that it follows from the epoch's seed alone; what is drawn does not
depend on how fast images come, nor on the machine. A set whose shards all fit into the pool has the order of a set in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Share = Callable[[int], slice]  # a worker's part of so many rows: `Group.share`
ReadShards = Callable[[Sequence[int]], Generator[NDArray[np.uint8]]]  # the images (n, H, W) of shards, one after the other


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochOrder:
    """In which order an epoch takes the rows of a set, each once.

    rows_N: int64.  shards: in which order they are read.  held: rows that are waited with at a time, at most.
    """

    rows_N: torch.Tensor
    shards: tuple[int, ...] = ()
    held: int = 0


class ImageSet(Protocol):
    """Labelled network inputs that are read a batch at a time. labels_N: 0 or 1, on the device."""

    @property
    def labels_N(self) -> torch.Tensor: ...  # noqa: N802

    def __len__(self) -> int: ...

    def draw_order(self) -> EpochOrder:
        """The order of an epoch, from torch's generator."""

    def read(self, order: EpochOrder, batches: Sequence[torch.Tensor], share: Share) -> Generator[torch.Tensor]:
        """This worker's share of each batch, uint8 (B, H, W) on the device. batches: the order's rows, one after the other."""

    def in_order(self, rows: slice, batch_size: int) -> Generator[torch.Tensor]:
        """Consecutive rows of the set, uint8 (B, H, W)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledImages:
    """A set in memory. images_NHW: uint8, memory-mapped or on the device; labels_N: 0 or 1."""

    images_NHW: torch.Tensor
    labels_N: torch.Tensor

    @classmethod
    def take(
        cls, images_NHW: NDArray[np.uint8], rows: NDArray[np.int64], labels: list[int], device: torch.device
    ) -> LabelledImages:
        """Rows of a cache. On a GPU they are copied to it once; on a CPU a contiguous run of rows is not copied at all."""
        contiguous = rows.size > 0 and bool((np.diff(rows) == 1).all())
        chosen = images_NHW[rows[0] : rows[-1] + 1] if contiguous else images_NHW[rows]
        return cls(images_NHW=torch.from_numpy(chosen).to(device), labels_N=torch.tensor(labels, dtype=torch.long, device=device))

    def __len__(self) -> int:
        return int(self.labels_N.shape[0])

    def draw_order(self) -> EpochOrder:
        """The order of an epoch, from torch's generator."""
        return EpochOrder(rows_N=torch.randperm(len(self)).to(self.labels_N.device))

    def read(self, order: EpochOrder, batches: Sequence[torch.Tensor], share: Share) -> Generator[torch.Tensor]:
        """This worker's share of each batch."""
        for rows_B in batches:
            yield self.images_NHW[rows_B[share(rows_B.numel())]]

    def in_order(self, rows: slice, batch_size: int) -> Generator[torch.Tensor]:
        """Consecutive rows of the set."""
        yield from self.images_NHW[rows].split(batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamedImages:
    """A set that is read shard by shard. At a time `pool` shards lie in memory, and what `read_shards` has fetched ahead.

    shards: the rows of each, ascending; together all rows of the set, each once.
    read_shards: asked with numbers of shards, gives their images in that order.
    """

    labels_N: torch.Tensor
    shards: Sequence[Rows]
    read_shards: ReadShards
    pool: int
    size_px: int

    def __len__(self) -> int:
        return int(self.labels_N.shape[0])

    def draw_order(self) -> EpochOrder:
        """Shards in random order, rows at random out of a pool of several shards."""
        return draw_order(self.shards, self.pool)

    def read(self, order: EpochOrder, batches: Sequence[torch.Tensor], share: Share) -> Generator[torch.Tensor]:
        """This worker's share of each batch; every worker of a group reads all shards. Raises what `read_shards` does."""
        with closing(_Pool(self, order)) as pool:
            for rows_B in batches:
                yield self._on_device(pool.take(rows_B.numpy())[share(rows_B.numel())])

    def in_order(self, rows: slice, batch_size: int) -> Generator[torch.Tensor]:
        """Consecutive rows of the set, which lie so in consecutive shards. Raises what `read_shards` does."""
        first, end, _ = rows.indices(len(self))
        ends = np.cumsum([len(shard) for shard in self.shards])
        wanted = [n for n, shard in enumerate(self.shards) if ends[n] > first and ends[n] - len(shard) < end]
        waiting_NHW = np.empty((0, self.size_px, self.size_px), dtype=np.uint8)
        if first == end:
            yield self._on_device(waiting_NHW)
            return
        row = int(ends[wanted[0]]) - len(self.shards[wanted[0]])
        with closing(self.read_shards(wanted)) as shards:
            for images_NHW in shards:
                waiting_NHW = np.concatenate([waiting_NHW, images_NHW[max(0, first - row) : end - row]])
                row += len(images_NHW)
                whole = len(waiting_NHW) // batch_size * batch_size
                for start in range(0, whole, batch_size):
                    yield self._on_device(waiting_NHW[start : start + batch_size])
                waiting_NHW = waiting_NHW[whole:]
        if len(waiting_NHW):
            yield self._on_device(waiting_NHW)

    def _on_device(self, images_BHW: NDArray[np.uint8]) -> torch.Tensor:
        """On a GPU the copy runs beside what the GPU computes."""
        images = torch.from_numpy(images_BHW)
        device = self.labels_N.device
        return images.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else images


class _Pool:
    """The images of an epoch that were read and not taken yet."""

    def __init__(self, images: StreamedImages, order: EpochOrder) -> None:
        self._images_PHW = np.empty((order.held, images.size_px, images.size_px), dtype=np.uint8)
        self._free = np.arange(order.held)
        self._place_N = np.full(len(images), -1)  # where a row lies
        self._rows = iter([images.shards[shard] for shard in order.shards])
        self._shards = images.read_shards(order.shards)

    def take(self, rows_B: Rows) -> NDArray[np.uint8]:
        """Images that then are in the pool no longer; reads on until they all have come."""
        taken_BHW = np.empty((len(rows_B), *self._images_PHW.shape[1:]), dtype=np.uint8)
        missing = np.arange(len(rows_B))
        while missing.size:
            places = self._place_N[rows_B[missing]]
            here = places >= 0
            taken_BHW[missing[here]] = self._images_PHW[places[here]]
            self._free = np.concatenate([self._free, places[here]])
            missing = missing[~here]
            if missing.size:
                self._put(next(self._rows), next(self._shards))
        return taken_BHW

    def close(self) -> None:
        """Read no further."""
        self._shards.close()

    def _put(self, rows: Rows, images_NHW: NDArray[np.uint8]) -> None:
        places, self._free = self._free[: len(rows)], self._free[len(rows) :]
        self._images_PHW[places] = images_NHW
        self._place_N[rows] = places


def draw_order(shards: Sequence[Rows], pool: int) -> EpochOrder:
    """Shards in random order; rows at random out of a pool of several shards, to which one is added whenever as many are taken.

    Args:
        shards: the rows of each.  pool: shards in the pool; where it holds them all, rows have the order of a set in memory.
    """
    if len(shards) <= pool:
        count = sum(map(len, shards))
        return EpochOrder(rows_N=torch.randperm(count), shards=tuple(range(len(shards))), held=count)
    in_order = torch.randperm(len(shards)).tolist()
    waiting = np.sort(np.concatenate([shards[shard] for shard in in_order[:pool]]))
    held, taken = len(waiting), []
    for shard in in_order[pool:]:
        waiting = waiting[torch.randperm(len(waiting)).numpy()]
        taken.append(waiting[: len(shards[shard])])
        waiting = np.concatenate([waiting[len(shards[shard]) :], shards[shard]])
        held = max(held, len(waiting))
    taken.append(waiting[torch.randperm(len(waiting)).numpy()])
    return EpochOrder(rows_N=torch.from_numpy(np.concatenate(taken)), shards=tuple(in_order), held=held)
