"""`wsus cluster check`: what a platform engineer would otherwise find out in the night, each with what to do."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cluster.nodes import NodeAnswer, ask_nodes
from cluster.versions import version_differences
from wsus.versions import own_versions

GIB = 2**30
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line. fix: what to do about it; empty where nothing is to be done."""

    level: Level
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.level:<8} {self.what}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckLimits:
    """Limits beyond which a node is reported."""

    min_shm_gib: float = 1.0
    min_disk_gib: float = 5.0
    max_clock_s: float = 5.0
    max_worker_start_s: float = 30.0


def check_cluster(
    *, store: Callable[[], str] | None = None, data: Callable[[], str] | None = None, limits: CheckLimits | None = None
) -> list[Check]:
    """Everything that can be asked of the connected cluster.

    Args:
        store: called on every node; writes, reads and deletes an object, and raises where it cannot.
        data: called on every node; the digest of the images as the node sees them.
    """
    limits = limits or CheckLimits()
    facts = ask_nodes(_facts)
    found = [*_reached(facts), *_versions(facts), *_devices(facts), *_room(facts, limits), *_times(facts, limits)]
    if store is not None:
        found += _store(ask_nodes(store))
    if data is not None:
        found += _data(ask_nodes(data))
    return [*found, _open_jobs_port()]


def _facts() -> dict[str, Any]:
    """Asked on the node itself."""
    import ray

    shm = shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else 0
    gpus = ray.nodes()
    own = next(node for node in gpus if node["NodeID"] == ray.get_runtime_context().get_node_id())
    try:
        import torch

        torch_gpus = torch.cuda.device_count()
    except ImportError:
        torch_gpus = -1
    return {
        "versions": own_versions(),
        "ray_gpus": own["Resources"].get("GPU", 0.0),
        "torch_gpus": torch_gpus,
        "shm_gib": shm / GIB,
        "disk_gib": shutil.disk_usage(tempfile.gettempdir()).free / GIB,
        "disk": tempfile.gettempdir(),
    }


def _reached(facts: list[NodeAnswer]) -> list[Check]:
    bad = [
        Check(
            level="error",
            what=f"{answer.address}: gives no answer ({answer.error})",
            fix="look at its raylet's log; join it again",
        )
        for answer in facts
        if answer.error
    ]
    return [Check(level="ok", what=f"{len(facts) - len(bad)} nodes answer"), *bad]


def _good(facts: list[NodeAnswer]) -> list[NodeAnswer]:
    return [answer for answer in facts if answer.error is None]


def _versions(facts: list[NodeAnswer]) -> list[Check]:
    mine = own_versions()
    fix = "install the same everywhere: one image, or `pip install -c constraints.txt`"
    bad = [
        Check(level="error", what=f"{answer.address}: {line}", fix=fix)
        for answer in _good(facts)
        for line in version_differences(mine, answer.value["versions"])
    ]
    return bad or [Check(level="ok", what="Python, Ray, torch and the packages have the same versions on every node")]


def _devices(facts: list[NodeAnswer]) -> list[Check]:
    found = []
    for answer in _good(facts):
        ray_gpus, torch_gpus = answer.value["ray_gpus"], answer.value["torch_gpus"]
        if torch_gpus < 0:
            found.append(Check(level="error", what=f"{answer.address}: torch cannot be imported", fix="install torch there"))
        elif ray_gpus > torch_gpus and torch_gpus == 0:
            what = f"{answer.address}: Ray counts {ray_gpus:g} GPUs, torch sees none"
            found.append(
                Check(level="error", what=what, fix="install a torch for this driver, or start the node with --num-gpus 0")
            )
    total = sum(answer.value["ray_gpus"] for answer in _good(facts))
    return found or [Check(level="ok", what=f"{total:g} GPUs, as torch sees them")]


