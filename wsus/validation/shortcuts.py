"""Does a model look at the lesion? Where its map's energy lies, and what is left of its diagnosis without the lesion.

It answers for images with a radiologist's mask; the model never sees the mask.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsus.data.images import read_image, read_union_mask
from wsus.errors import DataError
from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.zones import ZONES, lesion_alone, lesion_painted_over, marks_removed, zone_energy, zones
from wsus.inference.crops import DecodedImage
from wsus.inference.predict import Predictor
from wsus.types import CLASS_NAMES, GreyHW, ImageRecord, MaskHW, Mode

VARIANTS = {
    "as it is": "the image as it is",
    "lesion painted over": "the lesion and its rim in the greys around them",
    "lesion alone": "all but the lesion and its rim in one grey",
    "marks removed": "calipers and text in the greys around them",
}
_BATCH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ZoneFigure:
    """energy, area: mean share of the map's sum and of the image, in [0, 1].  times_chance: the first over the second."""

    zone: str
    energy: float
    area: float
    times_chance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantFigure:
    """AUC of a changed image with DeLong's 95 % interval, and the mean POM of each class."""

    variant: str
    auc: float
    auc_low: float | None
    auc_high: float | None
    mean_pom: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortcutAudit:
    """What a model looks at on n images; without_mask: images that could not be asked."""

    model_id: str
    n: int
    without_mask: int
    zones: tuple[ZoneFigure, ...]
    variants: tuple[VariantFigure, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"{self.model_id} on {self.n} images with a mask ({self.without_mask} without were left out)", ""]
        lines += [f"{'zone':<12}{'energy':>8}{'area':>8}{'x chance':>10}"]
        lines += [f"{z.zone:<12}{z.energy:>8.1%}{z.area:>8.1%}{z.times_chance:>10.1f}" for z in self.zones]
        lines += ["", f"{'image':<22}{'AUC (95 % CI)':<24}mean POM, benign and malignant"]
        for one in self.variants:
            interval = "" if one.auc_low is None else f" ({one.auc_low:.3f} to {one.auc_high:.3f})"
            poms = ", ".join(f"{one.mean_pom[name]:.2f}" for name in CLASS_NAMES)
            lines.append(f"{one.variant:<22}{f'{one.auc:.3f}{interval}':<24}{poms}")
        return [*lines, "", *self.in_words()]

    def in_words(self) -> list[str]:
        """What follows, in plain words."""
        by_zone, by_variant = {z.zone: z for z in self.zones}, {v.variant: v for v in self.variants}
        whole, without = by_variant["as it is"], by_variant["lesion painted over"]
        if whole.auc_low is None or whole.auc_low <= 0.5:
            return ["On these images the model may do no better than chance: there is nothing whose source could be named."]
        left = max(without.auc - 0.5, 0.0) / (whole.auc - 0.5)
        said = [
            f"The map's energy lies in the lesion {by_zone['lesion'].times_chance:.1f} times as often as chance would have it."
        ]
        said.append(
            f"With the lesion painted over the AUC goes from {whole.auc:.2f} to {without.auc:.2f}: {left:.0%} of what lies"
            " beyond chance comes from elsewhere than the lesion and its rim. Images that trained the model flatter it."
        )
        moved = by_variant["marks removed"].auc - whole.auc
        said.append(f"Without calipers and text the AUC changes by {moved:+.2f}.")
        return said


def audit_shortcuts(predictor: Predictor, records: Sequence[ImageRecord], say: Callable[[str], None]) -> ShortcutAudit:
    """Ask a weak model about labelled images with masks, as they are and changed.

    Raises:
        DataError: the model is not weak, or masks of both classes are missing.
    """
    if predictor.card.mode is not Mode.WEAK:
        raise DataError(f"{predictor.model_id}: only weak models are asked where they look; this one is shown the region")
    usable = [record for record in records if record.mask_paths and record.label is not None]
    if {record.label for record in usable} != {0, 1}:
        raise DataError(f"images with masks of both classes are needed; of {len(records)} images {len(usable)} have a mask")
    labels, energies, areas = [], [], []
    poms: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for start in range(0, len(usable), _BATCH):
        for record, image_HW, mask_HW in _read(usable[start : start + _BATCH]):
            found = zones(image_HW, mask_HW)
            predictions = predictor.predict(list(_changed(record.image_id, image_HW, mask_HW)), "predicted")
            labels.append(record.label)
            energies.append(list(zone_energy(predictions[0].cam_HW, found).values()))
            areas.append([float(zone.mean()) for zone in found.values()])
            for name, prediction in zip(VARIANTS, predictions, strict=True):
                poms[name].append(prediction.pom)
        say(f"{len(labels)} of {len(usable)} images")
    label_N = np.array(labels)
    return ShortcutAudit(
        model_id=predictor.model_id,
        n=len(labels),
        without_mask=len(records) - len(usable),
        zones=_zone_figures(np.array(energies), np.array(areas)),
        variants=tuple(_variant_figure(name, label_N, np.array(values)) for name, values in poms.items()),
    )


def _read(records: Iterable[ImageRecord]) -> Iterable[tuple[ImageRecord, GreyHW, MaskHW]]:
    for record in records:
        image = read_image(record.path)
        mask_HW = read_union_mask(record.mask_paths, image=image)
        if mask_HW.any():
            yield record, image.grey_HW, mask_HW


def _changed(image_id: str, image_HW: GreyHW, mask_HW: MaskHW) -> Iterable[DecodedImage]:
    rng = np.random.default_rng(zlib.crc32(image_id.encode()))
    images = (
        image_HW,
        lesion_painted_over(image_HW, mask_HW, rng),
        lesion_alone(image_HW, mask_HW),
        marks_removed(image_HW, rng),
    )
    yield from (DecodedImage(image_id=f"{image_id}, {name}", image_HW=one) for name, one in zip(VARIANTS, images, strict=True))


def _zone_figures(energies_NZ: NDArray[np.float64], areas_NZ: NDArray[np.float64]) -> tuple[ZoneFigure, ...]:
    energy_Z, area_Z = energies_NZ.mean(axis=0), areas_NZ.mean(axis=0)
    return tuple(
        ZoneFigure(zone=name, energy=float(e), area=float(a), times_chance=float(e / a) if a > 0 else 0.0)
        for name, e, a in zip(ZONES, energy_Z, area_Z, strict=True)
    )


def _variant_figure(name: str, labels_N: NDArray[np.int64], poms_N: NDArray[np.float64]) -> VariantFigure:
    found = auc_with_interval(labels_N, poms_N)
    low, high = found.ci if found.ci is not None else (None, None)
    means = {word: float(poms_N[labels_N == label].mean()) for label, word in enumerate(CLASS_NAMES)}
    return VariantFigure(variant=name, auc=found.auc, auc_low=low, auc_high=high, mean_pom=means)
