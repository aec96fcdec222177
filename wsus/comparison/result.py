"""What a comparison found: frozen records with nothing in them but numbers, and how they become JSON.

Whatever cannot be estimated is None (null in JSON), and a note says why.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsus.comparison.estimates import Estimate
from wsus.comparison.localisation_result import LocalisationResult
from wsus.evaluation.paired import NonInferiority
from wsus.evaluation.power import PowerOfTest

SCHEMA_VERSION = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Cases with a similar probability: how many, what was said on average, and what share was malignant."""

    n: int
    mean_pom: float
    observed: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialAucResult:
    """The area under the ROC curve where `focus` (specificity or sensitivity) lies in [low, high]; standardised: McClish's."""

    focus: str
    low: float
    high: float
    area: Estimate
    standardised: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionCurveResult:
    """Net benefit per image at each threshold probability: of the cell, and of acting on every image. To act on none has 0.

    low, high: pointwise limits; NaN (null) where they cannot be estimated.  prevalence: the share of cancers it holds for.
    """

    threshold: tuple[float, ...]
    net_benefit: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    treat_all: tuple[float, ...]
    prevalence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PatientLevelCell:
    """One cell on one split with one figure per patient. rule: max or mean of the patient's probabilities."""

    rule: str
    n: int
    n_malignant: int
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class PatientLevelPair:
    """Weak against full with one figure per patient. rule, n: as `PatientLevelCell`."""

    rule: str
    n: int
    auc_difference: Estimate
    p: float | None
    noninferiority: NonInferiority | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CellResult:
    """One cell (backbone x mode) on one split, with its chosen seed.

    auc: what a verdict uses: DeLong's interval, or over patients (Obuchowski, logit) where a patient has several images. So are
        all shares and calibration.  auc_images: DeLong's, as if all images were independent.  auc_se: of the AUC, over patients.
    auc_clustered: Obuchowski's in any case.  auc_bootstrap: interval of a bootstrap over patients.
    patient_level: one figure per patient; empty where each patient has one image.
    unlike_training: share of the images that the guard flagged; None without a guard.
    extreme_poms: probabilities of exactly 0 or 1, which have no logit.
    seed: the one that stands for the cell; ENSEMBLE where all of them together do.
    auc_by_seed: of every seed alone.  auc_seed_sd: their spread; None with one seed.
    partial_auc: at high specificity, then at high sensitivity; empty where a class is missing.
    lr_positive, lr_negative: likelihood ratios at the operating point; value None where infinite (then only `low` is known).
    decision_curve: None where a class is missing.
    fallback_crops: images whose automatic ROI found nothing, so that the whole image was used.
    """

    backbone: str
    mode: str
    split: str
    seed: int
    operating_point: float
    n: int
    n_malignant: int
    n_benign: int
    n_patients: int
    tp: int
    fn: int
    tn: int
    fp: int
    auc: Estimate
    auc_images: Estimate
    auc_se: float | None
    auc_clustered: Estimate
    auc_bootstrap: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    accuracy: Estimate
    lr_positive: Estimate
    lr_negative: Estimate
    partial_auc: tuple[PartialAucResult, ...]
    decision_curve: DecisionCurveResult | None
    brier: Estimate
    calibration_slope: Estimate
    calibration_intercept: Estimate
    calibration_in_the_large: Estimate
    extreme_poms: int
    reliability: tuple[ReliabilityBin, ...]
    patient_level: tuple[PatientLevelCell, ...]
    unlike_training: Estimate | None
    auc_by_seed: Mapping[int, float | None]
    auc_seed_sd: float | None
    fallback_crops: int


@dataclass(frozen=True, kw_only=True, slots=True)
class McNemarResult:
    """Two readers on the same cases of one class: right or wrong, case by case.

    p: two-sided: exact, or over patients (Obuchowski 1998) where a patient has several images, as `method` says.
    p_holm: adjusted over the set's tests.  p_images: exact, as if all images were independent.
    """

    both_right: int
    only_weak_right: int
    only_full_right: int
    both_wrong: int
    n_patients: int
    p: float | None
    p_holm: float | None
    p_images: float
    method: str
    note: str | None

    @property
    def n(self) -> int:
        return self.both_right + self.only_weak_right + self.only_full_right + self.both_wrong


