"""The lesion of a phantom: BI-RADS descriptors that overlap between the classes, and the shape they give.

Each descriptor is a monotone function of a latent z ~ N(mean, 1), with mean 0 for benign and `SEPARATION[descriptor]` for
malignant lesions. So the best classifier of the descriptors is a linear one, and its AUC is known in closed form:
AUC = Phi(d / sqrt 2), d^2 = sum of the squared separations (`best_auc`). No image can be read better than that.

The descriptors are those of the BI-RADS ultrasound lexicon (ACR BI-RADS Atlas, 5th edition, 2013): orientation, margin,
echo pattern, posterior features, echogenic rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsus.types import MaskHW

# How far the classes lie apart in each descriptor, in standard deviations.
SEPARATION = {
    "height_to_width": 1.3,
    "irregularity": 1.2,
    "spiculation": 1.0,
    "echogenicity_db": 0.5,
    "posterior_db": 1.5,
    "halo_db": 0.6,
}
WITHIN_PATIENT_SD = 0.25  # how far two views of one lesion differ, in the same unit
_OUTLINE_ANGLES = 720


@dataclass(frozen=True, kw_only=True, slots=True)
class LesionDescriptors:
    """How one lesion looks in one image.

    diameter_mm, tilt_rad: of the ellipse under the outline; the same distribution in both classes.
    height_to_width: above 1 is "not parallel".
    irregularity: root mean square of the outline's waves, as a share of the radius.
    spiculation: length of the spicules, as a share of the radius.
    echogenicity_db: the interior's backscatter relative to glandular tissue.
    posterior_db: what the beam gained (enhancement, positive) or lost (shadow, negative) behind the thickest part.
    halo_db: how much brighter the rim is than the tissue.
    """

    diameter_mm: float
    tilt_rad: float
    height_to_width: float
    irregularity: float
    spiculation: float
    echogenicity_db: float
    posterior_db: float
    halo_db: float

    def features(self) -> NDArray[np.float64]:
        """The class-related descriptors in the order of `SEPARATION`, shape (6,), on the scale on which they are normal."""
        return np.array(
            [
                log(self.height_to_width),
                log(self.irregularity),
                log(self.spiculation),
                self.echogenicity_db,
                self.posterior_db,
                log(self.halo_db),
            ]
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesion:
    """A lesion as a patient has it: the latent behind each descriptor, its size and its lean."""

    label: int
    latent_D: NDArray[np.float64]
    diameter_mm: float
    tilt_rad: float

    def log_odds(self) -> float:
        """Of malignancy given the latents, with equally frequent classes: sum of mean * z - mean^2 / 2."""
        mean_D = np.array(list(SEPARATION.values()))
        return float(mean_D @ self.latent_D - mean_D @ mean_D / 2)

    def view(self, rng: np.random.Generator) -> LesionDescriptors:
        """The descriptors in one image of the lesion: those of the patient with a small variation."""
        z = self.latent_D + WITHIN_PATIENT_SD * rng.standard_normal(self.latent_D.size)
        return LesionDescriptors(
            diameter_mm=self.diameter_mm * exp(0.05 * rng.standard_normal()),
            tilt_rad=self.tilt_rad + 0.08 * rng.standard_normal(),
            height_to_width=float(np.clip(0.58 * exp(0.24 * z[0]), 0.42, 1.7)),
            irregularity=float(np.clip(0.035 * exp(0.65 * z[1]), 0.006, 0.25)),
            spiculation=float(np.clip(0.09 * exp(0.75 * z[2]), 0.01, 0.75)),
            echogenicity_db=float(np.clip(-12.0 - 2.5 * z[3], -26.0, -5.0)),
            posterior_db=float(np.clip(6.0 - 7.0 * z[4], -26.0, 20.0)),
            halo_db=float(np.clip(1.2 * exp(0.55 * z[5]), 0.2, 9.0)),
        )


def draw_lesion(label: int, rng: np.random.Generator) -> Lesion:
    """A patient's lesion; label 1 malignant, 0 benign."""
    mean_D = label * np.array(list(SEPARATION.values()))
    return Lesion(
        label=label,
        latent_D=mean_D + rng.standard_normal(mean_D.size),
        diameter_mm=float(np.clip(10.3 * exp(0.14 * rng.standard_normal()), 7.5, 13.5)),
        tilt_rad=float(rng.normal(0.0, 0.18)),
    )


def best_auc(*, of_views: bool = False) -> float:
    """The AUC of the best classifier of a patient's latents, or of the descriptors in one view (which vary a little more)."""
    distance = sqrt(sum(mean**2 for mean in SEPARATION.values()))
    if of_views:
        distance /= sqrt(1 + WITHIN_PATIENT_SD**2)
    return NormalDist().cdf(distance / sqrt(2))


