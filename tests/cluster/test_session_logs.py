"""Which folders of Ray's logs go: marked ones of sessions that ended over a day ago."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cluster.session_logs import KEPT_S, logs_kept_a_day


def session(root: Path, number: int) -> Path:
    folder = root / f"session_2026-11-29_07-00-00_000000_{number}"
    folder.mkdir()
    return folder


def aged(folder: Path) -> None:
    os.utime(folder / "started-by-wsus", (0, time.time() - KEPT_S - 60))


def test_what_ended_long_ago_goes_and_all_else_stays(tmp_path: Path) -> None:
    ended, fresh, runs, strangers, now = (session(tmp_path, number) for number in range(5))
    for folder in (ended, fresh):
        with logs_kept_a_day(folder):
            (folder / "logs").mkdir()
    aged(ended)
    with logs_kept_a_day(runs):
        aged(runs)
        with logs_kept_a_day(now):
            assert not ended.exists()
            assert all(folder.exists() for folder in (fresh, runs, strangers, now))
    assert time.time() - (runs / "started-by-wsus").stat().st_mtime < 60  # its day begins when it ends
