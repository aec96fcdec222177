"""Who is trained on and who is scored: patients divided so that no patient stands on two sides.

Source of the numbers: Kim et al. 2021 (500 + 500 training images, 100 + 100 internal from a later period, 100 + 100
external). A scored set holds one image per patient, so that one lesion counts once. A patient with images of both classes
may be trained on but is never scored, because which lesion counts cannot be decided.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple

import numpy as np

from wsus.data.manifest import Manifest, patients_across_splits
from wsus.data.manifest_rows import collector_paused
from wsus.errors import ConfigError, SplitError
from wsus.types import BENIGN, CLASS_NAMES, MALIGNANT, ImageRecord, Split

log = logging.getLogger(__name__)

_image_id, _patient_id = attrgetter("image_id"), attrgetter("patient_id")
_CLASSES = (BENIGN, MALIGNANT)
_INTERNAL, _TRAIN, _DEVELOPMENT, _EXTERNAL, _FOLDS = range(5)  # one stream of random numbers per decision


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig:
    """How many images go where.

    train_per_class: training images per class, the development split included; None takes all that are left.
    internal_per_class: patients per class of the internal validation, one image each.
    external_per_class: the same for the external validation; None takes all of that source.
    development_fraction: share of the training patients that chooses models, in [0, 1).
    folds: parts for cross-fitting inside the training patients.
    internal_from: "random", or "latest" for the patients that were acquired last (needs the column `acquired`).
    """

    train_per_class: int | None = 500
    internal_per_class: int = 100
    external_per_class: int | None = 100
    development_fraction: float = 0.15
    folds: int = 3
    seed: int = 0
    internal_from: Literal["random", "latest"] = "random"

    def __post_init__(self) -> None:
        for name in ("train_per_class", "internal_per_class", "external_per_class"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1; got {value}")
        if not 0.0 <= self.development_fraction < 1.0:
            raise ConfigError(f"development_fraction must lie in [0, 1); got {self.development_fraction}")
        if self.folds < 2:
            raise ConfigError(f"folds must be at least 2, or nobody is left out of a fold; got {self.folds}")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative; got {self.seed}")
        if self.internal_from not in ("random", "latest"):
            raise ConfigError(f"internal_from must be 'random' or 'latest'; got {self.internal_from!r}")


class _Patient(NamedTuple):
    """One patient's images, in the order of their ids. stratum: malignant where any image is."""

    patient_id: str
    records: tuple[ImageRecord, ...]
    stratum: int
    both_classes: bool


@collector_paused()
def make_splits(internal_source: Manifest, external_source: Manifest | None, config: SplitConfig = SplitConfig()) -> Manifest:
    """Divide one or two manifests into training, development, internal and external images.

    The internal set is drawn first, then the training images from the patients that are left, then the development
    split from the training patients. What nobody takes is UNUSED. The order of the rows does not matter.

    Returns:
        Both sources' images in one manifest, each with its split.
    Raises:
        SplitError: a class has too few patients or images.
        ManifestError: both sources share an image_id or a patient_id.
    """
    _check_both_classes(internal_source)
    patients = _patients(internal_source.records)
    scored = _scored_images(patients, Split.INTERNAL, config, internal_source.name)
    left = [patient for patient in patients if patient.patient_id not in scored]
    splits = _with_development(_training_patients(left, config, internal_source.name), config, internal_source.name)
    splits |= dict.fromkeys(scored.values(), Split.INTERNAL)
    if external_source is None:
        return internal_source.with_splits(splits)
    _check_both_classes(external_source)
    merged = internal_source.merged(external_source, name=f"{internal_source.name} + {external_source.name}")
    scored = _scored_images(_patients(external_source.records), Split.EXTERNAL, config, external_source.name)
    return merged.with_splits(splits | dict.fromkeys(scored.values(), Split.EXTERNAL))


