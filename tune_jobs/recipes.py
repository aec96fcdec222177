"""Ready studies. A recipe is a function that returns a complete StudyConfig; the decorator alone makes it known.

The first sentence of its docstring is what help and docs/study.md say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tune_jobs.study import Choice, DataConfig, Range, SourceConfig, StudyConfig
from wsus.data.roi import CropConfig
from wsus.data.sources import SOURCES, source_name
from wsus.data.splits import SplitConfig
from wsus.errors import ConfigError, UnknownNameError
from wsus.nets.config import AttentionConfig, MapConfig, UNetConfig
from wsus.training.config import AugmentConfig, SegmenterConfig, TrainConfig

DataPaths = Mapping[str, str]
Make = Callable[[DataPaths], StudyConfig]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A recipe by its name. data: the kinds that it needs.  summary: a sentence or two for people."""

    name: str
    make: Make
    data: tuple[str, ...]
    summary: str


RECIPES: dict[str, Recipe] = {}


def recipe(name: str, *, data: tuple[str, ...] = ()) -> Callable[[Make], Make]:
    """Register the decorated function as a recipe."""

    def register(make: Make) -> Make:
        RECIPES[name] = Recipe(name=name, make=make, data=data, summary=(make.__doc__ or "").partition("\n")[0])
        return make

    return register


_BUS_BRA_AND_BUSI = ("bus-bra", "busi")


@recipe("quick")
def quick(data: DataPaths) -> StudyConfig:
    """Made phantoms, tiny networks from scratch: the whole study in minutes on two processor cores."""
    _no_data("quick", data)
    return StudyConfig(
        name="quick",
        recipe="quick",
        data=DataConfig(
            internal=SourceConfig(kind="phantom", patients_per_class=150),
            external=SourceConfig(kind="phantom", patients_per_class=50, institution="B"),
            splits=SplitConfig(
                train_per_class=150, internal_per_class=50, external_per_class=50, development_fraction=0.2, folds=2
            ),
        ),
        width=0.125,
        stride=16,
        crop=CropConfig(size_px=96),
        train=TrainConfig(
            epochs=12,
            batch_size=16,
            lr=4e-3,
            schedule="one_cycle",
            ema_decay=0.9,
            smooth_epochs=3,
            augment=AugmentConfig(speckle=0.1, gamma=0.2),
        ),
        segmenter=SegmenterConfig(net=UNetConfig(base_channels=8, depth=3), crop=CropConfig(size_px=64), epochs=9, lr=5e-3),
        bootstrap=1000,
    )


@recipe("smoke", data=_BUS_BRA_AND_BUSI)
def smoke(data: DataPaths) -> StudyConfig:
    """A few dozen real images per class at a small size: does everything work on this data and this machine?"""
    return StudyConfig(
        name="smoke",
        recipe="smoke",
        data=_open_data(
            data,
            SplitConfig(train_per_class=60, internal_per_class=30, external_per_class=30, development_fraction=0.25, folds=2),
        ),
        backbones=("resnet34", "googlenet"),
        width=0.25,
        crop=CropConfig(size_px=96),
        train=TrainConfig(epochs=8, batch_size=16, lr=2e-3, schedule="one_cycle"),
        segmenter=SegmenterConfig(net=UNetConfig(base_channels=8, depth=3), crop=CropConfig(size_px=64), epochs=10, lr=5e-3),
        bootstrap=500,
    )


@recipe("open", data=_BUS_BRA_AND_BUSI)
def open_data(data: DataPaths) -> StudyConfig:
    """BUS-BRA trains and validates internally, BUSI externally; pretrained networks at full size. For GPUs, or patience."""
    return replace(
        _open_study("open", data),
        backbones=("vgg16", "resnet34", "googlenet", "efficientnet_lite0"),
        per_backbone={"vgg16": {"lr": 1e-4}, "efficientnet_lite0": {"frozen_layers": 9}},
        search_space={"lr": Range(low=1e-4, high=1e-3, log=True), "label_smoothing": Choice(options=(0.0, 0.1))},
    )


@recipe("open-small", data=_BUS_BRA_AND_BUSI)
def open_small(data: DataPaths) -> StudyConfig:
    """BUS-BRA and BUSI at 224 px on two processor cores: one pretrained network and one of the paper's, with maps that point."""
    return replace(
        _open_study("open-small", data),
        backbones=("efficientnet_lite0", "googlenet"),
        per_backbone={
            "efficientnet_lite0": {"frozen_layers": 9},
            "googlenet": {"weights": "none", "lr": 1e-3},  # no ImageNet weights without a download
        },
    )


