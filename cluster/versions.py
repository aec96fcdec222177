"""Whether the parts of a cluster run the same software: a study that mixes versions ends late and unclearly."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from wsus.errors import ConfigError
from wsus.versions import own_versions

EXPECTED = "WSUS_EXPECTED_VERSIONS"  # set by `wsus cluster submit`: what the client has


def version_differences(mine: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """One line for each version that differs: `torch 2.14.1 here, 2.13.0 there`."""
    names = sorted(set(mine) | set(theirs))
    return [
        f"{name} {mine.get(name, 'missing')} here, {theirs.get(name, 'missing')} there"
        for name in names
        if mine.get(name) != theirs.get(name)
    ]


def refuse_version_skew(nodes: Mapping[str, Mapping[str, str]]) -> None:
    """Compare the versions of all nodes, and those of the client of a submitted job, with this process's own.

    Args:
        nodes: address -> versions.
    Raises:
        ConfigError: they differ.
    """
    mine = own_versions()
    others = dict(nodes)
    if os.environ.get(EXPECTED):
        others["the client that submitted this"] = json.loads(os.environ[EXPECTED])
    lines = [f"{where}: {line}" for where, theirs in others.items() for line in version_differences(mine, theirs)]
    if lines:
        shown = "\n  ".join(lines[:10])
        raise ConfigError(
            f"the versions differ between this driver and the cluster:\n  {shown}\n"
            "install the same on both (one image, or `pip install -c constraints.txt`); `wsus cluster check` shows all nodes"
        )
