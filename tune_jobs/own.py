"""The recipe `own`: a study whose sizes follow from a hospital's own images and from the machine, each with its reason."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from joblib import cpu_count

from tune_jobs.study import DataConfig, SourceConfig, StudyConfig
from wsus.data.remote import local_path
from wsus.data.roi import CropConfig
from wsus.data.sources.imported import Imported
from wsus.data.sources.own import OwnImages, read_own
from wsus.data.splits import SplitConfig
from wsus.errors import ConfigError, SplitError, UnknownNameError
from wsus.training.config import TrainConfig
from wsus.types import CLASS_NAMES, ImageRecord, Mode

FEWEST_PATIENTS = 10  # of each class: four to be scored, two to choose by, four to learn from
_FEWEST_MASKED = 60  # images with masks below which a U-Net and three modes tell nothing
_BACKBONE = "efficientnet_lite0"
_SEEN = 6_000  # images, each epoch counted, that are trained on at least: a rule of thumb, a quarter of the recipe `open`'s
_PER_CORE_S = 9.0  # training images a second and core at 224 px; 13 were measured on a quiet one, without scoring between epochs
_PATIENCE_S = 2 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What trains: processor cores, and whether there is a GPU."""

    cores: int
    gpu: bool

    def rate(self, size_px: int) -> float:
        """Training images a second of this side, as a guess."""
        return (400.0 if self.gpu else _PER_CORE_S * self.cores) * (224 / size_px) ** 2

    @classmethod
    def this(cls) -> Machine:
        """The machine that this runs on, without loading torch."""
        return cls(cores=cpu_count(), gpu=_has_gpu())


@dataclass(frozen=True, kw_only=True)
class OwnPlan:
    """A study of own images.

    notes: of the reading of the images.  why: each decision's reason.
    trained: training images.
    """

    config: StudyConfig
    notes: tuple[str, ...]
    why: Mapping[str, str]
    trained: int
    machine: Machine

    def lines(self, config: StudyConfig | None = None) -> tuple[str, ...]:
        """What was decided and why, a line each; of a decision that `config` changes what it is now, and what was planned."""
        config = config or self.config
        planned, now = self._decided(self.config), self._decided(config)
        lines = [
            f"{title:9} {now[title]}: {self.why[title]}"
            if now[title] == was
            else f"{title:9} {now[title]}, as set; planned were {was}"
            for title, was in planned.items()
        ]
        runs = len(config.cells()) * len(config.seeds) * config.samples
        seconds = runs * self.trained * config.train.epochs / self.machine.rate(config.crop.size_px)
        return (*self.notes, *lines, f"time      about {_duration(seconds)} of training on {_machine_words(self.machine)}")

    def _decided(self, config: StudyConfig) -> dict[str, str]:
        splits = config.data.splits
        return {
            "patients": f"{splits.internal_per_class} of each class, one image each, are kept for validation, "
            f"{100 * splits.development_fraction:g} % of the others choose the epoch",
            "network": ", ".join(config.backbones),
            "epochs": f"{config.train.epochs} in batches of {config.train.batch_size}",
            "input": f"{config.crop.size_px} px",
            "modes": ", ".join(mode.value for mode in config.modes),
        }


def plan_own(data: Mapping[str, str], how: OwnImages = OwnImages(), machine: Machine | None = None) -> OwnPlan:
    """A study of `images`, validated on held-out patients and, where there is one, on the `external` set.

    Raises:
        ConfigError: no images are named.  UnknownNameError: another kind of data.
        ManifestError: they cannot be read.  SplitError: there are too few patients.
    """
    for kind in data:
        if kind not in ("images", "external"):
            raise UnknownNameError("kind of --data for this recipe", kind, ("images", "external"))
    if "images" not in data:
        raise ConfigError(
            "recipe 'own' needs --data images=PATH, a folder with benign/ and malignant/ or a table; "
            "it takes --data external=PATH beside"
        )
    machine = machine or Machine.this()
    imported = read_own(local_path(data["images"]), how)
    external = read_own(local_path(data["external"]), how) if "external" in data else None
    return _plan(data, how, machine, imported, external)


