"""Commands that make and check images, interrupted in the midst of it: one line, the signal's status, nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wsus.data.sources.phantom import PhantomConfig
from wsus.data.sources.phantom_set import make_phantom_set

ROOT = Path(__file__).parents[1]
COPIES = 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with benign/ and malignant/ of some hundred images."""
    root = tmp_path_factory.mktemp("images")
    made = make_phantom_set(root / "made", [PhantomConfig(patients_per_class=5, institution="A", seed=0)])
    for record in made.records:
        folder = root / "own" / ("benign", "malignant")[record.label]
        folder.mkdir(parents=True, exist_ok=True)
        for copy in range(COPIES):
            shutil.copy(record.path, folder / f"{copy}-{record.path.name}")
    return root / "own"


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "phantom", "new", "--patients", "5000"),
        ("data", "import", "own", "{images}", "--manifest", "new.csv"),
        ("data", "audit", "own={images}", "--page", "new.html"),
    ],
    ids=lambda arguments: arguments[1],
)
def test_it_ends_in_one_line(arguments: tuple[str, ...], name: str, status: int, images: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wsus", *(argument.format(images=images) for argument in arguments)]
    before = {path: path.stat().st_mtime_ns for path in images.rglob("*")}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        deadline = time.monotonic() + 60
        while "_imaging" not in Path(f"/proc/{process.pid}/maps").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)  # what reads and writes pictures is not loaded yet
        time.sleep(0.2)
        begun = time.monotonic()
        process.send_signal(signal.Signals[name])
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (
        status,
        f"interrupted by {name}; nothing half-written is left; run the same line again\n",
    )
    assert time.monotonic() - begun < 10
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in images.rglob("*")} == before


IN_AN_IMPORT = """
import os, signal
from wsus import cli

def app(standalone_mode):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except KeyboardInterrupt as stop:
        raise ImportError("initialization failed") from stop

cli.app = app
cli.main()
"""


@pytest.mark.parametrize(("script", "status"), [(IN_AN_IMPORT, 143), (IN_AN_IMPORT.replace(" from stop", " from None"), 143)])
def test_what_a_native_module_makes_of_an_interrupt_is_one_too(script: str, status: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (
        status,
        "interrupted by SIGTERM; nothing half-written is left; run the same line again\n",
    )


def test_a_mistake_of_the_program_is_no_interrupt() -> None:
    script = "from wsus import cli\ncli.app = lambda **_: 1 / 0\ncli.main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "ZeroDivisionError" in ran.stderr