@collector_paused()
def splits_from_manifest(manifest: Manifest, config: SplitConfig = SplitConfig()) -> Manifest:
    """Take the splits that a manifest brings along, and check them.

    A missing development split is cut from the training patients; an image without a split becomes UNUSED. Counts in
    `config` are not enforced: whoever wrote the splits decided them.

    Raises:
        SplitError: no training images, a patient in two splits, or a split with one class only.
    """
    leaks = patients_across_splits(manifest.records)
    if leaks:
        patient, found = next(iter(leaks.items()))
        raise SplitError(
            f"{manifest.name}: patient {patient!r} has images in the splits {' and '.join(found)} ({len(leaks)} patient(s) do); "
            "put all images of a patient into one split"
        )
    without = sum(record.split is None for record in manifest.records)
    if without == len(manifest.records):
        raise SplitError(f"{manifest.name}: no image has a split; fill the column 'split', or let the study make the splits")
    if without:
        log.warning("%s: %d images have no split and are not used", manifest.name, without)
    splits = {record.image_id: record.split or Split.UNUSED for record in manifest.records}
    if not manifest.by_split(Split.DEVELOPMENT):
        splits |= _with_development(_patients(manifest.by_split(Split.TRAIN)), config, manifest.name)
    checked = manifest.with_splits(splits)
    for split in (Split.TRAIN, Split.DEVELOPMENT, Split.INTERNAL, Split.EXTERNAL):
        _check_split(checked, split, required=split is Split.TRAIN)
    return checked


def assign_folds(records: Iterable[ImageRecord], folds: int, seed: int) -> dict[str, int]:
    """Give each patient one of `folds` parts, stratified by class.

    Returns:
        patient_id -> fold in [0, folds). In each class the folds differ by at most one patient.
    Raises:
        SplitError: a class has fewer patients than there are folds.
    """
    patients = _patients(records)
    rng = np.random.default_rng([seed, _FOLDS])
    fold_by_patient: dict[str, int] = {}
    for label in _CLASSES:
        shuffled = _shuffled([p for p in patients if p.stratum == label], rng)
        if len(shuffled) < folds:
            raise SplitError(
                f"{folds} folds need {folds} {CLASS_NAMES[label]} training patients, {len(shuffled)} are available; "
                "ask for fewer folds or add patients"
            )
        for position, patient in enumerate(shuffled):  # the second class counts from the other end: sizes stay even
            fold_by_patient[patient.patient_id] = (position if label == BENIGN else -position - 1) % folds
    return fold_by_patient


def _known_labels(records: Iterable[ImageRecord]) -> set[int]:
    labels: set[int] = set()
    for record in records:
        if record.label is None:
            raise SplitError(f"image {record.image_id!r} has no label; label it, or take it out of the manifest")
        labels.add(record.label)
    return labels


def _patients(records: Iterable[ImageRecord]) -> list[_Patient]:
    by_patient: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        by_patient[record.patient_id].append(record)
    return [_patient(patient_id, by_patient[patient_id]) for patient_id in sorted(by_patient)]


def _patient(patient_id: str, records: list[ImageRecord]) -> _Patient:
    labels = _known_labels(records)
    records.sort(key=_image_id)
    return _Patient(patient_id=patient_id, records=tuple(records), stratum=max(labels), both_classes=len(labels) > 1)


def _rng(config: SplitConfig, decision: int, label: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, decision, label])


def _shuffled(patients: Sequence[_Patient], rng: np.random.Generator) -> list[_Patient]:
    return [patients[i] for i in rng.permutation(len(patients))]


def _scored_images(patients: Sequence[_Patient], split: Split, config: SplitConfig, name: str) -> dict[str, str]:
    """One image of each drawn patient, as patient_id -> image_id."""
    internal = split is Split.INTERNAL
    wanted = config.internal_per_class if internal else config.external_per_class
    images: dict[str, str] = {}
    for label in _CLASSES:
        rng = _rng(config, _INTERNAL if internal else _EXTERNAL, label)
        candidates = _shuffled([p for p in patients if p.stratum == label and not p.both_classes], rng)
        if internal and config.internal_from == "latest":
            candidates.sort(key=lambda patient: _first_seen(patient, name), reverse=True)
        number = max(len(candidates), 1) if wanted is None else wanted
        _check_enough(
            label, number, len(candidates), "internal_per_class" if internal else "external_per_class", "patients", name
        )
        images |= {p.patient_id: p.records[int(rng.integers(len(p.records)))].image_id for p in candidates[:number]}
    return images


def _first_seen(patient: _Patient, name: str) -> str:
    """The earliest date of a patient, so that all images of a "late" patient are late."""
    dates = [record.acquired for record in patient.records if record.acquired]
    if len(dates) < len(patient.records):
        raise SplitError(
            f"{name}: internal_from='latest' needs the column 'acquired' for every image, and patient {patient.patient_id!r} "
            "lacks it; fill it, or use internal_from='random'"
        )
    return min(dates)


