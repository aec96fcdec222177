"""Settings as typed dataclasses: one changed by its path, two compared. Loads neither torch nor Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Any, get_args, get_type_hints

from wsus.errors import ConfigError, UnknownNameError


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


def with_setting(config: Any, path: str, text: str) -> Any:
    """A copy of a configuration with one setting changed, as `--set train.epochs=5` asks.

    Raises:
        UnknownNameError: no such setting.  ConfigError: a value of another type.
    """
    name, _, rest = path.partition(".")
    if isinstance(config, Mapping):
        return {**config, name: with_setting(config.get(name, {}), rest, text) if rest else _parsed(text)}
    known = [f.name for f in fields(config)]
    if name not in known:
        paths = _paths_to(config, path)
        if paths:
            raise ConfigError(f"no setting is called {path!r} here; did you mean {' or '.join(map(repr, paths))}?")
        raise UnknownNameError("setting", name, known)
    current = getattr(config, name)
    if rest:
        if not is_dataclass(current) and not isinstance(current, Mapping):
            raise ConfigError(f"setting {name!r} has no parts; got {path!r}")
        return replace(config, **{name: with_setting(current, rest, text)})
    value = _parsed(text)
    if isinstance(current, tuple):
        value = tuple(value) if isinstance(value, list) else tuple(_parsed(part) for part in str(text).split(","))
    if is_dataclass(current) and value is not None:
        raise ConfigError(f"setting {path!r} has parts: {', '.join(f.name for f in fields(current))}; set one of them")
    kinds = _kinds(config, name)
    if type(value) is int and int not in kinds and float in kinds:
        value = float(value)
    if type(value) not in kinds:
        words = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        raise ConfigError(f"setting {path!r} is a {words}, for instance {json.dumps(current, default=str)}; got {text!r}")
    return replace(config, **{name: value})


def _paths_to(config: Any, ending: str, below: str = "") -> list[str]:
    """The paths of settings, at any depth, that end in these words: `internal_per_class` -> `data.splits.internal_per_class`."""
    found = []
    for field in fields(config):
        path = f"{below}.{field.name}" if below else field.name
        if f".{path}".endswith(f".{ending}"):
            found.append(path)
        value = getattr(config, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            found += _paths_to(value, ending, path)
    return found


def _kinds(config: Any, name: str) -> tuple[type, ...]:
    """The types that a setting's value may have: that of its default, or what is declared where it may be null."""
    declared = get_args(get_type_hints(type(config))[name])
    return declared if NoneType in declared else (type(getattr(config, name)),)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