@dataclass(frozen=True, kw_only=True, slots=True)
class PairResult:
    """Weak supervision against one full mode: same backbone, same split, same images.

    auc_difference: weak minus full, paired DeLong, or with Obuchowski's variance over patients where a patient has several
        images: what the verdicts use.  p, p_holm: two-sided, raw and adjusted over the set's tests.
    auc_difference_images, p_images: paired DeLong, as if all images were independent.
    auc_difference_bootstrap: over patients.  patient_level: one figure per patient; empty with one image per patient.
    noninferiority: on the AUC, then on sensitivity and on specificity (None without the cases for it).
    noninferiority_p_holm: by figure, adjusted over the set's tests of non-inferiority.
    power_auc, power_sensitivity, power_specificity: of these tests, if both are equally good; None without the cases for it.
    only_weak, only_full: images that one of the two cells did not score, left out of the pair (named, sorted).
    """

    backbone: str
    mode: str
    split: str
    n: int
    only_weak: tuple[str, ...]
    only_full: tuple[str, ...]
    auc_weak: float | None
    auc_full: float | None
    n_patients: int
    auc_difference: Estimate
    p: float | None
    p_holm: float | None
    log10_p: float | None
    auc_difference_images: Estimate
    p_images: float | None
    auc_difference_bootstrap: Estimate
    patient_level: tuple[PatientLevelPair, ...]
    sensitivity: McNemarResult
    specificity: McNemarResult
    noninferiority: NonInferiority | None
    noninferiority_sensitivity: NonInferiority | None
    noninferiority_specificity: NonInferiority | None
    noninferiority_p_holm: Mapping[str, float | None]
    power_auc: PowerOfTest | None
    power_sensitivity: PowerOfTest | None
    power_specificity: PowerOfTest | None
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPointResult:
    """A cell on a split at a threshold that its development split chose by `rule`."""

    backbone: str
    mode: str
    split: str
    rule: str
    threshold: float
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class SubgroupResult:
    """One weak cell inside a part of a split. Small groups say so in the estimate's note.

    variable: device, birads, histology, calipers, age_years, lesion_size_mm or mask_fraction.
    sensitivity, specificity: at the operating point; of a histology there is one of them, and no AUC.
    """

    backbone: str
    split: str
    variable: str
    level: str
    n: int
    n_malignant: int
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPom:
    """What one cell said of one image."""

    backbone: str
    mode: str
    pom: float
    called_malignant: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HardCase:
    """An image that many cells called wrongly at their operating points. poms: of every cell that scored it."""

    image_id: str
    split: str
    label: int
    wrong: int
    cells: int
    mean_pom: float
    poms: tuple[CellPom, ...]
    attributes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingCell:
    """A cell that has no predictions, and why."""

    backbone: str
    mode: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The statistics of a whole study. `best_weak`: the backbone chosen on the development split; None without one."""

    settings: Mapping[str, Any]
    backbones: tuple[str, ...]
    modes: tuple[str, ...]
    splits: tuple[str, ...]
    best_weak: str | None
    cells: tuple[CellResult, ...]
    operating_points: tuple[OperatingPointResult, ...]
    pairs: tuple[PairResult, ...]
    localisation: tuple[LocalisationResult, ...]
    subgroups: tuple[SubgroupResult, ...]
    hard_cases: tuple[HardCase, ...]
    missing: tuple[MissingCell, ...]
    notes: tuple[str, ...]

    def cell(self, backbone: str, mode: str, split: str) -> CellResult | None:
        """The result of a cell on a split; None where the cell is missing."""
        key = (backbone, mode, split)
        return next((cell for cell in self.cells if (cell.backbone, cell.mode, cell.split) == key), None)

    def pair(self, backbone: str, mode: str, split: str) -> PairResult | None:
        """Weak against `mode` on a split; None where one of the two is missing."""
        key = (backbone, mode, split)
        return next((pair for pair in self.pairs if (pair.backbone, pair.mode, pair.split) == key), None)

    def tests(self, split: str) -> int:
        """How many two-sided tests Holm's adjustment covers on a split; there are as many of non-inferiority."""
        found = [p for pair in self.pairs if pair.split == split for p in (pair.p, pair.sensitivity.p, pair.specificity.p)]
        return sum(p is not None for p in found)

    def located(self, backbone: str, split: str) -> LocalisationResult | None:
        """The localisation of a weak cell on a split; None where it is missing."""
        return next((item for item in self.localisation if (item.backbone, item.split) == (backbone, split)), None)

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`: finite numbers, null where not estimable, keys as the fields above."""
        return {"schema_version": SCHEMA_VERSION, **_plain(self)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
