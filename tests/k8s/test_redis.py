"""The command of the Redis component, run as the container runs it: who is process 1, and where the password stands."""

import os
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from manifests import one

from cluster.manifests.rules import clusters

Rendered = Mapping[str, list[dict[str, Any]]]
PASSWORD = "0123456789abcdef" * 3  # as `openssl rand -hex 24` of the operations page
SERVER = """#!/bin/sh
# In place of valkey-server: says what it was given, then waits as a server does.
echo "$$"; echo "$@"; cat; echo ready
exec sleep 60
"""


@pytest.fixture(scope="module")
def container(rendered: Rendered) -> dict[str, Any]:
    (found,) = one(rendered["full"], "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_the_server_is_process_1_and_reads_its_password_from_standard_input(container: dict[str, Any], tmp_path: Path) -> None:
    server = tmp_path / "valkey-server"
    server.write_text(SERVER)
    server.chmod(server.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "REDIS_PASSWORD": PASSWORD}
    with subprocess.Popen(
        [*container["command"], *container["args"]], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        number, arguments, *config = iter(process.stdout.readline, "ready\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM, "what asks the container to end must reach the server"
    assert int(number) == process.pid, "a shell in between keeps SIGTERM from the server"
    assert "".join(config).strip() == f'requirepass "{PASSWORD}"'
    assert PASSWORD not in arguments
    assert arguments.split()[0] == "-"


def test_state_is_written_to_a_disk_that_stays(container: dict[str, Any], rendered: Rendered) -> None:
    (folder,) = {m["mountPath"] for m in container["volumeMounts"] if m["name"] == "data"}
    (claim,) = one(rendered["full"], "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"
    assert f"--dir {folder} --appendonly yes" in container["args"][0]


def test_serving_asks_the_same_server_with_the_same_password(container: dict[str, Any], rendered: Rendered) -> None:
    (cluster,) = clusters(one(rendered["full"], "RayService"))
    options = cluster["gcsFaultToleranceOptions"]
    service = one(rendered["full"], "Service", "wsus-redis")
    (port,) = service["spec"]["ports"]
    assert options["redisAddress"] == f"redis://{service['metadata']['name']}:{port['port']}"
    (password,) = (variable["valueFrom"] for variable in container["env"] if variable["name"] == "REDIS_PASSWORD")
    assert options["redisPassword"]["valueFrom"] == password
    for other in ("wsus-dev",):
        (own,) = (c for d in rendered["full"] if d["metadata"]["name"] == other for c in clusters(d))
        assert "gcsFaultToleranceOptions" not in own, "two clusters must not share a namespace of the same Redis"
