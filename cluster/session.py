"""Be connected to a Ray cluster for a while: one that runs already, or one of this machine's own."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

OBJECT_STORE_BYTES = 256 * 1024 * 1024  # a study passes little between processes; streamed images take half of it at most

IDLE_WORKER_MS = 600_000  # a worker that has imported torch (5 s and more) waits for the next stage of a study


@contextmanager
def ray_session(address: str | None = None, *, num_cpus: int | None = None, any_version: bool = False) -> Iterator[None]:
    """Connect to `address` (or RAY_ADDRESS), or start Ray on this machine and stop it afterwards.

    A running cluster must have this process's versions, unless `any_version`. Where this process is connected already, that
    connection is used and left open. Trials get absolute paths, so Ray does not move their working folder. A cluster of this
    machine's own has no dashboard; Ray binds its other ports to all interfaces and guards them with its own token (on by
    default for a local start in Ray 2.60).

    Raises:
        ConnectionError: no cluster answers there.  ConfigError: its versions are others.
    """
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a task without GPUs leaves CUDA_VISIBLE_DEVICES alone
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # what trials do and how they fail is said by the study itself
    import ray

    from cluster.nodes import versions_of_nodes
    from cluster.token import asks_for_token, use_token
    from cluster.versions import refuse_version_skew

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        _refuse_silence(address)
        if _is_host_and_port(address) and asks_for_token(address):
            use_token()
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    else:
        ray.init(
            "local",  # never a cluster that happens to run on this machine
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _system_config={"idle_worker_killing_time_threshold_ms": IDLE_WORKER_MS},
        )
    try:
        if address and not any_version:
            refuse_version_skew(versions_of_nodes())
        yield
    finally:
        ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Raises ConnectionError where nobody listens at HOST:PORT; Ray itself would try for many minutes."""
    if not _is_host_and_port(address):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(f"nobody listens there: {error.strerror or error}") from error


def _is_host_and_port(address: str) -> bool:
    return "://" not in address and address.rpartition(":")[2].isdigit()