def _room(facts: list[NodeAnswer], limits: CheckLimits) -> list[Check]:
    found = []
    for answer in _good(facts):
        shm, disk = answer.value["shm_gib"], answer.value["disk_gib"]
        if shm < limits.min_shm_gib:
            what = f"{answer.address}: {shm:.2f} GiB of shared memory, wanted {limits.min_shm_gib:g}"
            found.append(Check(level="warning", what=what, fix="give the container --shm-size, or a memory-backed /dev/shm"))
        if disk < limits.min_disk_gib:
            what = f"{answer.address}: {disk:.1f} GiB free in {answer.value['disk']}, wanted {limits.min_disk_gib:g}"
            found.append(Check(level="warning", what=what, fix="make room, or point TMPDIR and WSUS_CACHE_DIR elsewhere"))
    return found or [Check(level="ok", what="room in shared memory and on disk")]


def _times(facts: list[NodeAnswer], limits: CheckLimits) -> list[Check]:
    found = []
    for answer in _good(facts):
        if abs(answer.clock_s) > limits.max_clock_s:
            what = f"{answer.address}: its clock is {answer.clock_s:+.0f} s off this machine's"
            found.append(Check(level="error", what=what, fix="start chrony or ntpd there: S3 refuses signatures 15 minutes off"))
        if answer.start_s > limits.max_worker_start_s:
            what = f"{answer.address}: a worker needs {answer.start_s:.0f} s to start"
            found.append(Check(level="warning", what=what, fix="put the packages on a local disk; pull the image beforehand"))
    slowest = max((answer.start_s for answer in _good(facts)), default=0.0)
    return found or [Check(level="ok", what=f"clocks agree; a worker starts within {slowest:.1f} s")]


def _store(answers: list[NodeAnswer]) -> list[Check]:
    bad = [
        Check(
            level="error", what=f"{answer.address}: store: {answer.error}", fix="every node needs the address and the credentials"
        )
        for answer in answers
        if answer.error
    ]
    return bad or [Check(level="ok", what=f"store: read and written from {len(answers)} nodes")]


def _data(answers: list[NodeAnswer]) -> list[Check]:
    fix = "copy the same images to every node under the same path, or mount them"
    bad = [Check(level="error", what=f"{a.address}: data: {a.error}", fix=fix) for a in answers if a.error]
    digests: Mapping[str, list[str]] = {}
    for answer in _good(answers):
        digests = {**digests, answer.value: [*digests.get(answer.value, []), answer.address]}
    if len(digests) > 1:
        parts = ", ".join(f"{digest[:12]} on {' '.join(nodes)}" for digest, nodes in digests.items())
        bad.append(Check(level="error", what=f"data: digests differ: {parts}", fix=fix))
    return bad or [Check(level="ok", what="data: the same digest on every node")]


def _open_jobs_port() -> Check:
    """Whether the dashboard and the Jobs API answer without the token: who reaches them runs code on the cluster."""
    import ray
    import requests

    address = ray._private.worker.get_dashboard_url()
    if not address:
        return Check(level="ok", what="no dashboard and no Jobs API")
    try:
        status = requests.get(f"http://{address}/api/jobs/", timeout=10).status_code
    except requests.RequestException as error:
        return Check(
            level="warning",
            what=f"the Jobs API at {address} does not answer ({type(error).__name__})",
            fix="open the port to you",
        )
    if status in (401, 403):
        return Check(level="ok", what=f"the Jobs API at {address} asks for the token")
    fix = "start Ray with RAY_AUTH_MODE=token, as `wsus cluster start` does, and close the port with a network policy"
    return Check(level="error", what=f"the Jobs API at {address} answers {status} without a token", fix=fix)


def own_environment(names: tuple[str, ...] = ("AWS_", "WSUS_")) -> dict[str, str]:
    """The settings of this process that a worker needs too; secrets stay here."""
    secret = ("SECRET", "TOKEN", "ACCESS_KEY", "PASSWORD")
    return {name: value for name, value in os.environ.items() if name.startswith(names) and not any(s in name for s in secret)}
