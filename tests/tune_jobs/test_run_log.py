"""Runs are noted while they run, so that a killed one counts too."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tune_jobs import run_log
from tune_jobs.run_log import RunLog, read_runs
from wsus.storage import FolderStore
from wsus.versions import PACKAGES


def test_killed_run_is_known_up_to_its_last_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    monkeypatch.setattr(run_log, "_BEAT_S", 0.0)
    killed = RunLog(store, "s", resources={"CPU": 2.0}, started=time.monotonic() - 5)
    time.sleep(0.05)
    killed.beat()

    (run,) = read_runs(store, "s")

    assert not run["ended"]
    assert 5.05 <= run["wall_s"] < 6
    assert run["resources"] == {"CPU": 2.0}
    assert set(run["versions"]) == {"python", *PACKAGES}


def test_runs_stand_in_their_order_and_an_ended_one_says_so(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    RunLog(store, "s", resources={}, started=time.monotonic() - 100)
    RunLog(store, "s", resources={}).end()

    first, second = read_runs(store, "s")

    assert (first["ended"], second["ended"]) == (False, True)
    assert first["wall_s"] > 99 > second["wall_s"]


def test_beats_are_not_written_too_often(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    log = RunLog(store, "s", resources={})
    (note,) = (tmp_path / "studies/s/runs").iterdir()
    before = note.stat().st_mtime_ns

    for _ in range(100):
        log.beat()

    assert note.stat().st_mtime_ns == before


def test_store_that_is_away_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_log, "_BEAT_S", 0.0)
    log = RunLog(FolderStore(tmp_path / "store"), "s", resources={})
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").write_text("a file where the store was")

    log.beat()

    assert "the note of this run was not brought up to date" in caplog.text


def test_study_without_notes_has_no_runs(tmp_path: Path) -> None:
    assert read_runs(FolderStore(tmp_path), "s") == []
