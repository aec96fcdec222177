"""`wsus run` of a small study, as a process that is interrupted at a stage by a signal; and what it leaves.

The study goes through every stage of a real one: phantoms, U-Nets, two trials, cells, comparison, a model. Used by the tests of
interruptions and by the matrix of `make chaos`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import watchdog
from wsus.storage import open_store

ROOT = Path(__file__).parents[1]
NAME = "cut"
EPOCHS = 16
SETTINGS = {
    "width": "0.125",
    "train.epochs": str(EPOCHS),
    "train.patience": "null",
    "train.batch_size": "4",
    "crop.size_px": "64",
    "segmenter.crop.size_px": "32",
    "segmenter.net.base_channels": "4",
    "segmenter.net.depth": "2",
    "segmenter.epochs": "3",
    "bootstrap": "50",
    "data.internal.patients_per_class": "16",
    "data.external.patients_per_class": "5",
    "data.splits.train_per_class": "12",
    "data.splits.internal_per_class": "5",
    "data.splits.external_per_class": "5",
    "data.splits.folds": "2",
}

# stage -> whether the log of this run says that it has begun
STAGES: dict[str, Callable[[str], bool]] = {
    "start of Ray": lambda text: True,
    "reading data": lambda text: True,
    "U-Nets": lambda text: " U-Nets, cross-fitted" in text,
    "before epoch 1": lambda text: "regions of interest: found in" in text,
    "mid-epoch": lambda text: bool(re.search(r"epoch \d+/", text)),
    "upload": lambda text: len(re.findall(r"epoch \d+/", text)) > 4,
    "scoring": lambda text: text.count("  trained (") > 0 or "scored" in text,
    "comparison": lambda text: "hardest cases: pictures" in text or "nothing to do" in text,
    "publishing": lambda text: "Table 2" in text,
}


@dataclass(frozen=True, kw_only=True)
class Left:
    """What an interruption left. line: what was said; processes: how many ran 1 s after the end, and 30 s after a SIGKILL."""

    status: int
    seconds: float
    line: str
    processes: int
    models: int
    cells: int


class Run:
    """One `wsus run`. Its folder holds the store and the logs of all runs."""

    def __init__(self, folder: Path, *, store: Path | None = None, tree: Path = ROOT) -> None:
        self.store, self.cache = store or folder / "store", folder / "cache"
        self.log = folder / f"run{len(list(folder.glob('run*.log')))}.log"
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        environment |= {"PYTHONPATH": str(tree), "WSUS_CACHE_DIR": str(self.cache), "OMP_NUM_THREADS": "1"}
        settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "wsus", "run", "--recipe", "quick", "--name", NAME, "--cpus", "1"]
        command += ["--out", str(self.store), "--backbones", "resnet34", "--modes", "weak,auto_roi", *settings]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def reach(self, stage: str, *, seconds: float = 240) -> None:
        """Until a stage has begun, and a moment more."""
        deadline = time.monotonic() + seconds
        while not STAGES[stage](self.text) or (stage == "reading data" and not any(self.cache.rglob("*.png"))):
            assert self.process.poll() is None, f"{stage}: it ended before:\n{self.text[-3000:]}"
            assert time.monotonic() < deadline, f"{stage}: not reached:\n{self.text[-3000:]}"
            time.sleep(0.05)
        time.sleep(4.0 if stage == "start of Ray" else 0.3)

    def interrupt(self, how: str) -> Left:
        """Send what `how` names, wait for the end, and look at what is left."""
        pid = self.process.pid
        started = watchdog.descendants(pid)
        begun = time.monotonic()
        if how == "lost lease":
            open_store(self.store).write_json(f"studies/{NAME}/lease.json", {"host": "elsewhere", "pid": 1, "token": "t"})
        elif how in ("SIGINT", "SIGHUP"):  # of a terminal: to the whole group
            os.killpg(pid, signal.Signals[how])
        elif how == "SIGINT twice":
            os.killpg(pid, signal.SIGINT)
            time.sleep(0.7)
            if self.process.poll() is None:
                os.killpg(pid, signal.SIGINT)
        else:
            os.kill(pid, signal.Signals[how])
        status = self.process.wait(60)
        seconds = time.monotonic() - begun
        return Left(
            status=status,
            seconds=seconds,
            line=self.text.strip().splitlines()[-1] if self.text.strip() else "",
            processes=self._left(started, 30 if status < 0 or "at once" in self.text else 1),
            models=len(list(self.store.glob("models/*/*/SHA256SUMS"))),
            cells=len(list(self.store.glob("studies/*/cells/*/SHA256SUMS"))),
        )

    def finish(self, *, seconds: float = 400) -> str:
        """Let it end; its log."""
        assert self.process.wait(seconds) == 0, self.text[-3000:]
        return self.text

    def _left(self, started: set[watchdog.Process], seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while True:
            left = watchdog.alive(started | watchdog.processes_of(self.process.pid))
            if not left or time.monotonic() > deadline:
                return len(left)
            time.sleep(0.2)


def interrupted_everywhere(folder: Path, how: str, say: Callable[[str, Left], None]) -> Path:
    """One study that is interrupted at every stage, each time by the same line going on, and then ends. Its store."""
    for stage in STAGES:
        run = Run(folder)
        run.reach(stage, seconds=900)
        say(stage, run.interrupt(how))
    run = Run(folder)
    run.finish(seconds=900)
    return run.store


STATUS = {"SIGINT": 130, "SIGINT twice": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138, "lost lease": 2, "SIGKILL": -9}


def weights(store: Path) -> dict[str, bytes]:
    """The networks of all cells."""
    return {path.parts[-3]: path.read_bytes() for path in sorted(store.glob("studies/*/cells/*/bundle/model.safetensors"))}
