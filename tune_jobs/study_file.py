"""A study's settings as a YAML file: written from a recipe, read by the schema that `--set` is held to.

The file holds a StudyConfig, or the part of one that differs from its recipe. Where images lie stands in `data`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tune_jobs.recipes import RECIPES, make_config
from tune_jobs.settings import from_words, with_changes
from tune_jobs.study import PHANTOM, StudyConfig
from wsus.data.sources.own import OwnImages
from wsus.errors import ConfigError, UnknownNameError

_OWN = {"internal": "images", "external": "external"}  # the recipe's kinds of --data
_FOLLOWS = ("modes", "crop", "train", "data")  # what the recipe `own` finds from the images and the machine
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf)|\.nan")


class _Loader(yaml.SafeLoader):
    """As YAML 1.2: 1e-3 is a number, `on` and `no` are words."""


_Loader.yaml_implicit_resolvers = {
    first: [item for item in resolvers if item[0] not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"(?:{_NUMBER.pattern})$"), list("-+0123456789."))


def read_study_file(path: Path) -> dict[str, Any]:
    """The settings that a file holds. Raises ConfigError where it is no YAML of names and values."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise ConfigError(f"--config {path}: not YAML ({where}); `wsus recipes show quick` prints such a file") from error
    if not isinstance(content, dict) or "recipe" not in content:
        raise ConfigError(
            f"--config {path}: expected names and values, `recipe: quick` among them, as `wsus recipes show` prints"
        )
    return content


def paths_in(content: Mapping[str, Any]) -> dict[str, str]:
    """Where the images of a file lie, as `--data` names them."""
    found = {}
    for place, one in _sources(content).items():
        if one.get("path") is not None and one.get("kind") != PHANTOM:
            kind = "external" if content["recipe"] == "paper" and place == "external" else one.get("kind")
            found[_OWN[place] if content["recipe"] == "own" else str(kind)] = str(one["path"])
    return found


def own_images_in(content: Mapping[str, Any]) -> OwnImages | None:
    """How a file says that own images are read; None where it does not."""
    how = _sources(content).get("internal", {}).get("own")
    if how is None:
        return None
    try:
        return OwnImages(**how)
    except TypeError as error:
        raise ConfigError(f"setting 'data.internal.own': {error}; it has columns, labels, images and patients") from error


def with_file(config: StudyConfig, content: Mapping[str, Any]) -> StudyConfig:
    """A recipe's configuration with a file's settings, but for where images lie, which it was made with. Raises ConfigError."""
    data = content.get("data")
    if isinstance(data, Mapping):
        kept = {
            place: {k: v for k, v in one.items() if k not in ("kind", "path", "own")} for place, one in _sources(content).items()
        }
        content = {**content, "data": {**data, **kept}}
    return with_changes(config, content)


def with_words(config: StudyConfig, words: Mapping[str, str]) -> StudyConfig:
    """A configuration with what `--set` says. Raises ConfigError."""
    return with_changes(config, from_words(config, words)) if words else config


def study_file(recipe: str, data: Mapping[str, str]) -> str:
    """A recipe's settings as a file, with words on how it is used. Raises as `make_config`."""
    if recipe not in RECIPES:
        raise UnknownNameError("recipe", recipe, RECIPES)
    lines = [
        f"# {recipe}: {RECIPES[recipe].summary}",
        f"# Run it: wsus run --config FILE --out STORE; `--set train.epochs=5` and `--data {_kinds(recipe)}=PATH` come on top.",
        "# What is left out is as the recipe has it. A search space is LOW..HIGH, LOW..HIGH:log or a list of values, as",
        "#   search_space: {lr: 1e-4..1e-2:log, augment.gamma: 0..0.5}   with   samples: 20   and   search: optuna",
    ]
    if recipe == "own" and not data:
        plain = StudyConfig.defaults() | {"backbones": ["efficientnet_lite0"], "weights": "imagenet"}
        lines.append(
            "# The sizes of `train`, `crop`, `data.splits` and the modes follow from images and machine; name them to fix them."
        )
        values: dict[str, Any] = {"name": "own", "recipe": "own", "data": {"internal": {"path": "OUR_IMAGES"}}}
        values |= {name: value for name, value in plain.items() if name not in _FOLLOWS}
    else:
        places = {kind: f"{kind.upper()}_FOLDER" for kind in RECIPES[recipe].data} | dict(data)
        if recipe == "paper" and not data:
            places = {"manifest": "MANIFEST.csv"}
        values = make_config(recipe, places).to_json()
    return "\n".join(lines) + "\n" + yaml.safe_dump(values, sort_keys=False, width=110, allow_unicode=True)


def _kinds(recipe: str) -> str:
    return {"own": "images", "paper": "manifest"}.get(recipe) or (RECIPES[recipe].data or ("KIND",))[0]


def _sources(content: Mapping[str, Any]) -> dict[str, Any]:
    data = content.get("data")
    if not isinstance(data, Mapping):
        return {}
    return {place: data[place] for place in _OWN if isinstance(data.get(place), Mapping)}
