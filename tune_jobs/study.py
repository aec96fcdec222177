"""What a study is: data, cells (backbone x supervision mode), trials (seed x hyperparameter sample), and how they train."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

import numpy as np
from typing_extensions import TypedDict

from tune_jobs.ended import rung_epochs
from tune_jobs.keys import cell_name
from wsus.data.roi import CropConfig
from wsus.data.sources import SOURCES, source_name
from wsus.data.sources.own import OwnImages
from wsus.data.splits import SplitConfig
from wsus.errors import ConfigError, UnknownNameError
from wsus.nets.backbones import get_backbone
from wsus.nets.config import AttentionConfig, Head, MapConfig, NetConfig, Pooling
from wsus.training.config import SegmenterConfig, TrainConfig
from wsus.types import Mode

PHANTOM = "phantom"  # made, not read
_STUDY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,46}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """One institution's images.

    kind: of `wsus.data.sources`, or PHANTOM.
    path: the data set's folder, or the manifest's CSV; phantoms have none, they are made.
    own: how a hospital's own folder or table is read.
    patients_per_class, institution, seed: of the phantoms.
    """

    kind: str
    path: str | None = None
    patients_per_class: int = 110
    institution: Literal["A", "B"] = "A"
    seed: int = 0
    own: OwnImages | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", source_name(self.kind))
        if self.kind not in (PHANTOM, *SOURCES):
            raise UnknownNameError("data source", self.kind, (PHANTOM, *SOURCES))
        if (self.path is None) != (self.kind == PHANTOM):
            raise ConfigError(f"data source {self.kind!r}: {'takes no path' if self.path else 'needs a path'}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Institution A trains and validates internally, institution B externally.

    splits_from_manifest: the manifest's own column `split` counts, not `splits`.
    """

    internal: SourceConfig
    external: SourceConfig | None = None
    splits: SplitConfig = field(default_factory=SplitConfig)
    splits_from_manifest: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A hyperparameter between two bounds, evenly or on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ConfigError(f"a range needs low < high (and low > 0 on a log scale); got {self.low!r}, {self.high!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A hyperparameter out of a list."""

    options: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What one trial takes. None: found from the cluster (a GPU each where there are any, else one CPU each).

    workers_per_trial: processes that train one network together, on one machine or several; they divide evenly what the trial
        takes, and each batch. It does not change what comes out but for rounding.
    gpus_per_trial may be a fraction: trials then share a GPU, whose memory is not divided between them.
    image_memory_gb: what one node may hold of decoded images, in 10^9 bytes; a quarter of the smallest node's memory where it is
        not named. A study that needs more streams its images (docs/study.md), which changes their order.
    scaling: the cluster grows on demand, perhaps from nothing, so that what it has now says nothing; the CPUs, the GPUs
        and the number of trials at a time are then named here.
    max_hours, max_core_hours, max_gpu_hours: of one run, by the clock and of all its trials together; then no trial trains on,
        and the cells of those that ended are scored. The next run goes on with the others, and makes their cells again.
    alike_failures: where so many trials failed with one message and none came to its end, the run stops; 0 for never.
    """

    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    memory_mb_per_trial: int | None = None
    max_concurrent_trials: int | None = None
    workers_per_trial: int = 1
    image_memory_gb: float | None = None
    scaling: bool = False
    max_hours: float | None = None
    max_core_hours: float | None = None
    max_gpu_hours: float | None = None
    alike_failures: int = 8

    def __post_init__(self) -> None:
        for name in ("max_hours", "max_core_hours", "max_gpu_hours"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigError(f"resources.{name} must be > 0; got {limit!r}")
        if self.alike_failures < 0:
            raise ConfigError(f"resources.alike_failures must be >= 0; got {self.alike_failures!r}")
        if self.workers_per_trial < 1:
            raise ConfigError(f"resources.workers_per_trial must be >= 1; got {self.workers_per_trial!r}")
        if self.image_memory_gb is not None and not self.image_memory_gb > 0:
            raise ConfigError(f"resources.image_memory_gb must be > 0; got {self.image_memory_gb!r}")
        gpus = (self.gpus_per_trial or 0) / self.workers_per_trial
        if gpus > 1 and gpus % 1:
            raise ConfigError(
                f"resources.gpus_per_trial={self.gpus_per_trial:g} among {self.workers_per_trial} workers is {gpus:g} GPUs each; "
                "a worker takes a whole number of GPUs, or a part of one"
            )
        needed = {"cpus_per_trial", "gpus_per_trial", "max_concurrent_trials"}
        missing = sorted(name for name in needed if getattr(self, name) is None)
        if self.scaling and missing:
            raise ConfigError(f"resources.scaling needs {' and '.join(f'resources.{name}' for name in missing)}, set before it")


def _typed(config: Any, below: str = "") -> dict[str, Any]:
    """The settings of a configuration by their path, `augment.gamma` for one of a part, with their types."""
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(config).items():
        found |= _typed(kind, f"{below}{name}.") if is_dataclass(kind) else {f"{below}{name}": kind}
    return found


_OF_TRAINING, _OF_NET = _typed(TrainConfig), _typed(NetConfig)
CELL_SETTINGS: dict[str, Any] = {"weights": str} | {
    n: k for n, k in (_OF_TRAINING | _OF_NET).items() if n not in ("backbone", "members")
}
TUNABLE = tuple(name for name, kind in CELL_SETTINGS.items() if {int, float} & {kind, *get_args(kind)})
if TYPE_CHECKING:
    PerBackbone = Mapping[str, Any]
else:
    PerBackbone = TypedDict("PerBackbone", CELL_SETTINGS, total=False)  # what `tune_jobs.settings` holds files and words to


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """A whole study. Its `name` is its address in the store; its other fields decide what is computed.

    samples: hyperparameter samples per cell and seed; the first is always the default.
    search: how further samples are drawn.  search_space: by the names of TUNABLE: every number of training, network and
        augmentation.  scheduler: "asha" stops the worse samples of a cell and seed early.
    per_backbone: settings of TrainConfig or NetConfig, or weights, that replace the defaults for one backbone; of their parts
        as `augment.gamma`.
    ensemble: the networks of a cell's seeds, read as one, stand for it in the tables and are its bundle (`wsus.nets.ensemble`).
        It may be asked for when the trials are there; then no trial is trained again.
    cam_threshold_rule: "fixed" cuts the maps of weak networks at cam_threshold; "development" at the threshold whose boxes meet
        most lesions' of the development split's masks (IoU >= 0.5), where it has masks.
    margin, noninferiority_confidence, prevalence, bootstrap: of the comparison (`ComparisonConfig`).
    weights: "none", "imagenet" or a file; weights_dir: where ImageNet weights lie on a machine without a network.
    """

    name: str
    recipe: str
    data: DataConfig
    backbones: tuple[str, ...] = ("vgg16", "resnet34", "googlenet")
    modes: tuple[Mode, ...] = tuple(Mode)
    seeds: tuple[int, ...] = (0,)
    ensemble: bool = False
    samples: int = 1
    search: Literal["random", "optuna"] = "random"
    search_space: Mapping[str, Range | Choice] = field(default_factory=dict)
    scheduler: Literal["none", "asha"] = "none"
    head: Head = "cam"
    stride: int = 32
    width: float = 1.0
    dropout: float = 0.0
    pooling: Pooling = "average"
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    weights: str = "none"
    weights_dir: str | None = None
    crop: CropConfig = field(default_factory=CropConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    per_backbone: Mapping[str, PerBackbone] = field(default_factory=dict)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    map: MapConfig = field(default_factory=MapConfig)
    cam_threshold: float = 0.3
    cam_threshold_rule: Literal["fixed", "development"] = "fixed"
    operating_point: float = 0.5
    margin: float = 0.05
    noninferiority_confidence: float = 0.975
    prevalence: float | None = None
    bootstrap: int = 2000
    max_failures: int = 1
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        if not _STUDY_NAME.fullmatch(self.name):
            raise ConfigError(f"a study's name has lower-case letters, digits and hyphens, at most 47; got {self.name!r}")
        if not self.backbones or not self.modes or not self.seeds:
            raise ConfigError("a study needs at least one backbone, one mode and one seed")
        object.__setattr__(self, "modes", tuple(_mode(mode) for mode in self.modes))
        if len({*self.backbones}) < len(self.backbones) or len({*self.modes}) < len(self.modes):
            raise ConfigError(f"backbones and modes stand once each; got {', '.join([*self.backbones, *self.modes])}")
        if len({*self.seeds}) < len(self.seeds) or not all(type(seed) is int and seed >= 0 for seed in self.seeds):
            raise ConfigError(f"seeds are whole numbers from 0 on, each once; got {self.seeds!r}")
        if self.ensemble and len(self.seeds) < 2:
            raise ConfigError(f"ensemble needs two seeds or more, for instance seeds=0,1,2; got seeds={self.seeds[0]}")
        for name in {*self.backbones, *self.per_backbone}:
            get_backbone(name)
        for name in self.search_space:
            if name not in TUNABLE:
                raise UnknownNameError("hyperparameter", name, TUNABLE)
        if self.samples < 1 or (self.samples > 1 and not self.search_space):
            raise ConfigError(f"samples must be >= 1, and more than one needs a search_space; got {self.samples}")
        if self.search == "optuna" and self.samples < 2:
            lacks = "samples=20" + ("" if self.search_space else " and a search_space, as search_space.lr=1e-4..1e-2:log")
            raise ConfigError(f"search=optuna draws samples after the first, which is the default: set {lacks}, too")
        if "epochs" in self.search_space and self.scheduler == "asha":
            raise ConfigError("search_space.epochs and scheduler=asha: the scheduler shares out the epochs itself; leave one out")
        if not 0 < self.cam_threshold < 1 or not 0 < self.operating_point < 1:
            raise ConfigError(
                f"cam_threshold and operating_point lie in (0, 1); got {self.cam_threshold}, {self.operating_point}"
            )
        if self.cam_threshold_rule not in ("fixed", "development"):
            raise ConfigError(f"cam_threshold_rule is 'fixed' or 'development'; got {self.cam_threshold_rule!r}")
        for name in ("margin", "noninferiority_confidence", "prevalence"):
            value = getattr(self, name)
            if not (value is None or 0 < value < 1):
                raise ConfigError(f"{name} lies in (0, 1); got {value!r}")
        for trial in self.cells():
            self.net_config(trial, {})
            self.train_config(trial, {})
            for name, space in self.search_space.items():
                for value in space.options if isinstance(space, Choice) else (space.low, space.high):
                    self.net_config(trial, {name: as_whole(name, value)})
                    self.train_config(trial, {name: as_whole(name, value)})

    def cells(self) -> list[Cell]:
        """All cells, in the order of the tables."""
        return [Cell(backbone=backbone, mode=mode) for backbone in self.backbones for mode in self.modes]

    def weights_of(self, backbone: str) -> str:
        """What a backbone starts from."""
        return str(self.per_backbone.get(backbone, {}).get("weights", self.weights))

    @property
    def trial_count(self) -> int:
        """How many trials the study has, those that Optuna draws itself included."""
        return len(self.cells()) * len(self.seeds) * self.samples

    def trials(self) -> list[Trial]:
        """All trials with their hyperparameters; the draw depends on the cell, the seed and the sample alone."""
        samples = self.samples if self.search == "random" else 1  # Optuna draws the others itself
        return [
            Trial(cell=cell, seed=seed, sample=sample, hyper=self._draw(cell, seed, sample))
            for sample in range(samples)
            for seed in self.seeds
            for cell in self.cells()
        ]

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which the scheduler may end a trial."""
        return rung_epochs(self.scheduler, self.train.epochs)

    def net_config(self, cell: Cell, hyper: Mapping[str, float]) -> NetConfig:
        """The network of a cell, with a trial's hyperparameters."""
        shared = ("head", "stride", "width", "dropout", "pooling", "attention")
        settings: dict[str, Any] = {name: getattr(self, name) for name in shared}
        weights = self.weights_of(cell.backbone)
        settings["batch_norm"] = weights == "none"
        settings["dilated"] = settings["published_scale"] = weights != "none"
        return NetConfig(backbone=cell.backbone, **settings | _changes(settings, self._own(cell, _OF_NET, hyper)))

    def train_config(self, cell: Cell, hyper: Mapping[str, float]) -> TrainConfig:
        """The training of a cell, with a trial's hyperparameters."""
        return replace(self.train, **_changes({"augment": self.train.augment}, self._own(cell, _OF_TRAINING, hyper)))

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON values; two studies with equal ones compute the same."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """JSON values of all settings that have a default."""
        plain = cls(name="defaults", recipe="defaults", data=DataConfig(internal=SourceConfig(kind="phantom"))).to_json()
        return {name: value for name, value in plain.items() if name not in ("name", "recipe", "data")}

    def _own(self, cell: Cell, known: Mapping[str, Any], hyper: Mapping[str, float]) -> dict[str, Any]:
        own = {**self.per_backbone.get(cell.backbone, {}), **hyper}
        for name in own:
            if name not in CELL_SETTINGS:
                raise UnknownNameError("setting per backbone", name, CELL_SETTINGS)
        return {name: value for name, value in own.items() if name in known}

    def _draw(self, cell: Cell, seed: int, sample: int) -> dict[str, float]:
        if sample == 0:
            return {}
        entropy = [seed, sample, *f"{cell}".encode()]
        rng = np.random.default_rng(entropy)
        return {name: as_whole(name, _draw_one(space, rng)) for name, space in sorted(self.search_space.items())}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One backbone under one supervision mode: a row of the tables."""

    backbone: str
    mode: Mode

    def __str__(self) -> str:
        return cell_name(self.backbone, self.mode.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training run. hyper: what differs from the study's defaults."""

    cell: Cell
    seed: int
    sample: int
    hyper: dict[str, float]

    def __str__(self) -> str:
        return f"{self.cell}-seed{self.seed}-sample{self.sample}"

    def to_json(self) -> dict[str, Any]:
        """JSON values, as they pass through Ray Tune."""
        return {
            "backbone": self.cell.backbone,
            "mode": self.cell.mode.value,
            "seed": self.seed,
            "sample": self.sample,
            "hyper": dict(self.hyper),
        }

    def to_text(self) -> str:
        """`to_json` as one string: Tune deep-copies a grid of all trials for each trial, and copying strings costs nothing."""
        return json.dumps(self.to_json())

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | str) -> Trial:
        """The inverse of `to_json` and of `to_text`."""
        value = json.loads(value) if isinstance(value, str) else value
        cell = Cell(backbone=value["backbone"], mode=Mode(value["mode"]))
        return cls(cell=cell, seed=value["seed"], sample=value["sample"], hyper=dict(value["hyper"]))


def is_whole(name: str) -> bool:
    """Whether a setting of TUNABLE is a whole number."""
    return float not in {CELL_SETTINGS[name], *get_args(CELL_SETTINGS[name])}


def as_whole(name: str, value: float) -> float:
    """A value of a setting, rounded where that is a whole number."""
    return round(value) if is_whole(name) else value


def _changes(parts: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `replace` for settings by their path; `parts` holds what `augment.gamma` is a setting of."""
    found: dict[str, Any] = {}
    for path, value in own.items():
        name, _, rest = path.partition(".")
        found[name] = replace(found.get(name, parts[name]), **{rest: value}) if rest else value
    return found


def _draw_one(space: Range | Choice, rng: np.random.Generator) -> float:
    if isinstance(space, Choice):
        return space.options[int(rng.integers(len(space.options)))]
    if space.log:
        return float(np.exp(rng.uniform(np.log(space.low), np.log(space.high))))
    return float(rng.uniform(space.low, space.high))


def _mode(value: str) -> Mode:
    try:
        return Mode(value)
    except ValueError:
        raise UnknownNameError("supervision mode", str(value), [mode.value for mode in Mode]) from None
