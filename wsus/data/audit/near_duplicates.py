"""Find images that show the same picture: copies, other crops, other annotations, neighbouring frames of one sweep.

Ultrasound images of different women look alike when they are small (bright above, dark below), so brightness says
little. What two exposures of the same tissue share is their speckle and tissue texture: each image is reduced to its
fine structure (a band-pass), and the similarity of a pair is the highest normalised cross-correlation of the fine
structure over shifts and scales. Looked at by eye on BUSI and BUS-BRA: from 0.7 on, pairs are the same picture; from 0.35
to 0.7, other frames of the same lesion; no pair of different women reached 0.35.
A crop that takes away more than about a tenth of a side may be missed, as is a mirrored copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wsus.errors import ConfigError
from wsus.types import GreyHW

_THUMB_PX = 32
_COARSE_PX, _COARSE_SIGMA_PX, _COARSE_PAD_PX = 64, 2.0, 108
_COARSE_SCALES = (0.85, 0.92, 1.0, 1.085, 1.18)  # the coarse structure tolerates 4 % of mismatch
_FINE_PX, _FINE_SIGMA_PX = 128, 3.0
_FINE_STEPS = (0.973, 1.0, 1.027)  # around the best coarse scale
_FINE_REACH_PX = 8  # how far a coarse shift may be off
_LEAST_OVERLAP = 0.5
_CLIP_SD = 3.0  # calipers and text are much brighter than tissue and would outweigh it

NEARLY_IDENTICAL = 0.86  # at or above it, two images differ in little but their annotations; a grade for reports

Float32HW = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicateConfig:
    """What counts as the same picture.

    threshold: least similarity of a pair, in (0, 1]. 0.45 takes neighbouring frames too.
    candidate_threshold: least correlation of the thumbnails for a pair to be looked at closely.
    partners: an image is compared closely with so many candidates at most, the most alike first.
    """

    threshold: float = 0.45
    candidate_threshold: float = 0.5
    partners: int = 20

    def __post_init__(self) -> None:
        for name in ("threshold", "candidate_threshold"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must lie in (0, 1]; got {getattr(self, name)}")
        if self.partners < 1:
            raise ConfigError(f"partners must be at least 1; got {self.partners}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """What is kept of an image: fine structure of a thumbnail, float32 (32 * 32,), and the image at 128 px, uint8 (h, w)."""

    thumb: NDArray[np.float32]
    small_HW: GreyHW


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicate:
    """Two images that show the same picture, by their positions; first < second. similarity: in (0, 1]."""

    first: int
    second: int
    similarity: float


def fingerprint(image_HW: GreyHW) -> Fingerprint:
    """Reduce an image, uint8 (H, W), to what the comparison needs (about 17 kB)."""
    thumb_HW = np.asarray(
        Image.fromarray(image_HW).resize((_THUMB_PX, _THUMB_PX), Image.Resampling.BOX), dtype=np.float32
    )  # stretched to a square: another crop moves the content by little
    fine_HW = ndimage.gaussian_filter(thumb_HW - ndimage.gaussian_filter(thumb_HW, 4.0), 0.7)
    return Fingerprint(thumb=_unit(fine_HW - fine_HW.mean()).ravel(), small_HW=np.asarray(_scaled(image_HW, _FINE_PX)))


def find_near_duplicates(
    fingerprints: Sequence[Fingerprint], config: NearDuplicateConfig = NearDuplicateConfig()
) -> tuple[NearDuplicate, ...]:
    """All pairs of the same picture, the most similar first.

    Thumbnails propose candidates; shift and scale are found at 64 px; the similarity is measured at 128 px.
    """
    candidates = _candidates(fingerprints, config)
    spectra = {
        k: _spectrum(_structure(fingerprints[k].small_HW, _COARSE_PX, _COARSE_SIGMA_PX)) for pair in candidates for k in pair
    }
    by_first: dict[int, list[int]] = {}
    for first, second in candidates:
        by_first.setdefault(first, []).append(second)

    def closely(first: int) -> list[NearDuplicate]:
        anchors = np.stack(
            [
                _spectrum(_structure(fingerprints[first].small_HW, round(_COARSE_PX * scale), _COARSE_SIGMA_PX))
                for scale in _COARSE_SCALES
            ]
        )
        found = []
        for second in by_first[first]:
            correlation_SHW = fft.irfft2(anchors * spectra[second].conj(), (_COARSE_PAD_PX, _COARSE_PAD_PX))
            best = int(correlation_SHW.max(axis=(1, 2)).argmax())
            if correlation_SHW[best].max() < config.threshold / 2:  # parts that do not overlap lower this first look
                continue
            shift_yx = _peak_yx(correlation_SHW[best], reach_px=_COARSE_PX)
            similarity = _similarity(fingerprints[first], fingerprints[second], _COARSE_SCALES[best], shift_yx)
            if similarity >= config.threshold:
                found.append(NearDuplicate(first=first, second=second, similarity=similarity))
        return found

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        pairs = [pair for found in pool.map(closely, sorted(by_first)) for pair in found]
    return tuple(sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second)))


def group_near_duplicates(number: int, pairs: Iterable[NearDuplicate]) -> list[tuple[int, ...]]:
    """Join pairs into groups: if a resembles b and b resembles c, all three are one group.

    Args:
        number: how many images there are.
    Returns:
        Every image's position in exactly one group, alone or not; groups ordered by their first image.
    """
    edges = [(pair.first, pair.second) for pair in pairs]
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(edges), dtype=np.int8), (rows, columns)), shape=(number, number))
    groups: dict[int, list[int]] = {}
    for position, group in enumerate(connected_components(graph, directed=False)[1].tolist()):
        groups.setdefault(group, []).append(position)
    return sorted(tuple(group) for group in groups.values())


def _candidates(fingerprints: Sequence[Fingerprint], config: NearDuplicateConfig) -> list[tuple[int, int]]:
    """Pairs whose thumbnails correlate, block by block, so that memory stays linear in the number of images."""
    if len(fingerprints) < 2:
        return []
    thumbs_NP = np.stack([f.thumb for f in fingerprints])
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(thumbs_NP), 256):
        alike_BN = thumbs_NP[start : start + 256] @ thumbs_NP.T
        alike_BN[np.arange(len(alike_BN)), start + np.arange(len(alike_BN))] = -1.0  # itself
        most = min(config.partners, alike_BN.shape[1] - 1)
        best_BK = np.argpartition(-alike_BN, most - 1, axis=1)[:, :most]
        rows, ranks = np.nonzero(np.take_along_axis(alike_BN, best_BK, axis=1) >= config.candidate_threshold)
        for row, column in zip((start + rows).tolist(), best_BK[rows, ranks].tolist(), strict=True):
            pairs.add((min(row, column), max(row, column)))
    return sorted(pairs)


def _similarity(first: Fingerprint, second: Fingerprint, scale: float, shift_yx: tuple[int, int]) -> float:
    """Highest correlation of the fine structure near one scale and one shift (of the coarse images)."""
    still_HW = _structure(second.small_HW, _FINE_PX, _FINE_SIGMA_PX)
    ratio = _FINE_PX // _COARSE_PX
    start_yx = (shift_yx[0] * ratio, shift_yx[1] * ratio)
    peak = 0.0
    for step in _FINE_STEPS:
        moved_HW = _structure(first.small_HW, round(_FINE_PX * scale * step), _FINE_SIGMA_PX)
        overlaps = _overlaps(moved_HW, still_HW, start_yx)
        if overlaps is None:
            continue
        spectra = fft.rfft2(np.stack(overlaps))
        rest_yx = _peak_yx(fft.irfft2(spectra[0] * spectra[1].conj(), overlaps[0].shape), reach_px=_FINE_REACH_PX)
        overlaps = _overlaps(moved_HW, still_HW, (start_yx[0] + rest_yx[0], start_yx[1] + rest_yx[1]))
        if overlaps is not None:
            peak = max(peak, float(np.vdot(_unit(overlaps[0]), _unit(overlaps[1]))))
    return min(peak, 1.0)


def _overlaps(a_HW: Float32HW, b_HW: Float32HW, shift_yx: tuple[int, int]) -> tuple[Float32HW, Float32HW] | None:
    """What a and b share when a[y + dy, x + dx] lies on b[y, x]; None where that is less than half of the smaller."""
    (dy, dx), (height, width) = shift_yx, b_HW.shape
    y0, x0 = max(0, -dy), max(0, -dx)
    y1, x1 = min(height, a_HW.shape[0] - dy), min(width, a_HW.shape[1] - dx)
    if y1 <= y0 or x1 <= x0 or (y1 - y0) * (x1 - x0) < _LEAST_OVERLAP * min(a_HW.size, b_HW.size):
        return None
    return a_HW[y0 + dy : y1 + dy, x0 + dx : x1 + dx], b_HW[y0:y1, x0:x1]


def _peak_yx(correlation_HW: Float32HW, *, reach_px: int) -> tuple[int, int]:
    """Where a circular correlation is highest, among shifts of at most `reach_px`, as signed (dy, dx)."""
    centred_HW = fft.fftshift(correlation_HW)
    cy, cx = centred_HW.shape[0] // 2, centred_HW.shape[1] // 2
    y0, x0 = max(cy - reach_px, 0), max(cx - reach_px, 0)
    window_HW = centred_HW[y0 : cy + reach_px + 1, x0 : cx + reach_px + 1]
    y, x = divmod(int(window_HW.argmax()), window_HW.shape[1])
    return y0 + y - cy, x0 + x - cx


def _structure(image_HW: GreyHW, longest_px: int, sigma_px: float) -> Float32HW:
    small_HW = np.asarray(_scaled(image_HW, longest_px), dtype=np.float32)
    fine_HW = small_HW - ndimage.gaussian_filter(small_HW, sigma_px)
    limit = _CLIP_SD * float(fine_HW.std())
    return np.clip(fine_HW, -limit, limit)


def _scaled(image_HW: GreyHW, longest_px: int) -> GreyHW:
    height, width = image_HW.shape
    factor = longest_px / max(height, width)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return np.asarray(Image.fromarray(image_HW).resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR))


def _spectrum(structure_HW: Float32HW) -> NDArray[np.complex64]:
    return fft.rfft2(_unit(structure_HW), (_COARSE_PAD_PX, _COARSE_PAD_PX))


def _unit(array_HW: Float32HW) -> Float32HW:
    return array_HW / np.float32(max(float(np.linalg.norm(array_HW)), 1e-6))
