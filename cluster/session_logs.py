"""The folders of logs that Ray leaves, one for each start: those of Rays that were started here go after a day."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT_S = 86_400.0
_MARK = "started-by-wsus"


@contextmanager
def logs_kept_a_day(session: Path) -> Iterator[None]:
    """Mark the folder of a Ray session for as long as it runs, and remove those that were marked and ended long ago.

    A lock tells whether a session runs; it ends with its process, whatever ended that.
    """
    with (session / _MARK).open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for other in session.parent.glob(f"session_*/{_MARK}"):
            with suppress(OSError), other.open() as held:  # another user's, or one that runs
                if time.time() - other.stat().st_mtime > KEPT_S:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(other.parent)
        try:
            yield
        finally:
            os.utime(mark.fileno())