def _plan(data: Mapping[str, str], how: OwnImages, machine: Machine, imported: Imported, external: Imported | None) -> OwnPlan:
    records = imported.manifest.records
    patients = _patients_per_class(records)
    _check_enough(patients, data["images"], len(records))
    fewest = min(patients.values())
    splits = SplitConfig(
        train_per_class=None,
        internal_per_class=min(100, max(4, round(0.25 * fewest))),
        external_per_class=None,
        development_fraction=0.2,
        folds=2 if fewest < 60 else 3,
    )
    scored = 2 * splits.internal_per_class
    trained = max(8, round((len(records) - scored) * 0.8))
    epochs = min(60, max(10, math.ceil(_SEEN / trained)))
    size_px, why = _input_size(trained * epochs, machine)
    modes, why_modes = _modes([*records, *(external.manifest.records if external else ())])
    batch_size = 8 if trained < 100 else 16 if trained < 600 else 32
    config = StudyConfig(
        name="own",
        recipe="own",
        data=DataConfig(
            internal=SourceConfig(kind="own", path=data["images"], own=how),
            external=SourceConfig(kind="own", path=data["external"], own=how) if external else None,
            splits=splits,
        ),
        backbones=(_BACKBONE,),
        modes=modes,
        weights="imagenet",
        crop=CropConfig(size_px=size_px),
        train=TrainConfig(
            epochs=epochs, batch_size=batch_size, lr=5e-4, class_weights=True, ema_decay=0.9 if trained < 600 else 0.98
        ),
    )
    return OwnPlan(
        config=config,
        notes=(
            *(f"images    {note}" for note in imported.notes),
            *(f"external  {note}" for note in (external.notes if external else ())),
        ),
        why={
            "patients": f"a quarter of the rarer class, at most 100, and a fifth; there are {_in_words(patients)}",
            "network": "its ImageNet weights come with the package, and few images need weights that know pictures",
            "epochs": f"about {trained} training images, {_SEEN:,} to be seen at least",
            "input": why,
            "modes": why_modes,
        },
        trained=trained,
        machine=machine,
    )


def _patients_per_class(records: Sequence[ImageRecord]) -> dict[str, int]:
    """Patients by class, as malignant where any image is."""
    labels: dict[str, int] = defaultdict(int)
    for record in records:
        labels[record.patient_id] = max(labels[record.patient_id], record.label or 0)
    return {name: sum(label == k for label in labels.values()) for k, name in enumerate(CLASS_NAMES)}


def _check_enough(patients: Mapping[str, int], address: str, images: int) -> None:
    lacking = {name: FEWEST_PATIENTS - count for name, count in patients.items() if count < FEWEST_PATIENTS}
    more = " and ".join(f"{count} more {name}" for name, count in lacking.items())
    if lacking:
        raise SplitError(
            f"{address}: {images} images of {_in_words(patients)}; a study needs {FEWEST_PATIENTS} patients of each class, to "
            f"learn from, to choose by and to be judged on: {more} are missing"
        )


def _input_size(seen: int, machine: Machine) -> tuple[int, str]:
    """(side in px, why): the published 224 px, or less where that would take too long."""
    for size_px in (224, 160, 128):
        if seen / machine.rate(size_px) <= _PATIENCE_S or size_px == 128:
            return (
                size_px,
                "the size of the published networks" if size_px == 224 else "224 px would take more than two hours here",
            )
    raise AssertionError("not reached")


def _modes(records: Sequence[ImageRecord]) -> tuple[tuple[Mode, ...], str]:
    masked = sum(bool(record.mask_paths) for record in records)
    if masked == len(records) >= _FEWEST_MASKED:
        return tuple(Mode), f"all {masked} images have a mask of the lesion"
    if masked == len(records):
        return (Mode.WEAK,), f"{masked} masks are too few for a comparison of modes ({_FEWEST_MASKED}); they judge the maps"
    if masked:
        return (
            Mode.WEAK,
        ), f"{masked} of {len(records)} images have a mask, and other modes need one for each; they judge the maps"
    return (Mode.WEAK,), "no image has a mask"


def _has_gpu() -> bool:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible not in ("", "-1") and any(Path("/proc/driver/nvidia/gpus").glob("*"))


def _in_words(patients: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in patients.items()) + " patients"


def _machine_words(machine: Machine) -> str:
    return "a GPU" if machine.gpu else f"{machine.cores} processor cores"


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
