"""A study interrupted at every stage by every signal: run by `make chaos`, which prints the table."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from chaos_report import LINES
from interrupted import ROOT, STAGES, STATUS, Left, Run, interrupted_everywhere, weights

from cluster import local

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(7200)]
HOW_TO_GO_ON = ("run the same line again", "took it over while", "is being run by process 1 on elsewhere")
_HEAD = (
    f"{'signal':<14}{'stage':<24}{'status':>7}{'seconds':>9}{'processes':>11}{'models':>8}{'cells':>7}  weights after going on"
)


def _row(how: str, stage: str, left: Left) -> None:
    counts = f"{left.status:>7}{left.seconds:>9.1f}{left.processes:>11}{left.models:>8}{left.cells:>7}"
    LINES.append(f"{how:<14}{stage:<24}{counts}")
    print(LINES[-1], left.line, sep="  ", flush=True)  # noqa: T201


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, str]]:
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    run.finish(seconds=900)
    LINES.append(_HEAD)
    print(f"\n{_HEAD}", flush=True)  # noqa: T201
    return weights(run.store)


def _say_weights(rows: int, same: bool) -> None:
    LINES[-rows:] = [f"{line}  {'the same bits' if same else 'OTHERS'}" for line in LINES[-rows:]]
    print(LINES[-1], flush=True)  # noqa: T201


@pytest.mark.parametrize("how", STATUS)
def test_a_study_is_interrupted_at_every_stage(how: str, tmp_path: Path, undisturbed: dict[str, tuple[bytes, str]]) -> None:
    seen: dict[str, Left] = {}

    def say(stage: str, left: Left) -> None:
        seen[stage] = left
        _row(how, stage, left)

    store = interrupted_everywhere(tmp_path, how, say)
    same = weights(store) == undisturbed
    _say_weights(len(seen), same)

    before_scoring = list(STAGES)[: list(STAGES).index("scoring")]
    assert {stage: left.status for stage, left in seen.items()} == dict.fromkeys(STAGES, STATUS[how])
    assert {stage for stage, left in seen.items() if left.processes} == set()
    assert {stage for stage, left in seen.items() if left.models} == set()
    assert [stage for stage in before_scoring if seen[stage].cells] == []
    if how != "SIGKILL":
        assert {stage for stage, left in seen.items() if left.seconds > 10} == set()
        assert all(any(words in left.line for words in HOW_TO_GO_ON) for left in seen.values()), seen
    assert same


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.NodeFile]:
    """A cluster of one node, which outlives every study."""
    root = tmp_path_factory.mktemp("head")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WSUS_CLUSTER_DIR", str(root / "state"))
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(root / "token"))
        try:
            yield local.start_head(port=6493, dashboard_port=8393, num_cpus=1)
        finally:
            local.stop()


@pytest.mark.parametrize("submitted", [False, True], ids=["ray-address", "job"])
def test_a_study_on_a_cluster_is_interrupted(
    submitted: bool, tmp_path: Path, undisturbed: dict[str, tuple[bytes, str]], head: local.NodeFile
) -> None:
    """Where the driver is a process of this machine, and where it is a job of the cluster's."""

    def run() -> Run:
        return Run(tmp_path, jobs=head.dashboard) if submitted else Run(tmp_path, options=("--ray-address", head.address))

    if submitted:
        _leave_a_job_and_cancel_it(run())
    signals = ("SIGINT", "SIGTERM", "SIGKILL", "lost lease")
    seen: dict[str, Left] = {}
    for how in signals:
        one = run()
        one.reach("mid-epoch", seconds=900)
        seen[how] = one.interrupt(how)
        _row(how, "mid-epoch, job" if submitted else "mid-epoch, --ray-address", seen[how])
    run().finish(seconds=900)

    same = weights(tmp_path / "store") == undisturbed
    _say_weights(len(seen), same)
    assert local.running_node() == head
    assert {how: (left.processes, left.models, left.cells) for how, left in seen.items()} == dict.fromkeys(signals, (0, 0, 0))
    assert {how for how, left in seen.items() if left.seconds > 10} == set()
    if not submitted:
        assert {how: left.status for how, left in seen.items()} == {how: STATUS[how] for how in signals}
    assert same


def _leave_a_job_and_cancel_it(run: Run) -> None:
    """Ctrl-C of who submitted it leaves the job alone, and says how it is ended; so ended, nothing of it runs."""
    run.reach("mid-epoch", seconds=900)
    driver = psutil.Process(run.driver)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(30) == 130
    told = re.search(r"goes on: .* `wsus (cluster cancel \S+ --address \S+)` ends it", run.text)
    assert told, run.text
    assert driver.is_running()

    subprocess.run([sys.executable, "-m", "wsus", *told[1].split()], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    driver.wait(30)