def _open_study(name: str, data: DataPaths) -> StudyConfig:
    """What both recipes share; chosen on development patients (docs/results.md)."""
    return StudyConfig(
        name=name,
        recipe=name,
        data=_open_data(data, SplitConfig(train_per_class=None, internal_per_class=100, external_per_class=None)),
        weights="imagenet",
        dropout=0.2,
        pooling="attention",
        attention=AttentionConfig(own_share=0.5, place_dropout=0.4),
        map=MapConfig(mirror=True),
        cam_threshold_rule="development",
        train=_OTHER_SCANNERS,
        segmenter=SegmenterConfig(),
    )


@recipe("paper")
def paper(data: DataPaths) -> StudyConfig:
    """The paper's protocol on any manifest: 500 + 500 to train, 100 + 100 internal, 100 + 100 external, stretched to 224 px."""
    _only(data, (*SOURCES, "external"))
    kinds = [kind for kind in data if kind != "external"]
    if len(kinds) != 1:
        raise ConfigError(
            "recipe 'paper' needs --data manifest=CSV, or another KIND=PATH (institution A), and takes --data external=CSV "
            f"(institution B); got {', '.join(kinds) or 'none'}"
        )
    internal = SourceConfig(kind=kinds[0], path=data[kinds[0]])
    external = SourceConfig(kind="manifest", path=data["external"]) if "external" in data else None
    return StudyConfig(
        name="paper",
        recipe="paper",
        data=DataConfig(internal=internal, external=external),
        weights="imagenet",
        crop=CropConfig(fit="stretch"),
        train=_FULL_TRAINING,
        per_backbone={"vgg16": {"lr": 1e-4}},
    )


@recipe("own")
def own(data: DataPaths) -> StudyConfig:
    """Your own folder or table of images; sizes follow from their number and the machine (`tune_jobs.own` says why)."""
    from tune_jobs.own import plan_own

    return plan_own(data).config


_FULL_TRAINING = TrainConfig(epochs=18, lr=5e-4, class_weights=True, ema_decay=0.98, label_smoothing=0.05)
# Towards scanners that the training images do not show; chosen on development patients (docs/results.md).
_OTHER_SCANNERS = TrainConfig(
    epochs=24,
    batch_size=24,
    lr=4e-4,
    label_smoothing=0.05,
    class_weights=True,
    ema_decay=0.99,
    small_share=0.5,
    augment=AugmentConfig(
        zoom=0.4,
        stretch=0.15,
        shift=0.1,
        turn=0.09,
        gamma=0.6,
        attenuation=0.0,
        speckle=0.3,
        blur=0.0,
        window=0.3,
        soften=0.9,
        sharpen=0.6,
        gain=0.35,
        reject=0.12,
        saturate=0.3,
        unmark=0.25,
        marks=0.4,
        erase=0.3,
    ),
)


def make_config(recipe: str, data: DataPaths, *, name: str | None = None) -> StudyConfig:
    """The configuration of a recipe.

    Args:
        data: kind -> path, for instance {"bus-bra": "/data/bus-bra"}.
    Raises:
        UnknownNameError: no such recipe.  ConfigError: data that the recipe needs is missing, or not its own.
    """
    if recipe not in RECIPES:
        raise UnknownNameError("recipe", recipe, RECIPES)
    config = RECIPES[recipe].make({source_name(kind): path for kind, path in data.items()})
    return replace(config, name=name) if name else config


def _open_data(data: DataPaths, splits: SplitConfig) -> DataConfig:
    _only(data, _BUS_BRA_AND_BUSI)
    missing = [kind for kind in _BUS_BRA_AND_BUSI if kind not in data]
    if missing:
        raise ConfigError(f"this recipe needs {' and '.join(f'--data {kind}=DIR' for kind in missing)}; see docs/data.md")
    internal, external = SourceConfig(kind="bus-bra", path=data["bus-bra"]), SourceConfig(kind="busi", path=data["busi"])
    return DataConfig(internal=internal, external=external, splits=splits)


def _only(data: DataPaths, known: tuple[str, ...]) -> None:
    for kind in data:
        if kind not in known:
            raise UnknownNameError("kind of --data for this recipe", kind, known)


def _no_data(recipe: str, data: DataPaths) -> None:
    if data:
        raise ConfigError(f"recipe {recipe!r} makes its own phantoms and takes no --data; got {', '.join(data)}")