def _training_patients(patients: Sequence[_Patient], config: SplitConfig, name: str) -> list[_Patient]:
    """The patients that are trained on, by their ids, with those of their images that are."""
    available = Counter(record.label for patient in patients for record in patient.records)
    if config.train_per_class is None:
        for label in reversed(_CLASSES):
            _check_enough(label, 1, available[label], "train_per_class", "images", name)
        return list(patients)
    wanted, taken = config.train_per_class, []
    count: Counter[int | None] = Counter()
    for label in reversed(_CLASSES):  # malignant first: patients with both classes bring benign images along
        _check_enough(label, wanted, available[label], "train_per_class", "images", name)
        for patient in _shuffled([p for p in patients if p.stratum == label], _rng(config, _TRAIN, label)):
            if count[label] >= wanted:
                break
            records = []
            for record in patient.records:
                if count[record.label] < wanted:
                    count[record.label] += 1
                    records.append(record)
            taken.append(_patient(patient.patient_id, records))
    for label in _CLASSES:
        _check_enough(label, wanted, count[label], "train_per_class", "images", name)
    return sorted(taken, key=_patient_id)


def _with_development(patients: Sequence[_Patient], config: SplitConfig, name: str) -> dict[str, Split]:
    """TRAIN for the training patients' images, DEVELOPMENT for those of the patients that choose models.

    patients: in the order of their ids, which the draw counts on.
    """
    splits = dict.fromkeys((record.image_id for patient in patients for record in patient.records), Split.TRAIN)
    if config.development_fraction == 0.0:
        return splits
    for label in _CLASSES:
        candidates = [p for p in patients if p.stratum == label and not p.both_classes]
        wanted = max(round(config.development_fraction * len(candidates)), 1)
        if len(candidates) < wanted + 1:
            raise SplitError(
                f"{name}: a development split needs {wanted + 1} or more {CLASS_NAMES[label]} training patients, "
                f"{len(candidates)} are available; add patients, or set development_fraction lower"
            )
        for patient in _shuffled(candidates, _rng(config, _DEVELOPMENT, label))[:wanted]:
            splits |= {record.image_id: Split.DEVELOPMENT for record in patient.records}
    return splits


def _check_enough(label: int, wanted: int, available: int, setting: str, unit: str, name: str) -> None:
    if wanted <= available:
        return
    remedy = f"set {setting} to {available} or less" if available else "ask for fewer in the sets that are drawn before"
    raise SplitError(
        f"{name}: {wanted} {CLASS_NAMES[label]} {unit} wanted ({setting}), {available} available; "
        f"{remedy}, or add {CLASS_NAMES[label]} {unit}"
    )


def _check_both_classes(manifest: Manifest) -> None:
    labels = _known_labels(manifest.records)
    if len(labels) < len(_CLASSES):
        only = CLASS_NAMES[labels.pop()]
        raise SplitError(f"{manifest.name}: all images are {only}; a study needs benign and malignant ones; add the other class")


def _check_split(manifest: Manifest, split: Split, *, required: bool) -> None:
    records = manifest.by_split(split)
    if not records and not required:
        return
    labels = _known_labels(records)
    if len(labels) < len(_CLASSES):
        found = ", ".join(CLASS_NAMES[label] for label in sorted(labels)) or "no image"
        raise SplitError(f"{manifest.name}: the split '{split}' holds {found} only; it needs benign and malignant images")
    if split in (Split.INTERNAL, Split.EXTERNAL):
        _say_images_per_patient(records, split, manifest.name)


def _say_images_per_patient(records: Sequence[ImageRecord], split: Split, name: str) -> None:
    """Warn where a scored split holds several images of a patient, or a patient with images of both classes."""
    patients = _patients(records)
    several = [patient for patient in patients if len(patient.records) > 1]
    if not several:
        return
    both = sum(patient.both_classes for patient in several)
    log.warning(
        "%s: the split '%s' holds %d images of %d patients (%d with several, at most %d)%s; the comparison allows for it by"
        " figures over patients, which say less than as many patients would",
        name,
        split,
        len(records),
        len(patients),
        len(several),
        max(len(patient.records) for patient in several),
        f", {both} of whom have images of both classes, so that one lesion may count twice" if both else "",
    )
