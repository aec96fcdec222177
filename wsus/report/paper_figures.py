"""The figures that the replicated paper published, to stand beside ours.

Source: Kim J, Kim HJ, Kim C, et al. "Weakly-supervised deep learning for ultrasound diagnosis of breast cancer",
Scientific Reports 11:24382 (2021), doi 10.1038/s41598-021-03806-7; here as in its preprint, doi 10.21203/rs.3.rs-579221/v1.
The preprint states sensitivity and specificity of its weakly-supervised networks only.
"""

from __future__ import annotations

from dataclasses import dataclass

CITATION = "Kim et al. 2021, Scientific Reports, doi 10.1038/s41598-021-03806-7 (preprint doi 10.21203/rs.3.rs-579221/v1)"

_Counts = dict[tuple[str, str], tuple[int, int]]

_AUC: dict[tuple[str, str, str], float] = {
    ("internal", "weak", "vgg16"): 0.96,
    ("internal", "weak", "resnet34"): 0.92,
    ("internal", "weak", "googlenet"): 0.94,
    ("internal", "manual_roi", "vgg16"): 0.96,
    ("internal", "manual_roi", "resnet34"): 0.94,
    ("internal", "manual_roi", "googlenet"): 0.96,
    ("internal", "auto_roi", "vgg16"): 0.96,
    ("internal", "auto_roi", "resnet34"): 0.92,
    ("internal", "auto_roi", "googlenet"): 0.95,
    ("external", "weak", "vgg16"): 0.89,
    ("external", "weak", "resnet34"): 0.86,
    ("external", "weak", "googlenet"): 0.90,
    ("external", "manual_roi", "vgg16"): 0.91,
    ("external", "manual_roi", "resnet34"): 0.89,
    ("external", "manual_roi", "googlenet"): 0.92,
    ("external", "auto_roi", "vgg16"): 0.85,
    ("external", "auto_roi", "resnet34"): 0.84,
    ("external", "auto_roi", "googlenet"): 0.87,
}

_WEAK_SENSITIVITY: _Counts = {
    ("internal", "vgg16"): (87, 100),
    ("internal", "resnet34"): (82, 100),
    ("internal", "googlenet"): (87, 100),
    ("external", "vgg16"): (91, 100),
    ("external", "resnet34"): (78, 100),
    ("external", "googlenet"): (88, 100),
}

_WEAK_SPECIFICITY: _Counts = {
    ("internal", "vgg16"): (91, 100),
    ("internal", "resnet34"): (91, 100),
    ("internal", "googlenet"): (94, 100),
    ("external", "vgg16"): (72, 100),
    ("external", "resnet34"): (80, 100),
    ("external", "googlenet"): (76, 100),
}

_LOCALISED: dict[tuple[str, str, int], tuple[int, int]] = {  # (split, backbone, label)
    ("internal", "vgg16", 0): (99, 100),
    ("internal", "resnet34", 0): (99, 100),
    ("internal", "googlenet", 0): (100, 100),
    ("internal", "vgg16", 1): (100, 100),
    ("internal", "resnet34", 1): (100, 100),
    ("internal", "googlenet", 1): (100, 100),
    ("external", "vgg16", 0): (99, 100),
    ("external", "resnet34", 0): (96, 100),
    ("external", "googlenet", 0): (97, 100),
    ("external", "vgg16", 1): (100, 100),
    ("external", "resnet34", 1): (98, 100),
    ("external", "googlenet", 1): (100, 100),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperSet:
    """One of the paper's sets (its Table 1): images per class, age in years and lesion size in mm as (mean, min, max)."""

    benign: int
    malignant: int
    age_years: tuple[int, int, int]
    lesion_size_mm: tuple[int, int, int]


PAPER_SETS: dict[str, PaperSet] = {
    "train": PaperSet(benign=500, malignant=500, age_years=(49, 19, 83), lesion_size_mm=(15, 1, 69)),
    "internal": PaperSet(benign=100, malignant=100, age_years=(50, 22, 79), lesion_size_mm=(14, 5, 60)),
    "external": PaperSet(benign=100, malignant=100, age_years=(50, 16, 80), lesion_size_mm=(15, 6, 47)),
}


def paper_auc(split: str, mode: str, backbone: str) -> float | None:
    """The published AUC of a network; None where the paper has none."""
    return _AUC.get((split, mode, backbone))


def paper_sensitivity(split: str, mode: str, backbone: str) -> tuple[int, int] | None:
    """Published (malignant masses called malignant, malignant masses); None where the paper states none."""
    return _WEAK_SENSITIVITY.get((split, backbone)) if mode == "weak" else None


def paper_specificity(split: str, mode: str, backbone: str) -> tuple[int, int] | None:
    """Published (benign masses called benign, benign masses); None where the paper states none."""
    return _WEAK_SPECIFICITY.get((split, backbone)) if mode == "weak" else None


def paper_localised(split: str, backbone: str, label: int) -> tuple[int, int] | None:
    """Published (masses whose focus overlaps the manual mask, masses) of one class, weak supervision; else None."""
    return _LOCALISED.get((split, backbone, label))
