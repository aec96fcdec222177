"""Settings from a file and from words, by one schema."""

from dataclasses import replace

import pytest

from tune_jobs.recipes import RECIPES, make_config
from tune_jobs.settings import differences, from_words, with_changes
from tune_jobs.study import TUNABLE, Choice, Range
from tune_jobs.study_file import with_words
from wsus.errors import ConfigError, UnknownNameError
from wsus.types import Mode

PATHS = {"bus-bra": "A", "busi": "B", "manifest": "C.csv"}


def test_a_name_without_its_path_is_told_the_whole_path() -> None:
    config = make_config("quick", {})
    with pytest.raises(ConfigError, match=r"'internal_per_class' here; did you mean 'data\.splits\.internal_per_class'\?"):
        with_words(config, {"internal_per_class": "5"})
    with pytest.raises(ConfigError, match=r"did you mean .*'train\.epochs'.*'segmenter\.epochs'"):
        with_words(config, {"epochs": "5"})
    with pytest.raises(ConfigError, match=r"did you mean 'data\.splits\.folds'"):
        with_words(config, {"splits.folds": "5"})
    with pytest.raises(ConfigError, match=r"no setting is called 'train\.augment\.gama'; did you mean 'train\.augment\.gamma'\?"):
        with_words(config, {"train.augment.gama": "0.5"})
    with pytest.raises(UnknownNameError, match=r"unknown setting 'trian'\. Did you mean 'train'"):
        with_words(config, {"trian": "5"})
    assert with_words(config, {"data.splits.internal_per_class": "5"}).data.splits.internal_per_class == 5


@pytest.mark.parametrize(("path", "value"), [("per_backbone.resnet34.lr", "fast"), ("per_backbone.resnet34.width", "true")])
def test_a_word_where_a_number_belongs_is_no_traceback(path: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"setting '{path}' is a number; got"):
        with_words(make_config("quick", {}), {path: value})


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "own"])
def test_a_configuration_passes_the_schema_unchanged(recipe: str) -> None:
    needed = RECIPES[recipe].data or (("manifest",) if recipe == "paper" else ())
    config = make_config(recipe, {kind: PATHS[kind] for kind in needed})
    assert with_changes(config, {}) == config
    assert differences(config.to_json(), with_changes(config, config.to_json()).to_json()) == []


def test_search_spaces_of_every_number_and_whole_ones_stay_whole() -> None:
    config = with_words(
        make_config("quick", {}),
        {
            "search": "optuna",
            "samples": "6",
            "search_space.lr": "1e-4..1e-2:log",
            "search_space.train.batch_size": "8..32",
            "search_space.augment.gamma": "[0, 0.2, 0.4]",
            "search_space.attention.place_dropout": '{"low": 0.1, "high": 0.5}',
        },
    )
    assert config.search_space == {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "batch_size": Range(low=8, high=32),
        "augment.gamma": Choice(options=(0, 0.2, 0.4)),
        "attention.place_dropout": Range(low=0.1, high=0.5),
    }
    assert {"epochs", "weight_decay", "augment.flip", "dropout", "width", "attention.channels", "ema_decay"} <= set(TUNABLE)
    assert not {"class_weights", "schedule", "optimizer", "batch_norm"} & set(TUNABLE)
    drawn = replace(config, search="random").trials()[-1]
    assert isinstance(drawn.hyper["batch_size"], int)
    train, net = config.train_config(drawn.cell, drawn.hyper), config.net_config(drawn.cell, drawn.hyper)
    assert (train.batch_size, train.augment.gamma) == (drawn.hyper["batch_size"], drawn.hyper["augment.gamma"])
    assert train.augment.flip == config.train.augment.flip
    assert net.attention.place_dropout == drawn.hyper["attention.place_dropout"]


def test_settings_of_one_backbone_keep_those_beside_them_and_its_name_may_have_dots() -> None:
    config = replace(make_config("quick", {}), per_backbone={"vgg16": {"lr": 1e-4}})
    words = {"per_backbone.vgg16.augment.gamma": "0.1", "per_backbone.timm:efficientnet_b0.ra_in1k.lr": "1e-3"}
    changed = with_words(config, words)
    assert changed.per_backbone == {
        "vgg16": {"lr": 1e-4, "augment.gamma": 0.1},
        "timm:efficientnet_b0.ra_in1k": {"lr": 1e-3},
    }
    (vgg, *_) = changed.cells()
    assert (changed.train_config(vgg, {}).augment.gamma, changed.train_config(vgg, {}).augment.flip) == (0.1, 0.5)
    assert with_words(changed, {"per_backbone": "{}"}).per_backbone == {}
    assert with_words(config, {"modes": "weak"}).modes == (Mode.WEAK,)
    with pytest.raises(ConfigError, match="'train' is set to a value of its own"):
        from_words(config, {"train": "5", "train.lr": "1"})
