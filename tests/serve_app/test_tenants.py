"""A cluster that others use, too: their applications answer, whatever becomes of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from published_models import png, publish

ROOT = Path(__file__).parents[2]
HTTP = 22_881
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)}
THEIRS = f"""
from ray import serve
from ray.cluster_utils import Cluster
from cluster.session import ray_session

@serve.deployment(ray_actor_options={{"num_cpus": 0}})
class Theirs:
    def __call__(self, request):
        return "theirs"

cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 4, "include_dashboard": False}})
with ray_session(cluster.address):
    serve.start(http_options={{"host": "127.0.0.1", "port": {HTTP}}})
    for name in ("one", "two"):
        serve.run(Theirs.bind(), name=name, route_prefix="/" + name)
print("address", cluster.address, flush=True)
input()
cluster.shutdown()
"""

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster on which two applications of somebody else run."""
    with subprocess.Popen(
        [sys.executable, "-c", THEIRS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as theirs:
        assert theirs.stdin is not None
        assert theirs.stdout is not None
        try:
            yield next(line.split()[1] for line in theirs.stdout if line.startswith("address "))
        finally:
            theirs.communicate("\n", timeout=60)


class Asked:
    """Somebody who asks others' applications all the time."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._ended.wait(0.02):
            for name in ("one", "two"):
                try:
                    found = requests.get(f"http://127.0.0.1:{HTTP}/{name}", timeout=30)
                    self.answers[f"{found.status_code} {found.text[:20]}"] += 1
                except requests.RequestException as error:
                    self.answers[type(error).__name__] += 1

    def __enter__(self) -> Asked:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def ours(address: str, store: str, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`wsus serve` on that cluster, ready to answer."""
    command = [sys.executable, "-m", "wsus", "serve", "--insecure", "--store", store, "--port", str(HTTP)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--ray-address", address, *options],
            stdout=output,
            stderr=output,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while "ready after" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def asked_of_ours() -> int:
    """The status of a prediction."""
    url = f"http://127.0.0.1:{HTTP}/v1/predictions"
    return requests.post(url, files={"image": png(1)}, timeout=60).status_code


def test_others_answer_while_ours_starts_answers_crashes_is_replaced_and_ends(address: str, tmp_path: Path) -> None:
    store, log = publish(tmp_path).address, tmp_path / "serve.log"
    with Asked() as asked:
        with ours(address, store, log) as process:
            assert {asked_of_ours() for _ in range(10)} == {200}
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert {asked_of_ours() for _ in range(3)} == {200}  # it is the cluster's now

        second = subprocess.run(
            [sys.executable, "-m", "wsus", "serve", "--insecure", "--store", store, "--port", str(HTTP)],
            env=ENVIRONMENT | {"RAY_ADDRESS": address},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert second.returncode == 2
        assert "runs on this cluster already; --replace puts this one in its place" in second.stderr
        assert asked_of_ours() == 200

        with ours(address, store, log, "--replace") as process:
            assert {asked_of_ours() for _ in range(10)} == {200}
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 130
        assert "the cluster and its other applications stay" in log.read_text()
        assert asked_of_ours() == 404
        before = sum(asked.answers.values())
        time.sleep(1)
    assert sum(asked.answers.values()) > before
    assert set(asked.answers) == {"200 theirs"}, asked.answers
