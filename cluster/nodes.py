"""Ask every node of a connected cluster the same question, on the node itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wsus.versions import own_versions

ANSWER_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeAnswer:
    """What one node answered. error: why it did not; start_s: from the question to the start of a worker there."""

    address: str
    value: Any = None
    error: str | None = None
    start_s: float = 0.0
    clock_s: float = 0.0


def ask_nodes(question: Callable[[], Any], *, timeout_s: float = ANSWER_S) -> list[NodeAnswer]:
    """The answer of every node that is alive, in the order of their addresses; a node that fails does not fail the others.

    clock_s of an answer is the node's clock minus this machine's at the middle of the call, in seconds.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = time.time()
    pending = []
    for node in sorted(ray.nodes(), key=lambda node: str(node["NodeManagerAddress"])):
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            remote = ray.remote(_answer).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
            pending.append((f"{node['NodeManagerAddress']}/{node['NodeID'][:6]}", remote.remote(question)))
    answers = []
    for address, reference in pending:
        try:
            value, error, begun, ended = ray.get(reference, timeout=max(1.0, timeout_s - (time.time() - asked)))
        except ray.exceptions.RayError as failure:
            answers.append(NodeAnswer(address=address, error=f"{type(failure).__name__}: {str(failure).splitlines()[0]}"))
        else:
            answers.append(
                NodeAnswer(
                    address=address, value=value, error=error, start_s=max(0.0, begun - asked), clock_s=_skew(asked, begun, ended)
                )
            )
    return answers


def versions_of_nodes() -> dict[str, dict[str, str]]:
    """Address -> versions, of every node that answers."""
    return {answer.address: answer.value for answer in ask_nodes(own_versions) if answer.error is None}


def _answer(question: Callable[[], Any]) -> tuple[Any, str | None, float, float]:
    begun = time.time()
    try:
        return question(), None, begun, time.time()
    except Exception as error:  # noqa: BLE001  the error is the answer
        return None, f"{type(error).__name__}: {error}", begun, time.time()


def _skew(asked: float, begun: float, ended: float) -> float:
    """What can be said of a clock from one call: the node worked between `asked` and now, by this clock."""
    now = time.time()
    if begun < asked:
        return begun - asked
    return max(0.0, ended - now)
