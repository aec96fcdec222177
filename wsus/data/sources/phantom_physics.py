"""From tissue and a lesion to a B-mode image: scatterers, point-spread function, attenuation, log compression.

Fully developed speckle is the magnitude of a circular complex Gaussian field that the scanner's point-spread function has
filtered (Wagner, Smith, Sandrik, Lopez, "Statistics of speckle in ultrasound B-scans", IEEE Trans. Sonics Ultrason. 1983).
At the pixel pitches used here the carrier turns through more than a cycle from one pixel to the next, so that the
demodulated scatterers have independent phases: the axial modulation is in the complex Gaussian, and the envelope is its
magnitude. Shadow and enhancement are the beam's excess loss or gain, summed along the path through the lesion.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsus.data.sources.phantom_lesion import LesionDescriptors, LesionShape
from wsus.types import GreyHW

FloatHW = NDArray[np.float32]

_SKIN_DB, _FAT_DB, _GLAND_DB, _MUSCLE_DB = 5.0, -9.0, 0.0, -8.0  # backscatter relative to glandular tissue
_NOISE_FLOOR_DB = -46.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanner:
    """What a device does to a picture.

    width_px, height_px: ranges of the image's sides.  axial_px, lateral_px: standard deviations of the point-spread
    function at the focus.  defocus: how much wider it is laterally at the image's far end.
    smoothing_px: of the device's speckle reduction, on the compressed echoes.  dynamic_range_db: what log
    compression maps to black..white.  gamma: of the grey curve.  mean_grey: the brightness that an operator sets the gain to
    (a share of white, with its spread), whatever the lesion is.  loss_db: attenuation from top to bottom that the time-gain
    compensation leaves.
    """

    name: str
    mm_per_px: float
    width_px: tuple[int, int]
    height_px: tuple[int, int]
    axial_px: float
    lateral_px: float
    defocus: float
    smoothing_px: float
    dynamic_range_db: float
    gamma: float
    mean_grey: tuple[float, float]
    loss_db: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """A patient's layers: thickness of skin and fat, and where the pectoral muscle begins (a share of the image's height)."""

    skin_mm: float
    fat_mm: float
    muscle_from: float


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Layers of one patient; they do not depend on the lesion."""
    return Anatomy(skin_mm=rng.uniform(1.2, 2.2), fat_mm=rng.uniform(2.5, 7.0), muscle_from=rng.uniform(0.66, 0.86))


def smooth_noise(rng: np.random.Generator, image_hw: tuple[int, int], scale_yx_px: tuple[float, float]) -> FloatHW:
    """Noise of about unit variance whose details are about `scale_yx_px` large, shape (H, W)."""
    grid = [max(2, round(side / scale)) + 3 for side, scale in zip(image_hw, scale_yx_px, strict=True)]
    coarse_HW = rng.standard_normal(grid, dtype=np.float32)
    return _zoomed(coarse_HW, image_hw) / np.float32(0.75)  # interpolation between the grid's points averages them


