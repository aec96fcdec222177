"""A study interrupted at every stage by every signal: run by `make chaos`, which prints the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos_report import LINES
from interrupted import STAGES, STATUS, Left, Run, interrupted_everywhere, weights

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(7200)]
_HEAD = (
    f"{'signal':<14}{'stage':<16}{'status':>7}{'seconds':>9}{'processes':>11}{'models':>8}{'cells':>7}  weights after going on"
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    run.finish(seconds=900)
    LINES.append(_HEAD)
    print(f"\n{_HEAD}", flush=True)  # noqa: T201
    return weights(run.store)


@pytest.mark.parametrize("how", STATUS)
def test_a_study_is_interrupted_at_every_stage(how: str, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    seen: dict[str, Left] = {}

    def say(stage: str, left: Left) -> None:
        seen[stage] = left
        counts = f"{left.status:>7}{left.seconds:>9.1f}{left.processes:>11}{left.models:>8}{left.cells:>7}"
        LINES.append(f"{how:<14}{stage:<16}{counts}")
        print(LINES[-1], left.line, sep="  ", flush=True)  # noqa: T201

    store = interrupted_everywhere(tmp_path, how, say)
    same = weights(store) == undisturbed
    LINES[-len(seen) :] = [f"{line}  {'the same bits' if same else 'OTHERS'}" for line in LINES[-len(seen) :]]
    print(LINES[-1], flush=True)  # noqa: T201

    before_scoring = list(STAGES)[: list(STAGES).index("scoring")]
    assert {stage: left.status for stage, left in seen.items()} == dict.fromkeys(STAGES, STATUS[how])
    assert {stage for stage, left in seen.items() if left.processes} == set()
    assert {stage for stage, left in seen.items() if left.models} == set()
    assert [stage for stage in before_scoring if seen[stage].cells] == []
    if how != "SIGKILL":
        assert {stage for stage, left in seen.items() if left.seconds > 10} == set()
        assert all("run the same line again" in left.line or "took it over" in left.line for left in seen.values()), seen
    assert same
