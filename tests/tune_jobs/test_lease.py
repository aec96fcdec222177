"""One driver per study: the second is refused at the first sign of life, a dead one's lease is taken over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from tune_jobs.keys import lease_key
from tune_jobs.lease import LeaseConfig, held_lease, is_driven
from wsus.errors import StudyBusyError
from wsus.storage import FolderStore, Store, open_store

QUICK = LeaseConfig(renew_s=0.1, stale_s=1.0)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def hold(store: Store, **more: object) -> list[str]:
    """Take the lease and give it back; what was said."""
    said: list[str] = []
    with held_lease(store, "s", said.append, QUICK):
        pass
    return said


def lies(store: Store, **holder: object) -> None:
    store.write_json(lease_key("s"), {"host": "elsewhere", "pid": 1, "since": "then", "token": "t", **holder})


def test_lease_is_renewed_and_given_back(store: FolderStore) -> None:
    with held_lease(store, "s", print, QUICK) as lease:
        first = store.read_json(lease_key("s"))
        time.sleep(0.5)
        assert store.read_json(lease_key("s"))["renewals"] > first["renewals"]
        lease.check()
    assert not store.exists(lease_key("s"))
    assert hold(store) == []


def test_second_driver_is_refused_while_the_first_gives_signs_of_life(store: FolderStore) -> None:
    with (
        held_lease(store, "s", print, QUICK),
        pytest.raises(StudyBusyError, match=r"study 's' .* is being run by process \d+ on .*choose another --name"),
    ):
        hold(store)
    assert hold(store) == []


def test_second_driver_of_another_process_is_refused_at_once(store: FolderStore) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        lies(store, host=socket.gethostname(), pid=other.pid, started=psutil.Process(other.pid).create_time())
        start = time.monotonic()
        with pytest.raises(StudyBusyError, match=f"process {other.pid} on"):
            hold(store)
        assert time.monotonic() - start < 0.5
    finally:
        other.kill()
        other.wait()
    assert "taken over" in " ".join(hold(store))  # it is dead now, and needs no waiting


def test_a_number_that_another_process_has_by_now_blocks_nobody(store: FolderStore) -> None:
    lies(store, host=socket.gethostname(), pid=os.getppid(), started=12.5)
    assert not is_driven(store, "s")
    start = time.monotonic()
    assert "taken over" in " ".join(hold(store))
    assert time.monotonic() - start < QUICK.stale_s


@pytest.mark.parametrize("other", [{"boot": "another"}, {"pid_namespace": "pid:[1]"}])
def test_a_number_of_another_container_says_nothing(store: FolderStore, other: dict[str, str]) -> None:
    """Neither that the driver lives, for it may be dead, nor that it is dead: two would drive."""
    for pid in (os.getppid(), 2**22 - 1):
        lies(store, host=socket.gethostname(), pid=pid, started=12.5, **other)
        assert "waiting up to 1 s for a sign of life" in hold(store)[0]


def test_a_study_of_a_dead_driver_is_not_said_to_run(store: FolderStore) -> None:
    assert not is_driven(store, "s")
    lies(store, host=socket.gethostname(), pid=2**22 - 1)
    assert not is_driven(store, "s")
    lies(store, renewed="2020-01-01T00:00:00+00:00")
    assert not is_driven(store, "s")
    lies(store, renewed=datetime.now(UTC).isoformat())
    assert is_driven(store, "s")


def test_lease_without_a_sign_of_life_is_taken_over_after_a_while(store: FolderStore) -> None:
    lies(store)
    start = time.monotonic()
    said = hold(store)
    assert time.monotonic() - start >= QUICK.stale_s
    assert "waiting up to 1 s for a sign of life" in said[0]
    assert "taken over from process 1 on elsewhere" in said[1]


def test_damaged_lease_is_taken_over(store: FolderStore) -> None:
    store.write_bytes(lease_key("s"), b"{cut")
    assert "taken over from process ? on ?" in hold(store)[-1]


def test_driver_that_lost_its_lease_is_told(store: FolderStore) -> None:
    with held_lease(store, "s", print, QUICK) as lease:
        lies(store, pid=os.getpid())
        time.sleep(0.5)
        with pytest.raises(StudyBusyError, match="another driver took it over"):
            lease.check()
    assert store.read_json(lease_key("s"))["host"] == "elsewhere"  # what is another's is left alone


@pytest.mark.s3
def test_lease_in_a_bucket(s3_address: str) -> None:
    with held_lease(open_store(s3_address), "s", print, QUICK), pytest.raises(StudyBusyError, match="is being run by"):
        hold(open_store(s3_address))
    assert hold(open_store(s3_address)) == []
