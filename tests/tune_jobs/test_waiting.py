"""Trials that wait for a place say so, with what they need, what is free and who holds it, on a real Ray."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import ray

from cluster.session import ray_session
from tune_jobs.waiting import Waiting

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def trials(*states: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(status=state) for state in states]


def test_what_waits_and_what_for_is_said_again_and_again() -> None:
    said: list[str] = []
    with ray_session(num_cpus=1):
        ray.get(ray.remote(num_cpus=0)(lambda: None).remote())
        waiting = Waiting([{"CPU": 4.0}], said.append, every_s=0.2)
        waiting.look(trials("PENDING", "RUNNING"))
        waiting.look(trials("PENDING", "PENDING"))
        assert said == []  # it has only just begun
        for _ in range(2):
            time.sleep(0.3)
            waiting.look(trials("PENDING", "PENDING", "TERMINATED"))
        time.sleep(0.3)
        waiting.look(trials("PENDING", "RUNNING"))
    assert len(said) == 2
    assert said[0].startswith("2 trials wait for a place since ")
    assert "each needs 4 CPU; of 1 CPU on 1 nodes 1 CPU are free" in said[0]
