"""What a comparison found of where the maps of weak networks point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wsus.comparison.estimates import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalisationFigure:
    """One figure of localisation in one group of images, beside what a centred box and a random map reach.

    criterion: shares of images: overlap (the paper's), iou50, max_box_acc, development_box_acc, pointing, pointing_15px;
        of pixels: pxap; means over images: max_box_acc_v2, iou, dice, energy_in_mask.
    p_box: two-sided, the map against the box on the same images: of shares (McNemar), of pxap (jackknife); None elsewhere.
    """

    criterion: str
    own: Estimate
    centre_box: Estimate
    random_map: Estimate
    p_box: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalisationGroup:
    """The figures of some images of a split: all, one class, or one size of lesion.

    variable: all, class, lesion_size_mm or mask_fraction.  n: images with a mask.
    """

    variable: str
    level: str
    n: int
    figures: tuple[LocalisationFigure, ...]

    def figure(self, criterion: str) -> LocalisationFigure:
        """The figure of one criterion. Raises KeyError where there is no such criterion."""
        for figure in self.figures:
            if figure.criterion == criterion:
                return figure
        raise KeyError(criterion)


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxAccuracyCurve:
    """Share of images with an IoU of at least 0.5 by threshold on the map (Choe et al. 2020), and where it is best.

    The centred box spans 1 - threshold of each side.
    best: the threshold of MaxBoxAcc, chosen on these very images.  development: the one that the development split chose.
    """

    thresholds: tuple[float, ...]
    own: tuple[float, ...]
    centre_box: tuple[float, ...]
    random_map: tuple[float, ...]
    best: float
    development: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalisationResult:
    """Localisation of one weak cell on one split, over the images that have a lesion mask.

    groups: all images, each class, each size of lesion.  fisher_p: by criterion, benign against malignant, two-sided.
    curve: None where IoUs by threshold were not computed.
    pxap_bounds: what pxap of all images would be between, were maps cut at every value and not at steps of 0.01.
    """

    backbone: str
    split: str
    n: int
    without_mask: int
    groups: tuple[LocalisationGroup, ...]
    fisher_p: Mapping[str, float | None]
    curve: BoxAccuracyCurve | None
    pxap_bounds: tuple[float, float] | None = None

    def group(self, level: str) -> LocalisationGroup | None:
        """The group of a level: 'all', 'benign', 'malignant', or a size; None where no image belongs to it."""
        return next((group for group in self.groups if group.level == level), None)
