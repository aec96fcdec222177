"""A study's settings as a file: what a recipe prints is what it is, and a file's mistakes are named."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tune_jobs.recipes import make_config
from tune_jobs.study import Range
from tune_jobs.study_file import own_images_in, paths_in, read_study_file, study_file, with_file, with_words
from wsus.cli import app
from wsus.errors import ConfigError, WsusError


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("recipe", "data"), [("quick", {}), ("open", {"bus-bra": "A", "busi": "B"}), ("paper", {"busi": "C"})])
def test_what_a_recipe_prints_is_the_recipe(recipe: str, data: dict[str, str], tmp_path: Path) -> None:
    content = read_study_file(written(tmp_path, study_file(recipe, data)))
    assert paths_in(content) == data
    assert with_file(make_config(recipe, data), content) == make_config(recipe, data)


def test_a_file_with_a_part_of_the_settings_and_words_on_top(tmp_path: Path) -> None:
    text = """
recipe: open
data:
  internal: {kind: bus-bra, path: A}
  external: {kind: busi, path: B}
  splits: {internal_per_class: 50}
train: {lr: 1e-3, augment: {gamma: 0.1}, schedule: constant}
search_space:
  train: {weight_decay: 1e-3..1e-1:log}
  dropout: [0, 0.5]
per_backbone:
  vgg16: {augment: {flip: 0}}
"""
    content = read_study_file(written(tmp_path, text))
    paths = paths_in(content) | {"busi": "ELSEWHERE"}
    config = with_words(with_file(make_config("open", paths), content), {"train.lr": "2e-3"})
    assert (config.train.lr, config.train.augment.gamma, config.train.schedule) == (2e-3, 0.1, "constant")
    assert config.train.epochs == make_config("open", paths).train.epochs
    assert config.data.external is not None
    assert (config.data.external.path, config.data.splits.internal_per_class) == ("ELSEWHERE", 50)
    assert config.search_space["weight_decay"] == Range(low=1e-3, high=1e-1, log=True)
    assert config.per_backbone == {"vgg16": {"augment.flip": 0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe: quick\n  x: 1", r"study\.yaml: not YAML \(.*line 2.*`wsus recipes show quick`"),
        ("- 1", "expected names and values, `recipe: quick` among them"),
        ("train: {lr: 1}", "expected names and values, `recipe: quick` among them"),
        ("recipe: quick\ntrain: {lr: fast}", "setting 'train.lr' is a number, as 0.004; got \"fast\""),
        ("recipe: quick\ninternal_per_class: 5", "did you mean 'data.splits.internal_per_class'"),
        ("recipe: quick\ntrain: 5", "setting 'train' has parts: epochs"),
        ("recipe: quick\nsearch_space: {lr: fast}", "'search_space.lr' is LOW"),
        ("recipe: quick\nper_backbone: 5", "setting 'per_backbone'"),
        ("recipe: quick\n1: 5", "unknown setting '1'"),
    ],
)
def test_a_mistake_in_a_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        with_file(make_config("quick", {}), read_study_file(written(tmp_path, text)))
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        read_study_file(tmp_path / "none.yaml")


def test_the_file_of_own_images_leaves_out_what_follows_from_them(tmp_path: Path) -> None:
    file = written(tmp_path, study_file("own", {}))
    content = read_study_file(file)
    assert paths_in(content) == {"images": "OUR_IMAGES"}
    assert own_images_in(content) is None
    assert not {"train", "crop", "modes"} & content.keys()
    both = CliRunner().invoke(app, ["run", "--recipe", "quick", "--config", str(file)])
    assert "is of the recipe 'own'; leave --recipe out" in str(both.exception)
    missing = CliRunner().invoke(app, ["run", "--config", str(file), "--out", str(tmp_path / "store")])
    assert isinstance(missing.exception, WsusError)
    assert "OUR_IMAGES" in str(missing.exception)
