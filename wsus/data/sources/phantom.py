"""Phantoms: breast-ultrasound images that are made, not read, so that everything can be tried without patients.

Two institutions with scanners of their own, patients with one to three views of one lesion, exact masks, and the columns
of a manifest. What is drawn and how the classes overlap: `phantom_lesion`; how it becomes an image: `phantom_physics`;
what is burnt in: `phantom_marks`. A seed gives identical bytes, whatever the number of workers; a longer series of the same
seed begins with the shorter one.
"""

from __future__ import annotations

import datetime
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from wsus.data.sources.phantom_lesion import Lesion, LesionDescriptors, draw_center, draw_lesion, place
from wsus.data.sources.phantom_marks import MarkStyle, burn_marks
from wsus.data.sources.phantom_physics import (
    Anatomy,
    Scanner,
    add_lesion,
    beam_db,
    compress,
    draw_anatomy,
    envelope_db,
    tissue_db,
)
from wsus.errors import ConfigError, DataError
from wsus.types import BENIGN, MALIGNANT, GreyHW, ImageRecord, MaskHW

InstitutionName = Literal["A", "B"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Institution:
    """Where images come from: its scanners, what it burns into pictures, and when it acquired them (first and last day)."""

    scanners: tuple[Scanner, ...]
    marks: MarkStyle
    period: tuple[str, str]


_ALPHA_12 = Scanner(
    name="Phantom Alpha @12 MHz",
    mm_per_px=0.15,
    width_px=(215, 255),
    height_px=(255, 295),
    axial_px=0.75,
    lateral_px=1.2,
    defocus=1.7,
    smoothing_px=0.7,
    dynamic_range_db=58.0,
    gamma=1.15,
    mean_grey=(0.31, 0.04),
    loss_db=11.0,
)
INSTITUTIONS: dict[str, Institution] = {
    "A": Institution(
        scanners=(_ALPHA_12, replace(_ALPHA_12, name="Phantom Alpha @10 MHz", axial_px=0.95, lateral_px=1.45, gamma=1.0)),
        marks=MarkStyle(
            text=0.5, calipers=0.45, ruler=0.5, grey_bar=0.0, font_px=(9, 12), text_at_top=False, ruler_at_right=True
        ),
        period=("2015-01-01", "2019-12-31"),
    ),
    "B": Institution(
        scanners=(
            Scanner(
                name="Phantom Beta @8 MHz",
                mm_per_px=0.16,
                width_px=(250, 300),
                height_px=(215, 250),
                axial_px=1.25,
                lateral_px=1.9,
                defocus=1.9,
                smoothing_px=0.9,
                dynamic_range_db=48.0,
                gamma=0.9,
                mean_grey=(0.38, 0.05),
                loss_db=14.0,
            ),
        ),
        marks=MarkStyle(
            text=0.6, calipers=0.25, ruler=0.6, grey_bar=0.6, font_px=(11, 14), text_at_top=True, ruler_at_right=False
        ),
        period=("2018-01-01", "2020-12-31"),
    ),
}

_HISTOLOGY: dict[int, dict[str, float]] = {
    BENIGN: {
        "fibroadenoma": 0.66,
        "fibrocystic changes": 0.14,
        "sclerosing adenosis": 0.08,
        "intraductal papilloma": 0.07,
        "hyperplasia": 0.05,
    },
    MALIGNANT: {
        "invasive ductal carcinoma": 0.80,
        "invasive lobular carcinoma": 0.10,
        "mucinous carcinoma": 0.04,
        "papillary carcinoma": 0.03,
        "ductal carcinoma in situ": 0.03,
    },
}
_AGE_YEARS: dict[int, tuple[float, float]] = {BENIGN: (42.0, 12.0), MALIGNANT: (57.0, 12.0)}
_BIRADS_FROM_LOG_ODDS = (-3.0, -1.0, 4.0)  # below: 2, 3, 4; above the last: 5


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomConfig:
    """One institution's phantoms.

    patients_per_class: as many benign as malignant patients.
    images_per_patient_weights: how often a patient has one, two, three ... images; positive sum.
    period: first and last day of acquisition as ISO dates; None for the institution's own.
    """

    patients_per_class: int
    institution: InstitutionName = "A"
    seed: int = 0
    images_per_patient_weights: tuple[float, ...] = (0.5, 0.3, 0.2)
    period: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.patients_per_class < 1:
            raise ConfigError(f"patients_per_class must be at least 1; got {self.patients_per_class}")
        if self.institution not in get_args(InstitutionName):
            raise ConfigError(f"a phantom institution is 'A' or 'B'; got {self.institution!r}")
        if self.seed < 0:
            raise ConfigError(f"a seed must not be negative; got {self.seed}")
        weights = self.images_per_patient_weights
        if not weights or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ConfigError(f"images_per_patient_weights must be non-negative with a positive sum; got {weights}")
        self.first_and_last_day()

    def first_and_last_day(self) -> tuple[datetime.date, datetime.date]:
        """The period of acquisition. Raises ConfigError where it is not two ISO dates in order."""
        period = self.period or INSTITUTIONS[self.institution].period
        try:
            first, last = (datetime.date.fromisoformat(day) for day in period)
        except (TypeError, ValueError):
            raise ConfigError(f"period must be two ISO dates such as ('2018-01-01', '2019-12-31'); got {period!r}") from None
        if last < first:
            raise ConfigError(f"period ends ({last}) before it begins ({first}); exchange the two days")
        return first, last


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomImage:
    """One made image: uint8 pixels and the lesion's support without its halo, both (H, W), and what was drawn.

    calipers: whether measuring marks were burnt in around the lesion.
    """

    pixels_HW: GreyHW
    mask_HW: MaskHW
    descriptors: LesionDescriptors
    mm_per_px: float
    calipers: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomPatient:
    """A patient with a lesion, its images, and what a manifest says of them."""

    patient_id: str
    label: int
    institution: str
    device: str
    birads: str
    histology: str
    age_years: float
    acquired: str
    lesion: Lesion
    images: tuple[PhantomImage, ...]


def make_image(lesion: Lesion, anatomy: Anatomy, scanner: Scanner, marks: MarkStyle, rng: np.random.Generator) -> PhantomImage:
    """One view of a lesion: its own descriptors near the patient's, speckle, probe position, gain and marks."""
    image_hw = (int(rng.integers(*scanner.height_px, endpoint=True)), int(rng.integers(*scanner.width_px, endpoint=True)))
    mm_per_px = scanner.mm_per_px
    descriptors = lesion.view(rng)
    center_xy_px = draw_center(descriptors, rng, image_hw=image_hw, mm_per_px=mm_per_px)
    shape = place(descriptors, rng, image_hw=image_hw, center_xy_px=center_xy_px, mm_per_px=mm_per_px)
    level_HW = tissue_db(anatomy, rng, image_hw=image_hw, mm_per_px=mm_per_px)
    level_HW = add_lesion(level_HW, shape, descriptors, rng, mm_per_px=mm_per_px)
    level_HW = level_HW + beam_db(shape, descriptors, scanner, rng)
    pixels_HW = compress(envelope_db(level_HW, scanner, rng), scanner, rng)
    diameter_px = descriptors.diameter_mm / mm_per_px
    marked = burn_marks(pixels_HW, marks, rng, center_xy_px=center_xy_px, diameter_px=diameter_px, mm_per_px=mm_per_px)
    return PhantomImage(
        pixels_HW=marked.pixels_HW,
        mask_HW=shape.mask_HW,
        descriptors=descriptors,
        mm_per_px=mm_per_px,
        calipers=marked.calipers,
    )


def generate(config: PhantomConfig) -> Iterator[PhantomPatient]:
    """The patients of a config, one at a time: pairs of one benign and one malignant patient, in random order.

    A pair's patients depend on the institution, the seed and their number alone.
    """
    for number in range(2 * config.patients_per_class):
        yield make_patient(config, number)


def make_patient(config: PhantomConfig, number: int) -> PhantomPatient:
    """Patient `number`, counted from 0, of a config; independent of how many others there are."""
    root = (config.seed, ord(config.institution))
    malignant_first = bool(np.random.default_rng([*root, 0, number // 2]).integers(2))
    label = MALIGNANT if (number % 2 == 0) == malignant_first else BENIGN
    rng = np.random.default_rng([*root, 1, number])
    institution = INSTITUTIONS[config.institution]
    scanner = institution.scanners[rng.integers(len(institution.scanners))]
    lesion, anatomy = draw_lesion(label, rng), draw_anatomy(rng)
    weights = np.array(config.images_per_patient_weights, dtype=float)
    views = 1 + int(rng.choice(weights.size, p=weights / weights.sum()))
    first, last = config.first_and_last_day()
    return PhantomPatient(
        patient_id=f"{config.institution}{config.seed}-{number + 1:05d}",
        label=label,
        institution=config.institution,
        device=scanner.name,
        birads=_birads(lesion, rng),
        histology=str(rng.choice(list(_HISTOLOGY[label]), p=list(_HISTOLOGY[label].values()))),
        age_years=float(np.clip(round(rng.normal(*_AGE_YEARS[label])), 18, 90)),
        acquired=(first + datetime.timedelta(days=int(rng.integers((last - first).days + 1)))).isoformat(),
        lesion=lesion,
        images=tuple(make_image(lesion, anatomy, scanner, institution.marks, view_rng) for view_rng in rng.spawn(views)),
    )


def write_phantoms(folder: Path, configs: Sequence[PhantomConfig], workers: int = 2) -> list[ImageRecord]:
    """Make the phantoms of all configs and write `images/<image_id>.png` and `masks/<image_id>.png` under a new folder.

    Everything is written beside the folder first and renamed at the end: the folder holds all of it or does not exist.

    Args:
        folder: where to; must not exist, or be empty.
        workers: threads. The files do not depend on it.
    Returns:
        the records with absolute paths, without a split, in the order of configs, patients and views.
    Raises:
        ConfigError: no config, two configs with the same institution and seed (they would hold the same patients), or no worker.
        DataError: the folder exists and is not empty, or cannot be written.
    """
    _check_request(configs, workers)
    folder = folder.absolute()
    _check_target(folder)
    beside = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.partial"
    tasks = [(config, number) for config in configs for number in range(2 * config.patients_per_class)]
    try:
        for name in ("images", "masks"):
            (beside / name).mkdir(parents=True)
        with ThreadPoolExecutor(max_workers=workers) as pool:
            rows = list(pool.map(partial(_write_patient, beside, folder), tasks))
        beside.rename(folder)
    except OSError as error:
        raise DataError(f"{folder}: the phantoms cannot be written ({error.strerror or error}); choose another folder") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return [record for records in rows for record in records]


def _check_request(configs: Sequence[PhantomConfig], workers: int) -> None:
    if workers < 1:
        raise ConfigError(f"workers must be at least 1; got {workers}")
    if not configs:
        raise ConfigError("no phantoms were asked for; give at least one PhantomConfig")
    series = [(config.institution, config.seed) for config in configs]
    for institution, seed in series:
        if series.count((institution, seed)) > 1:
            raise ConfigError(
                f"two configs have institution {institution!r} and seed {seed}: they would hold the same patients; change a seed"
            )


def _check_target(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: a file stands where the phantoms' folder should be; choose another folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder}: the folder is not empty, and nothing is overwritten; remove it or choose another")


def _write_patient(beside: Path, folder: Path, task: tuple[PhantomConfig, int]) -> list[ImageRecord]:
    """Write one patient's files under `beside` and describe them as they will lie under `folder`."""
    patient = make_patient(*task)
    records = []
    for view, image in enumerate(patient.images, start=1):
        image_id = f"{patient.patient_id}-{view}"
        name = f"{image_id}.png"
        Image.fromarray(image.pixels_HW).save(beside / "images" / name, compress_level=1)
        Image.fromarray(image.mask_HW.astype(np.uint8) * 255).save(beside / "masks" / name, compress_level=1)
        records.append(
            ImageRecord(
                image_id=image_id,
                patient_id=patient.patient_id,
                path=folder / "images" / name,
                label=patient.label,
                mask_paths=(folder / "masks" / name,),
                institution=patient.institution,
                device=patient.device,
                birads=patient.birads,
                histology=patient.histology,
                age_years=patient.age_years,
                lesion_size_mm=_longest_mm(image),
                calipers="yes" if image.calipers else "no",
                acquired=patient.acquired,
            )
        )
    return records


def _longest_mm(image: PhantomImage) -> float:
    """The longer side of the mask's box, as measured on the image."""
    rows, columns = np.flatnonzero(image.mask_HW.any(axis=1)), np.flatnonzero(image.mask_HW.any(axis=0))
    return round(float(max(np.ptp(rows), np.ptp(columns)) + 1) * image.mm_per_px, 1)


def _birads(lesion: Lesion, rng: np.random.Generator) -> str:
    """A reader's category: the descriptors' log-odds with a reader's error, cut at fixed points."""
    seen = lesion.log_odds() + rng.normal(0.0, 1.0)
    return str(2 + int(np.searchsorted(_BIRADS_FROM_LOG_ODDS, seen)))
