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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil

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
    "reading data": lambda text: True,
    "start of Ray": lambda text: True,
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
    """One `wsus run`. Its folder holds the store and the logs of all runs.

    options: of `wsus run`.  jobs: the Jobs API of a cluster, where it is submitted; `process` is then the one that submits.
    """

    def __init__(self, folder: Path, *, tree: Path = ROOT, options: Sequence[str] = (), jobs: str | None = None) -> None:
        self.store, self.cache = folder / "store", folder / "cache"
        self.log = folder / f"run{len(list(folder.glob('run*.log')))}.log"
        self._submitted = jobs is not None
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        environment |= {"PYTHONPATH": str(tree), "WSUS_CACHE_DIR": str(self.cache), "OMP_NUM_THREADS": "1"}
        settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        command = ["run", "--recipe", "quick", "--name", NAME, "--out", str(self.store), *options]
        command += ["--backbones", "resnet34", "--modes", "weak,auto_roi", *settings]
        if jobs is not None:
            sent = [part for key in ("PYTHONPATH", "WSUS_CACHE_DIR") for part in ("--env", f"{key}={environment[key]}")]
            command = ["cluster", "submit", "--address", jobs, *sent, "--", *command]
        elif not options:
            command += ["--cpus", "1"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wsus", *command],
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # tests may run under nohup
            )

    @property
    def driver(self) -> int:
        """The process that drives the study."""
        if not self._submitted:
            return self.process.pid
        ours = [process for process in psutil.process_iter(["cmdline"]) if str(self.store) in (process.info["cmdline"] or ())]
        (driver,) = (process for process in ours if "submit" not in process.info["cmdline"])
        return int(driver.pid)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def reach(self, stage: str, *, seconds: float = 240) -> None:
        """Until a stage has begun, and a moment more."""
        deadline = time.monotonic() + seconds
        while not STAGES[stage](self.text) or not self._seen(stage):
            assert self.process.poll() is None, f"{stage}: it ended before:\n{self.text[-3000:]}"
            assert time.monotonic() < deadline, f"{stage}: not reached:\n{self.text[-3000:]}"
            time.sleep(0.05)
        time.sleep(0.3)

    def _seen(self, stage: str) -> bool:
        """What no log says."""
        if stage == "reading data":
            return any(self.cache.rglob("*.png"))
        if stage == "start of Ray":
            return any("gcs_server" in psutil.Process(pid).name() for pid, _ in watchdog.descendants(self.process.pid))
        return True

    def interrupt(self, how: str) -> Left:
        """Send what `how` names, wait for the end, and look at what is left."""
        pid = self.driver
        started = watchdog.descendants(pid)
        begun = time.monotonic()
        if how == "lost lease":
            self._take_over()
        elif self._submitted:
            os.kill(pid, signal.Signals[how])
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
            processes=self._left(pid, started, 30 if how == "SIGKILL" or "at once" in self.text else 1),
            models=len(list(self.store.glob("models/*/*/SHA256SUMS"))),
            cells=len(list(self.store.glob("studies/*/cells/*/SHA256SUMS"))),
        )

    def _take_over(self) -> None:
        """Another driver has the lease and lives, until this one has ended."""
        store, key, deadline = open_store(self.store), f"studies/{NAME}/lease.json", time.monotonic() + 60
        renewals = 0
        while self.process.poll() is None and time.monotonic() < deadline:
            store.write_json(key, {"host": "elsewhere", "pid": 1, "token": "t", "renewals": renewals})
            renewals += 1
            time.sleep(0.5)
        store.delete(key)

    def finish(self, *, seconds: float = 400) -> str:
        """Let it end; its log."""
        assert self.process.wait(seconds) == 0, self.text[-3000:]
        return self.text

    def _left(self, driver: int, started: set[watchdog.Process], seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while True:
            left = watchdog.alive(started | watchdog.processes_of(driver))
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


def weights(store: Path) -> dict[str, tuple[bytes, str]]:
    """The networks of all cells, and the losses of every epoch: the best epoch may be an early one."""
    found = {}
    for cell in sorted(store.glob("studies/*/cells/*/")):
        history = pd.read_csv(cell / "history.csv")[["epoch", "train_loss", "development_loss", "development_auc", "lr"]]
        found[cell.name] = ((cell / "bundle/model.safetensors").read_bytes(), history.to_csv())
    return found