def tissue_db(anatomy: Anatomy, rng: np.random.Generator, *, image_hw: tuple[int, int], mm_per_px: float) -> FloatHW:
    """Backscatter of a breast without a lesion, in dB relative to glandular tissue, shape (H, W).

    Drawn at half the resolution, which its layers do not need more of.
    """
    half_hw = ((image_hw[0] + 1) // 2, (image_hw[1] + 1) // 2)
    return _zoomed(_layers_db(anatomy, rng, half_hw, 0.5 / mm_per_px), image_hw)


def _layers_db(anatomy: Anatomy, rng: np.random.Generator, image_hw: tuple[int, int], per_mm: float) -> FloatHW:
    height, width = image_hw
    row_H1 = np.arange(height, dtype=np.float32)[:, None]
    skin_W = anatomy.skin_mm * per_mm + _wave(rng, width, 0.1 * per_mm)
    fat_W = skin_W + anatomy.fat_mm * per_mm + _wave(rng, width, 0.8 * per_mm)
    muscle_W = (
        anatomy.muscle_from * height
        + rng.uniform(-0.12, 0.12) * (np.arange(width, dtype=np.float32) - width / 2)
        + _wave(rng, width, 0.5 * per_mm)
    )
    fat_HW = (
        _FAT_DB
        + 2.0 * smooth_noise(rng, image_hw, (1.6 * per_mm, 4.0 * per_mm))
        + 14.0 * _ridges(smooth_noise(rng, image_hw, (2.2 * per_mm, 7.0 * per_mm)), 0.12)
    )
    gland_HW = (
        _GLAND_DB
        + 3.2 * smooth_noise(rng, image_hw, (0.8 * per_mm, 3.5 * per_mm))
        + 2.2 * smooth_noise(rng, image_hw, (3.0 * per_mm, 7.0 * per_mm))
        + 8.0 * _ridges(smooth_noise(rng, image_hw, (2.2 * per_mm, 11.0 * per_mm)), 0.12)
    )
    muscle_HW = _MUSCLE_DB + 5.0 * smooth_noise(rng, image_hw, (0.7 * per_mm, 14.0 * per_mm))
    below_skin, below_fat, in_muscle = (_step(row_H1 - edge_W, 0.22 * per_mm) for edge_W in (skin_W, fat_W, muscle_W))
    result_HW = _SKIN_DB + below_skin * (fat_HW - _SKIN_DB) + below_fat * (gland_HW - fat_HW) + in_muscle * (muscle_HW - gland_HW)
    result_HW += 7.0 * _bump(row_H1 - skin_W, 0.18 * per_mm) + 3.0 * _bump(row_H1 - fat_W, 0.25 * per_mm)
    result_HW += 9.0 * _bump(row_H1 - muscle_W, 0.3 * per_mm)  # the fascia
    return result_HW.astype(np.float32)


def add_lesion(
    tissue_HW: FloatHW, shape: LesionShape, descriptors: LesionDescriptors, rng: np.random.Generator, *, mm_per_px: float
) -> FloatHW:
    """Backscatter in dB with the lesion in place of the tissue and its halo around it, shape (H, W)."""
    image_hw = (tissue_HW.shape[0], tissue_HW.shape[1])
    edge_px = (0.08 + 1.2 * descriptors.irregularity) / mm_per_px  # an irregular margin is also a blurred one
    inside_HW = _step(shape.depth_px_HW, edge_px)
    texture_HW = 1.5 * smooth_noise(rng, image_hw, (1.2 / mm_per_px, 1.8 / mm_per_px))
    rim_HW = _bump(shape.depth_px_HW + 0.9 / mm_per_px, 0.8 / mm_per_px)
    lesion_HW = np.float32(descriptors.echogenicity_db) + texture_HW
    return tissue_HW + inside_HW * (lesion_HW - tissue_HW) + descriptors.halo_db * rim_HW * (1 - inside_HW)


def beam_db(shape: LesionShape, descriptors: LesionDescriptors, scanner: Scanner, rng: np.random.Generator) -> FloatHW:
    """What the beam has gained or lost on its way to each pixel, in dB, shape (H, W).

    Attenuation with depth, the lesion's excess along its path (shadow or enhancement), and now and then a part of the
    probe with poor contact, which has nothing to do with the lesion.
    """
    height, width = shape.mask_HW.shape
    path_HW = np.cumsum(shape.mask_HW, axis=0, dtype=np.float32)
    share_HW = ndimage.gaussian_filter1d(path_HW / path_HW.max(), 0.5 / scanner.mm_per_px, axis=1)
    depth_H1 = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    loss_db = scanner.loss_db * rng.uniform(0.6, 1.3)
    contact_W = np.zeros(width, dtype=np.float32)
    if rng.random() < 0.3:
        distance_W = np.abs(np.arange(width, dtype=np.float32) - rng.uniform(0, width)) * scanner.mm_per_px
        contact_W = rng.uniform(2, 7) * _step(rng.uniform(1.5, 3.5) - distance_W, 1.5)
    return descriptors.posterior_db * share_HW - loss_db * depth_H1 - contact_W * np.minimum(1, 3 * depth_H1)


def envelope_db(level_HW: FloatHW, scanner: Scanner, rng: np.random.Generator) -> FloatHW:
    """Speckle: the envelope in dB of scatterers with mean echo `level_HW` (dB) seen through the point-spread function.

    The lateral width is smallest at the focus; between the focal and the widest width the field is blended by depth.
    """
    power_HW = np.exp(level_HW * np.float32(log(10) / 10)) + np.float32(
        10 ** (_NOISE_FLOOR_DB / 10)
    )  # electronic noise adds in power
    field_2HW = rng.standard_normal((2, *level_HW.shape), dtype=np.float32)
    field_2HW *= np.sqrt(power_HW / 2)
    field_2HW = _unit_gain_filter(field_2HW, scanner.axial_px, axis=1)
    depth_H = np.linspace(0, 1, level_HW.shape[0], dtype=np.float32)
    wide_H1 = np.clip(np.abs(depth_H - rng.uniform(0.3, 0.5)) / 0.6, 0, 1)[:, None]
    focal_2HW = _unit_gain_filter(field_2HW, scanner.lateral_px, axis=2)
    far_2HW = _unit_gain_filter(field_2HW, scanner.lateral_px * scanner.defocus, axis=2)
    focal_2HW += wide_H1 * (far_2HW - focal_2HW)
    focal_2HW *= focal_2HW
    echo_HW = np.float32(10 / log(10)) * np.log(focal_2HW[0] + focal_2HW[1] + np.float32(1e-6))
    return ndimage.gaussian_filter(echo_HW, scanner.smoothing_px, truncate=3.0)


def compress(echo_HW: FloatHW, scanner: Scanner, rng: np.random.Generator) -> GreyHW:
    """Log-compressed echoes as grey levels, uint8, shape (H, W).

    The gain is turned until the picture has the brightness that the operator likes, so that brightness says nothing
    about the lesion.
    """
    wanted = float(np.clip(rng.normal(*scanner.mean_grey), 0.12, 0.6))
    range_db = scanner.dynamic_range_db * rng.uniform(0.92, 1.08)
    sample = np.ascontiguousarray(echo_HW[::4, ::4])
    low, high = -60.0, 120.0
    for _ in range(14):
        gain_db = (low + high) / 2
        too_bright = _grey(sample, gain_db, range_db, scanner.gamma).mean() > wanted
        low, high = (low, gain_db) if too_bright else (gain_db, high)
    return (255 * _grey(echo_HW, gain_db, range_db, scanner.gamma) + 0.5).astype(np.uint8)


def _grey(echo_HW: FloatHW, gain_db: float, range_db: float, gamma: float) -> FloatHW:
    return np.clip((echo_HW + np.float32(gain_db)) / np.float32(range_db), 0, 1) ** np.float32(gamma)


def _zoomed(coarse_HW: FloatHW, image_hw: tuple[int, int]) -> FloatHW:
    image = Image.fromarray(coarse_HW).resize((image_hw[1], image_hw[0]), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def _unit_gain_filter(field: NDArray[np.float32], sigma_px: float, *, axis: int) -> NDArray[np.float32]:
    """A Gaussian filter that keeps the variance of white noise: sum of squared weights = 1 / (2 sigma sqrt pi)."""
    filtered = ndimage.gaussian_filter1d(field, sigma_px, axis=axis, mode="reflect", truncate=3.0)
    return filtered * np.float32(sqrt(2 * sigma_px * sqrt(pi)))


def _wave(rng: np.random.Generator, width: int, amplitude_px: float) -> FloatHW:
    waves = sum(rng.normal() / k * np.sin(pi * k * np.arange(width) / width + rng.uniform(0, 2 * pi)) for k in range(1, 6))
    return np.asarray(amplitude_px * waves, dtype=np.float32)


def _step(distance: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    return np.clip(0.5 + distance / np.float32(2 * width), 0, 1)


def _bump(distance: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    return np.exp(-((distance / np.float32(width)) ** 2))


def _ridges(noise_HW: FloatHW, width: float) -> FloatHW:
    """Thin lines where smooth noise crosses zero: septa and fibrous bands."""
    return _bump(noise_HW, width)
