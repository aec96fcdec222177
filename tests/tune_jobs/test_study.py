"""What a study is made of, how its hyperparameters are drawn, and how a person changes a setting."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tune_jobs.per_cell import METRIC, make_scheduler
from tune_jobs.settings import differences, with_defaults
from tune_jobs.study import (
    Cell,
    Choice,
    DataConfig,
    Range,
    Resources,
    SourceConfig,
    StudyConfig,
    Trial,
)
from tune_jobs.study_file import with_words
from wsus.errors import ConfigError, UnknownNameError
from wsus.types import Mode

DATA = DataConfig(internal=SourceConfig(kind="phantom"))
STUDY = StudyConfig(name="s", recipe="quick", data=DATA, backbones=("vgg16", "resnet34"), modes=(Mode.WEAK, Mode.MANUAL_ROI))
TUNED = replace(
    STUDY,
    seeds=(0, 1),
    samples=3,
    search_space={"lr": Range(low=1e-4, high=1e-2, log=True), "label_smoothing": Choice(options=(0.0, 0.1))},
)


def test_cells_stand_in_the_order_of_the_tables() -> None:
    names = ["vgg16-weak", "vgg16-manual_roi", "resnet34-weak", "resnet34-manual_roi"]
    assert [str(cell) for cell in STUDY.cells()] == names


def test_order_cell_gets_every_seed_and_sample_the_default_first() -> None:
    trials = TUNED.trials()
    assert len(trials) == len({str(trial) for trial in trials}) == 4 * 2 * 3
    assert all(trial.hyper == {} for trial in trials if trial.sample == 0)
    assert [trial.sample for trial in trials] == [0] * 8 + [1] * 8 + [2] * 8
    assert str(trials[0]) == "vgg16-weak-seed0-sample0"


def test_draw_depends_on_cell_seed_and_sample_alone() -> None:
    drawn = {str(trial): trial.hyper for trial in TUNED.trials()}
    fewer = replace(TUNED, backbones=("resnet34",), modes=(Mode.MANUAL_ROI,), seeds=(1,), samples=2)
    again = {str(trial): trial.hyper for trial in fewer.trials()}
    assert again == {name: drawn[name] for name in again}
    rates = [hyper["lr"] for hyper in drawn.values() if hyper]
    assert len(set(rates)) == 16


def test_draws_stay_in_their_space() -> None:
    hypers = [trial.hyper for trial in replace(TUNED, samples=200, seeds=(0,)).trials() if trial.hyper]
    rates = np.array([hyper["lr"] for hyper in hypers])
    assert 1e-4 <= rates.min() < 1.1e-4
    assert 0.9e-2 < rates.max() <= 1e-2
    assert np.median(rates) == pytest.approx(1e-3, rel=0.25)  # even on the logarithmic scale
    assert {hyper["label_smoothing"] for hyper in hypers} == {0.0, 0.1}


def test_optuna_is_asked_for_the_other_samples() -> None:
    assert {trial.sample for trial in replace(TUNED, search="optuna").trials()} == {0}


def test_hyperparameters_come_over_settings_per_backbone_over_the_studys() -> None:
    study = replace(STUDY, per_backbone={"vgg16": {"lr": 0.5, "stride": 16, "batch_norm": False}}, dropout=0.1)
    vgg, resnet = Cell(backbone="vgg16", mode=Mode.WEAK), Cell(backbone="resnet34", mode=Mode.WEAK)
    assert study.train_config(vgg, {}).lr == 0.5
    assert study.train_config(vgg, {"lr": 0.25}).lr == 0.25
    assert study.train_config(resnet, {}) == study.train
    assert (study.net_config(vgg, {}).stride, study.net_config(resnet, {}).stride) == (16, 32)
    assert (study.net_config(vgg, {}).batch_norm, study.net_config(resnet, {}).batch_norm) == (False, True)
    assert study.net_config(resnet, {"dropout": 0.3}).dropout == 0.3


def test_batch_norm_is_for_training_from_scratch() -> None:
    (cell, *_) = STUDY.cells()
    assert STUDY.net_config(cell, {}).batch_norm
    assert not replace(STUDY, weights="imagenet").net_config(cell, {}).batch_norm


def test_trial_passes_through_json() -> None:
    trial = TUNED.trials()[-1]
    assert trial.hyper
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial
    assert Trial.from_json(trial.to_text()) == trial


def test_name_of_a_timm_cell_is_a_file_name() -> None:
    assert str(Cell(backbone="timm:resnet10t", mode=Mode.WEAK)) == "timm_resnet10t-weak"


def test_configuration_is_json_and_differences_are_lines() -> None:
    other = replace(STUDY, train=replace(STUDY.train, lr=3e-3), seeds=(0, 1))
    old, new = STUDY.to_json(), other.to_json()
    assert json.loads(json.dumps(old)) == old
    assert differences(old, old) == []
    assert differences(old, new) == ["seeds: [0] -> [0, 1]", "train.lr: 0.001 -> 0.003"]
    assert differences({"a": 1}, {"a": 1, "b": {"c": 2}}) == ['b: null -> {"c": 2}']


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("train.epochs", "5", 5),
        ("train.lr", "1", 1.0),
        ("train.lr", "3e-3", 3e-3),
        ("train.patience", "4", 4),
        ("train.patience", "null", None),
        ("train.class_weights", "true", True),
        ("train.augment.speckle", "0", 0.0),
        ("train.schedule", "one_cycle", "one_cycle"),
        ("data.splits.train_per_class", "null", None),
        ("data.splits.folds", "4", 4),
        ("resources.memory_mb_per_trial", "2000", 2000),
        ("resources.cpus_per_trial", "2", 2.0),
        ("resources.workers_per_trial", "2", 2),
        ("backbones", "googlenet", ("googlenet",)),
        ("backbones", "vgg16,googlenet", ("vgg16", "googlenet")),
        ("backbones", '["vgg16"]', ("vgg16",)),
        ("modes", "weak,auto_roi", (Mode.WEAK, Mode.AUTO_ROI)),
        ("seeds", "3", (3,)),
        ("seeds", "0,1,2", (0, 1, 2)),
        ("weights", "imagenet", "imagenet"),
        ("weights_dir", "/data/weights", "/data/weights"),
        ("resources.gpus_per_trial", "0.5", 0.5),
        ("per_backbone.vgg16.lr", "1e-4", {"vgg16": {"lr": 1e-4}}),
    ],
)
def test_one_setting_is_changed(path: str, text: str, expected: object) -> None:
    changed = with_words(STUDY, {path: text})
    value: Any = changed
    for name in path.split(".") if not path.startswith("per_backbone") else ["per_backbone"]:
        value = getattr(value, name)
    assert value == expected
    assert type(value) is type(expected)
    first = path.partition(".")[0]
    assert {line.partition(".")[0].partition(":")[0] for line in differences(STUDY.to_json(), changed.to_json())} <= {first}


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("train.epoch", "5", r"unknown setting 'train\.epoch'\. Did you mean 'train\.epochs'"),
        ("trian.epochs", "5", "unknown setting 'trian'. Did you mean 'train'"),
        ("train.epochs", "five", "setting 'train.epochs' is a whole number, as 18; got \"five\""),
        ("train.epochs", "2.5", "setting 'train.epochs' is a whole number.*got 2.5"),
        ("train.epochs", "true", "setting 'train.epochs' is a whole number.*got true"),
        ("train.epochs", "0", "epochs must be >= 1"),
        ("train.epochs", "null", "setting 'train.epochs' is a whole number.*got null"),
        ("train.patience", "abc", "setting 'train.patience' is a whole number; got \"abc\""),
        ("train", "null", "setting 'train' has parts: epochs, batch_size"),
        ("weights_dir", "5", "setting 'weights_dir' is text; got 5"),
        ("train.lr", "null", "setting 'train.lr' is a number, as 0.001; got null"),
        ("train.schedule", "cosin", "unknown value of 'train.schedule' 'cosin'. Did you mean 'cosine'"),
        ("train", "5", "setting 'train' has parts: epochs, batch_size"),
        ("width.x", "5", "setting 'width' is a number, as 1.0; got {\"x\": 5}"),
        ("backbones", "vgg61", "unknown backbone 'vgg61'. Did you mean 'vgg16'"),
        ("modes", "week", "unknown value of 'modes.0' 'week'. Did you mean 'weak'"),
        ("seeds", "-1", "seeds are whole numbers from 0 on, each once; got"),
        ("seeds", "0,0", "seeds are whole numbers from 0 on, each once; got"),
        ("seeds", "a", "setting 'seeds.0' is a whole number, as 0; got \"a\""),
        ("backbones", "vgg16,vgg16", "backbones and modes stand once each"),
        ("per_backbone.vgg61.lr", "1", "unknown backbone 'vgg61'"),
        ("per_backbone.vgg16.lrr", "1", "unknown setting of per_backbone.vgg16 'lrr'. Did you mean 'lr'"),
        ("per_backbone.vgg16.patience", "soon", "setting 'per_backbone.vgg16.patience' is a whole number; got \"soon\""),
        ("search_space.lrr", "1..2", "unknown hyperparameter 'lrr'. Did you mean 'lr'"),
        ("search_space.lr", "fast", r"'search_space\.lr' is LOW\.\.HIGH, LOW\.\.HIGH:log or a list of values.*; got \"fast\""),
        ("search_space.lr", '{"low": "a", "high": 2}', r"'search_space\.lr\.low' is a number; got \"a\""),
        ("search_space.lr", "2..1", "a range needs low < high"),
        ("search_space.batch_size", "1..8", "batch_size >= 2; got 18 and 1"),
        ("search_space.augment.gamma", "0..2", r"augmentation gamma must lie in \[0, 1\]; got 2"),
        ("search", "optuna", r"search=optuna draws samples after the first.* set samples=20 and a search_space"),
    ],
)
def test_setting_that_cannot_be_is_refused(path: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_words(STUDY, {path: text})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "My Study"}, "a study's name has lower-case letters.*got 'My Study'"),
        ({"name": "a" * 48}, "at most 47"),
        ({"backbones": ()}, "at least one backbone, one mode and one seed"),
        ({"modes": ("strong",)}, "unknown supervision mode 'strong'"),
        ({"search_space": {"learning_rate": Range(low=1, high=2)}}, "unknown hyperparameter 'learning_rate'"),
        ({"samples": 0}, "samples must be >= 1"),
        ({"samples": 2}, "more than one needs a search_space; got 2"),
        ({"cam_threshold": 1.0}, r"lie in \(0, 1\); got 1\.0, 0\.5"),
        ({"operating_point": 0.0}, r"lie in \(0, 1\); got 0\.3, 0\.0"),
        ({"per_backbone": {"vgg16": {"stride": 8}}}, "stride must be 16 or 32; got 8"),
    ],
)
def test_impossible_studies_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(STUDY, **change)


def test_impossible_parts_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data source 'bus_bra'\. Did you mean 'bus-bra'"):
        SourceConfig(kind="bus_bra", path="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="data source 'busi': needs a path"):
        SourceConfig(kind="busi")
    with pytest.raises(ConfigError, match="data source 'phantom': takes no path"):
        SourceConfig(kind="phantom", path="x")
    with pytest.raises(ConfigError, match="needs low < high"):
        Range(low=2, high=1)
    with pytest.raises(ConfigError, match="low > 0 on a log scale"):
        Range(low=0, high=1, log=True)


def test_resources_are_no_part_of_what_is_refused() -> None:
    assert replace(STUDY, resources=Resources(gpus_per_trial=0.25)).trials() == STUDY.trials()


def test_a_scaling_cluster_is_told_what_a_trial_takes() -> None:
    with pytest.raises(ConfigError, match=r"resources\.scaling needs .*cpus_per_trial.* set before it"):
        Resources(scaling=True, gpus_per_trial=1)
    assert Resources(scaling=True, gpus_per_trial=1, cpus_per_trial=4, max_concurrent_trials=2).scaling


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 12, 13, 50])
def test_asha_ends_a_trial_at_a_rung_and_nowhere_else(epochs: int) -> None:
    """Ray's own scheduler, asked with trials that are worse than seven others from some epoch on."""
    config = replace(STUDY, train=replace(STUDY.train, epochs=epochs), scheduler="asha")
    for worse_from in range(1, epochs + 1):
        asha = make_scheduler(config)._make()  # type: ignore[attr-defined]
        trials = [SimpleNamespace(trial_id=str(number)) for number in range(8)]
        for trial in trials:
            asha.on_trial_add(None, trial)
        for epoch in range(1, epochs + 1):
            aucs = [0.9] * 7 + [0.1 if epoch >= worse_from else 0.9]
            results = [{"epoch": epoch, METRIC: auc} for auc in aucs]
            orders = [asha.on_trial_result(None, trial, result) for trial, result in zip(trials, results, strict=True)]
            if orders[-1] == "STOP":
                break
        assert epoch == min(rung for rung in config.rungs if rung >= worse_from)
    assert replace(config, scheduler="none").rungs == (epochs,)


def test_study_of_an_older_version_is_compared_by_what_it_did() -> None:
    old = STUDY.to_json()
    del old["map"], old["train"]["augment"]["blur"]
    old["train"]["lr"] = 0.5
    filled = with_defaults(old, STUDY.defaults())
    assert differences(filled, STUDY.to_json()) == ["train.lr: 0.5 -> 0.001"]
