"""Nodes are started, jobs submitted and followed, and only what was started is stopped."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster import local
from cluster.jobs import submit
from cluster.token import asks_for_token
from wsus.errors import ConfigError

PORT, DASHBOARD = 6487, 8377


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """State and token of this test alone."""
    monkeypatch.setenv("WSUS_CLUSTER_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    yield tmp_path
    local.stop()


def test_joining_without_a_token_is_refused(own_state: Path) -> None:
    with pytest.raises(ConfigError, match=r"no token on this machine: copy the head's ~/\.ray/auth_token"):
        local.join("127.0.0.1:6379")


def test_nothing_is_stopped_that_was_not_started_here(own_state: Path) -> None:
    assert local.stop() is None
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (own_state / "state").mkdir()
        file = own_state / "state" / "node.json"  # as if the number had been reused
        file.write_text(f'{{"pid": {other.pid}, "started": 1.0, "role": "head", "address": "a", "dashboard": null, "log": "l"}}')
        assert local.stop() is None
        assert not file.exists()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.ray
@pytest.mark.slow
def test_head_runs_jobs_and_is_stopped(own_state: Path) -> None:
    head = local.start_head(port=PORT, dashboard_port=DASHBOARD, num_cpus=1)
    assert (own_state / "token").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="a head runs already"):
        local.start_head(port=PORT + 1)
    assert asks_for_token(f"127.0.0.1:{PORT}")
    script = (
        "from cluster.jobs import submit; import sys\n"
        f"ask = lambda *a: submit('http://127.0.0.1:{DASHBOARD}', a, environment={{}}, write=sys.stdout.write)[1]\n"
        "from cluster.session import ray_session; from cluster.state import cluster_nodes\n"
        f"with ray_session('127.0.0.1:{PORT}'): print('nodes', len(cluster_nodes()))\n"
        "print('statuses', ask('studies', 'list', '--out', sys.argv[1]), ask('run', '--recipe', 'quikc'))\n"
        "from cluster.jobs import attach, cancel, jobs, log_of\n"
        f"api = 'http://127.0.0.1:{DASHBOARD}'\n"
        "newest, oldest = jobs(api)\n"
        "print('listed', newest.status, newest.exit_status, oldest.status, newest.started >= oldest.started)\n"
        "print('log', 'Did you mean' in log_of(api, newest.id), 'attached', attach(api, newest.id, lambda text: None))\n"
        "print('left', cancel(api, newest.id).status)\n"
        "slow = submit(api, ['run', '--recipe', 'quick', '--out', sys.argv[1]], environment={}, write=print, wait=False)[0]\n"
        "cancel(api, slow)\n"
        "try: attach(api, slow, lambda text: None)\n"
        "except Exception as error: print('stopped', type(error).__name__, error)\n"
        "try: log_of(api, 'raysubmit_no')\n"
        "except Exception as error: print('unknown', type(error).__name__, error)\n"
    )
    (own_state / "store").mkdir()
    ran = subprocess.run(  # a process of its own: this one's Ray may have read another mode of authentication
        [sys.executable, "-c", script, str(own_state / "store")], capture_output=True, text=True, timeout=200, check=False
    )
    assert "nodes 1" in ran.stdout, ran.stdout + ran.stderr
    assert "statuses 0 2" in ran.stdout, ran.stdout + ran.stderr
    assert "Did you mean 'quick'" in ran.stdout
    assert "listed FAILED 2 SUCCEEDED True" in ran.stdout, ran.stdout + ran.stderr
    assert "log True attached 2" in ran.stdout
    assert "left FAILED" in ran.stdout
    assert re.search(r"stopped ConfigError job raysubmit_\w+: STOPPED", ran.stdout), ran.stdout + ran.stderr
    assert "unknown UnknownNameError unknown job 'raysubmit_no'" in ran.stdout
    processes = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    assert len(processes) > 3
    assert local.stop() == head
    deadline = time.monotonic() + 20
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert local.running_node() is None


def test_cluster_that_does_not_answer_is_named(own_state: Path) -> None:
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9: the Jobs API refused"):
        submit("http://127.0.0.1:9", ["run"], environment={}, write=print)


def test_a_half_written_node_file_is_named(own_state: Path) -> None:
    (own_state / "state").mkdir()
    (own_state / "state" / "node.json").write_text('{"pid": 12,')
    with pytest.raises(ConfigError, match=r"node\.json: not what `wsus cluster start` writes .* remove the file"):
        local.running_node()
    (own_state / "state" / "node.json").unlink()
