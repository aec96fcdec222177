"""Settings as typed dataclasses: changed by a file and by `--set` through one schema, and compared. No torch, no Ray."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from wsus.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from tune_jobs.study import StudyConfig

_FREE = ("search_space", "per_backbone")  # named by the settings that they are of
_SPACE = frozenset({"low", "high", "options"})
_RANGE = re.compile(r"(?P<low>[^.]\S*?)\.\.(?P<high>[^:]+?)(?P<log>:log)?")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a list of names with their values",
}


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, one line each: `train.lr: 0.001 -> 0.003`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)]
    return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


def with_defaults(old: Any, defaults: Any) -> Any:
    """JSON values of an older version, with what it did not know at its default: how it computed then."""
    if not isinstance(old, dict) or not isinstance(defaults, dict):
        return old
    return defaults | {key: with_defaults(value, defaults.get(key)) for key, value in old.items()}


def from_words(config: StudyConfig, words: Mapping[str, str]) -> dict[str, Any]:
    """Changes as `with_changes` takes them, of `--set train.epochs=5` and the like: {"train.epochs": "5"}."""
    plain, found = config.to_json(), dict[str, Any]()
    for path, text in words.items():
        *parents, last = keys = _keys(path)
        current = _at(plain, keys)
        value = text if isinstance(current, str) else _parsed(text)
        if isinstance(current, list) and not isinstance(value, list):
            value = [_parsed(part) for part in text.split(",")]
        place = found
        if parents and parents[0] in _FREE:  # one more beside those that are there
            found.setdefault(parents[0], copy.deepcopy(plain[parents[0]]))
        for key in parents:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ConfigError(f"setting {path!r}: {key!r} is set to a value of its own, too; leave one of them out")
        place[last] = value
    return found


def with_changes(config: StudyConfig, changes: Mapping[str, Any]) -> StudyConfig:
    """A copy of a configuration with some settings changed; one schema for a file's settings and for `--set`.

    Args:
        changes: JSON values, nested as the configuration is; `search_space` and `per_backbone` replace those of `config`. A
            search space may be `LOW..HIGH`, `LOW..HIGH:log` or a list.
    Raises:
        UnknownNameError: no such setting.  ConfigError: a value that cannot be.
    """
    from pydantic import ValidationError

    before = config.to_json()
    merged = _merged(before, unfolded := _unfolded(changes)) | {name: unfolded[name] for name in _FREE if name in unfolded}
    try:
        changed: StudyConfig = _schema().model_validate_json(json.dumps({"config": merged})).config
        return changed
    except ValidationError as error:
        raise _in_our_words(error.errors(), before) from None


@cache
def _schema() -> Any:
    from pydantic import ConfigDict, create_model

    from tune_jobs.study import StudyConfig

    return create_model("Settings", __config__=ConfigDict(extra="forbid", strict=True), config=(StudyConfig, ...))


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, Mapping):
        return new
    return old | {key: _merged(old.get(key), value) for key, value in new.items()}


def _keys(path: str) -> list[str]:
    """A path's parts; `augment.gamma` is one in a search space and for one backbone, whose name may have dots, too."""
    name, _, rest = path.partition(".")
    if not rest or name not in _FREE:
        return path.split(".")
    if name == "search_space":
        return [name, rest]
    from tune_jobs.study import CELL_SETTINGS

    known = [setting for setting in CELL_SETTINGS if rest.endswith(f".{setting}")]
    if known:
        setting = max(known, key=len)
        return [name, rest.removesuffix(f".{setting}"), setting]
    backbone, _, setting = rest.rpartition(".")
    return [name, backbone, setting] if backbone else [name, rest]


