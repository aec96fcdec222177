"""Which Ray a command uses: RAY_ADDRESS and --ray-address in all their forms work, or are refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.session import ray_session, shared_address
from wsus.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("named", [None, "", "local"])
def test_no_address_is_a_ray_of_ones_own(named: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert shared_address(named) is None


def test_the_environment_names_a_cluster_and_the_option_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert shared_address() == "10.0.0.1:6379"
    assert shared_address("[::1]:6380") == "[::1]:6380"


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("ray://10.0.0.1:10001", r"is Ray Client, which cannot do this; give the HOST:PORT of its head"),
        ("http://10.0.0.1:8265", r"is a dashboard with its Jobs API; .*wsus cluster submit --address"),
        ("10.0.0.1", "expected the HOST:PORT of its head"),
        ("10.0.0.1:port", "expected the HOST:PORT of its head"),
    ],
)
def test_an_address_of_another_kind_is_refused_by_name(named: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", named)
    with pytest.raises(ConfigError, match=f"RAY_ADDRESS '{named}'.*{why}"):
        shared_address()


def test_auto_is_a_cluster_that_was_started_here_and_no_private_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSUS_CLUSTER_DIR", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(ConfigError, match="no cluster was started on this machine; `wsus cluster start --head` starts one"):
        shared_address("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text("10.0.0.1:6379")  # what `ray start` leaves
    assert shared_address("auto") == "10.0.0.1:6379"


def test_silence_is_said_at_once() -> None:
    with (
        pytest.raises(ConfigError, match=r"no Ray cluster answers at '127.0.0.1:9' \(nobody listens"),
        ray_session("127.0.0.1:9"),
    ):
        pass


AFTERWARDS = """
import os, signal, sys
from cluster.interrupts import owned_signals
from cluster.session import ray_session
with owned_signals() as signals:
    try:
        with ray_session(num_cpus=1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except KeyboardInterrupt:
        sys.exit(signals.exit_status)
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_signal_after_the_end_of_ray_has_its_owner_still() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", AFTERWARDS], env=environment, timeout=120, check=False).returncode == 143
