"""Say that trials wait for a place, and for what: Ray itself waits without a word. Needs a Ray connection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

EVERY_S = 30.0


class Waiting:
    """Watches Tune's trials; says every `every_s` seconds what waits while none runs.

    Args:
        bundles: what one trial takes, a bundle a worker.
    """

    def __init__(self, bundles: Sequence[Mapping[str, float]], say: Callable[[str], None], every_s: float = EVERY_S) -> None:
        self._bundles, self._say, self._every_s = bundles, say, every_s
        self._since: float | None = None
        self._said = 0.0

    def look(self, trials: Sequence[Any]) -> None:
        """To be called at each of Tune's steps."""
        waiting = [str(trial) for trial in trials if trial.status == "PENDING"]
        if not waiting or any(trial.status == "RUNNING" for trial in trials):
            self._since = None
            return
        now = time.monotonic()
        if self._since is None:
            self._since = self._said = now
        if now - self._said >= self._every_s:
            self._said = now
            self._say(self._line(len(waiting), now - self._since))

    def _line(self, count: int, waited_s: float) -> str:
        bundle = _in_words(self._bundles[0])
        each = bundle if len(self._bundles) == 1 else f"{len(self._bundles)} x ({bundle})"
        total, free = ray.cluster_resources(), ray.available_resources()
        kinds = self._bundles[0]
        if all(total.get(kind, 0) == 0 for kind in kinds):
            state = "no node is left that has any"
        else:
            state = f"of {_in_words(_only(total, kinds))} on {_alive()} nodes {_in_words(_only(free, kinds))} are free"
        return f"{count} trials wait for a place since {waited_s:.0f} s: each needs {each}; {state}{_holders()}"


def _only(resources: Mapping[str, float], kinds: Mapping[str, float]) -> dict[str, float]:
    return {kind: resources.get(kind, 0.0) for kind in kinds}


def _in_words(resources: Mapping[str, float]) -> str:
    parts = [
        f"{value / 2**30:.1f} GiB of memory" if kind == "memory" else f"{value:g} {kind}" for kind, value in resources.items()
    ]
    return ", ".join(parts)


def _alive() -> int:
    return sum(bool(node["Alive"]) for node in ray.nodes())


def _holders() -> str:
    """Actors of other jobs, as far as Ray knows: names of classes and how many; what tasks hold, Ray does not say."""
    own = ray.get_runtime_context().get_job_id()
    actors = ray._private.state.actors().values()
    names = Counter(actor.get("ActorClassName", "?") for actor in actors if actor["State"] == "ALIVE" and actor["JobID"] != own)
    held = ", ".join(f"{count} x {name}" for name, count in names.most_common(4))
    return f"; actors of others: {held}" if held else ""