@dataclass(frozen=True, kw_only=True, slots=True)
class LesionShape:
    """Where a lesion lies in an image.

    mask_HW: the support, without the halo; one connected component.
    depth_px_HW: float32, about how far inside the outline a pixel lies, in pixels; negative outside.
    """

    mask_HW: MaskHW
    depth_px_HW: NDArray[np.float32]


def outline(descriptors: LesionDescriptors, rng: np.random.Generator) -> NDArray[np.float64]:
    """The radius at evenly spaced angles from 0 to 2 pi, relative to the ellipse's; shape (720,).

    An ellipse with waves (lobulated, irregular) and tent-shaped spikes (spiculated, angular).
    """
    angle_N = np.arange(_OUTLINE_ANGLES) * (2 * pi / _OUTLINE_ANGLES)
    orders_K = np.arange(3, 10)
    waves_KN = np.cos(orders_K[:, None] * angle_N + rng.uniform(0, 2 * pi, orders_K.size)[:, None])
    wave_N = (rng.normal(size=orders_K.size) / orders_K**0.6) @ waves_KN
    radius_N = 1 + descriptors.irregularity * wave_N / wave_N.std()
    for _ in range(int(rng.integers(7, 13))):
        offset_N = np.abs((angle_N - rng.uniform(0, 2 * pi) + pi) % (2 * pi) - pi)
        length, half_width = descriptors.spiculation * rng.uniform(0.5, 1.5), rng.uniform(0.10, 0.20)
        radius_N = radius_N + length * np.clip(1 - offset_N / half_width, 0, None)
    return np.clip(radius_N, 0.4, 1.75)


def place(
    descriptors: LesionDescriptors,
    rng: np.random.Generator,
    *,
    image_hw: tuple[int, int],
    center_xy_px: tuple[float, float],
    mm_per_px: float,
) -> LesionShape:
    """Draw the lesion's outline into an image of (H, W) around a centre."""
    radius_px = descriptors.diameter_mm / mm_per_px / 2
    stretch = sqrt(descriptors.height_to_width)
    edge_N = outline(descriptors, rng).astype(np.float32)
    reach_px = radius_px * (float(edge_N.max()) * max(stretch, 1 / stretch) + 0.4)  # the halo lies within this, too
    rows, columns = (_window(at, reach_px, side) for at, side in zip(center_xy_px[::-1], image_hw, strict=True))
    x_W = np.arange(columns.start, columns.stop, dtype=np.float32) - center_xy_px[0]
    y_H1 = (np.arange(rows.start, rows.stop, dtype=np.float32) - center_xy_px[1])[:, None]
    cos, sin = float(np.cos(descriptors.tilt_rad)), float(np.sin(descriptors.tilt_rad))
    u_HW = (x_W * cos + y_H1 * sin) * (stretch / radius_px)
    v_HW = (y_H1 * cos - x_W * sin) / (stretch * radius_px)
    index_HW = (np.arctan2(v_HW, u_HW) * (_OUTLINE_ANGLES / (2 * pi))).astype(np.intp) % _OUTLINE_ANGLES
    near_HW = (edge_N[index_HW] - np.sqrt(u_HW**2 + v_HW**2)) * radius_px
    components_HW, _ = ndimage.label(near_HW > 0, structure=np.ones((3, 3)))
    # A spicule's tip may be thinner than a pixel and break off: the mask is what hangs together around the centre.
    center = components_HW[round(center_xy_px[1]) - rows.start, round(center_xy_px[0]) - columns.start]
    mask_HW, depth_px_HW = np.zeros(image_hw, dtype=bool), np.full(image_hw, -reach_px, dtype=np.float32)
    mask_HW[rows, columns], depth_px_HW[rows, columns] = components_HW == center, near_HW
    return LesionShape(mask_HW=mask_HW, depth_px_HW=depth_px_HW)


def draw_center(
    descriptors: LesionDescriptors, rng: np.random.Generator, *, image_hw: tuple[int, int], mm_per_px: float
) -> tuple[float, float]:
    """Where the probe puts the lesion, (x, y) in pixels: above the middle, and drawn inwards where it would be cut off."""
    half_px = 0.6 * descriptors.diameter_mm / mm_per_px / sqrt(descriptors.height_to_width)
    share = min(half_px / image_hw[1], 0.49)
    x_share = min(max(rng.uniform(0.38, 0.62), share), 1 - share)
    return x_share * image_hw[1], rng.uniform(0.36, 0.48) * image_hw[0]


def _window(center_px: float, reach_px: float, side_px: int) -> slice:
    return slice(max(0, int(center_px - reach_px)), min(side_px, int(center_px + reach_px) + 2))