def _unfolded(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The same with `augment: {gamma: ...}` as `augment.gamma` where settings are named by paths, and search spaces whole."""
    found = dict(changes)
    if isinstance(spaces := found.get("search_space"), Mapping):
        found["search_space"] = {name: _space(name, value) for name, value in _flat(spaces, _SPACE).items()}
    if isinstance(own := found.get("per_backbone"), Mapping):
        found["per_backbone"] = {name: _flat(value) if isinstance(value, Mapping) else value for name, value in own.items()}
    return found


def _flat(values: Mapping[str, Any], leaves: frozenset[str] = frozenset()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).removeprefix("train.")
        if isinstance(value, Mapping) and not leaves & value.keys():
            inner = _flat(value, leaves)
            found |= inner if name == "train" else {f"{name}.{rest}": item for rest, item in inner.items()}
        else:
            found[name] = value
    return found


def _space(name: str, value: Any) -> Any:
    """A search space as its dataclass has it, of its short forms."""
    if isinstance(value, list):
        return {"options": value}
    if isinstance(value, str) and (ends := _RANGE.fullmatch(value)):
        try:
            return {"low": float(ends["low"]), "high": float(ends["high"]), "log": ends["log"] is not None}
        except ValueError:
            pass
    if isinstance(value, Mapping) and value.keys() in ({"low", "high"}, {"low", "high", "log"}, {"options"}):
        return dict(value)
    raise ConfigError(
        f"setting 'search_space.{name}' is LOW..HIGH, LOW..HIGH:log or a list of values, as 1e-4..1e-2:log or [0, 0.1]; "
        f"got {json.dumps(value)}"
    )


def _in_our_words(errors: Sequence[Any], before: Any) -> ConfigError:
    """The first mistake that pydantic found, a name before a value, in the words of this project."""
    names = (*_UNKNOWN, "missing", "missing_argument")
    found = [
        error for error in errors if not ({"Range", "Choice"} & {*error["loc"]} and error["type"] in names)
    ]  # `_space` saw to it
    error = min(found, key=lambda error: error["type"] not in _UNKNOWN)
    keys = [key for key in error["loc"][1:] if key not in ("Range", "Choice")]
    path, value = ".".join(map(str, keys)), error["input"]
    if error["type"] in _UNKNOWN:
        return _unknown(keys, value, before)
    current = _at(before, keys)
    if error["type"].startswith("missing"):
        return ConfigError(f"setting {path!r} is missing")
    if error["type"].startswith("dataclass") and isinstance(current, dict):
        return ConfigError(f"setting {path!r} has parts: {', '.join(current)}; set one of them")
    if error["type"] in ("enum", "literal_error"):
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return UnknownNameError(f"value of {path!r}", str(value), choices)
    message = error["msg"].removeprefix("Input should be ")
    wanted = _WORDS.get(error["type"], message)
    like = "" if current is None or isinstance(current, dict) else f", as {json.dumps(current)}"
    return ConfigError(f"setting {path!r} is {wanted}{like}; got {json.dumps(value)}")


def _unknown(keys: Sequence[Any], value: Any, before: Any) -> ConfigError:
    from tune_jobs.study import CELL_SETTINGS, TUNABLE

    if keys[0] in _FREE:
        names = TUNABLE if keys[0] == "search_space" else tuple(CELL_SETTINGS)
        return UnknownNameError(f"setting of {'.'.join(map(str, keys[:-1]))}", str(keys[-1]), names)
    whole = ".".join([*map(str, keys), *_chain(value)])
    paths = [path for path in _paths(before) if f".{path}".endswith(f".{whole}")]
    if paths:
        return ConfigError(f"no setting is called {whole!r} here; did you mean {' or '.join(map(repr, paths))}?")
    parent = ".".join(map(str, keys[:-1]))
    siblings = _at(before, keys[:-1])
    known = [f"{parent}.{name}" if parent else name for name in siblings] if isinstance(siblings, dict) else []
    nearest = difflib.get_close_matches(str(keys[-1]), known or [""], n=1, cutoff=0.5)
    elsewhere = difflib.get_close_matches(whole.rpartition(".")[2], {path.rpartition(".")[2] for path in _paths(before)}, n=1)
    if not nearest and elsewhere:
        paths = [path for path in _paths(before) if path.rpartition(".")[2] == elsewhere[0]]
        return ConfigError(f"no setting is called {whole!r}; did you mean {' or '.join(map(repr, paths))}?")
    return UnknownNameError("setting", ".".join(map(str, keys)), known)


def _chain(value: Any) -> list[str]:
    """The names below an unknown one, as far as they are one each: of {"folds": 5} `folds`."""
    found = []
    while isinstance(value, Mapping) and len(value) == 1:
        ((name, value),) = value.items()
        found.append(str(name))
    return found


def _paths(values: Any, below: str = "") -> list[str]:
    """The paths of all settings, parts included."""
    found = []
    for name, value in values.items():
        path = f"{below}.{name}" if below else name
        found.append(path)
        if isinstance(value, dict) and path not in _FREE:
            found += _paths(value, path)
    return found


def _at(values: Any, keys: Sequence[Any]) -> Any:
    for key in keys:
        if isinstance(values, dict):
            values = values.get(key)
        elif isinstance(values, list) and isinstance(key, int) and key < len(values):
            values = values[key]
        else:
            return None
    return values


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
