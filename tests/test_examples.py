"""The examples run as a reader would run them: as scripts, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from wsus.data.manifest import Manifest
from wsus.data.roi import CropConfig
from wsus.data.sources.phantom import PhantomConfig
from wsus.data.sources.phantom_set import make_phantom_set
from wsus.models.bundle import ModelCard, read_card, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import CLASS_NAMES, Mode

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A dozen patients and their manifest."""
    return make_phantom_set(tmp_path_factory.mktemp("examples") / "phantoms", [PhantomConfig(patients_per_class=6)])


@pytest.fixture(scope="module")
def class_folder(phantoms: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as benign/ and malignant/."""
    folder = tmp_path_factory.mktemp("classes")
    for record in phantoms.records:
        target = folder / CLASS_NAMES[record.label or 0] / record.path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(record.path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with a card."""
    folder = tmp_path_factory.mktemp("model") / "bundle"
    torch.manual_seed(0)
    net = CamNet(NetConfig(backbone="resnet34", width=0.125))
    write_bundle(folder, ModelCard(name="untrained", net=net.config, mode=Mode.WEAK, crop=CropConfig(size_px=64)), net)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("source", ["class folder", "manifest"])
def test_train_weak_net_trains_and_writes_a_bundle(source: str, phantoms: Manifest, class_folder: Path, tmp_path: Path) -> None:
    manifest = phantoms.records[0].path.parents[1] / "manifest.csv"
    images = class_folder if source == "class folder" else manifest
    out = tmp_path / "bundle"
    told = run("train_weak_net.py", "--images", images, "--out", out, "--epochs", 2, "--size", 64, "--internal", 2)
    assert told.returncode == 0, told.stderr
    assert "epoch 2: loss" in told.stdout
    assert "internal AUC" in told.stdout
    assert "on 4 images" in told.stdout
    card = read_card(out)
    assert card.mode is Mode.WEAK
    assert card.crop.size_px == 64


@pytest.mark.slow
def test_train_weak_net_says_what_a_folder_lacks(tmp_path: Path) -> None:
    told = run("train_weak_net.py", "--images", tmp_path, "--out", tmp_path / "bundle")
    assert told.returncode == 2
    assert "benign" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.slow
def test_localise_compares_a_map_with_a_mask(phantoms: Manifest, bundle: Path, tmp_path: Path) -> None:
    record = phantoms.records[0]
    picture = tmp_path / "cam.png"
    told = run("localise.py", record.path, "--model", bundle, "--mask", record.mask_paths[0], "--overlay", picture)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("POM 0.")
    assert "IoU" in told.stdout
    with Image.open(picture) as drawn, Image.open(record.path) as original:
        assert drawn.size == original.size


def test_compare_scores_knows_a_hand_worked_case(tmp_path: Path) -> None:
    csv = tmp_path / "scores.csv"
    rows = ["p1,1,0.9,0.9", "p2,1,0.8,0.3", "n1,0,0.2,0.4", "n2,0,0.1,0.1"]  # b ranks p2 below n1: AUC 3/4
    csv.write_text("\n".join(["id,label,score_a,score_b", *rows]))
    told = run("compare_scores.py", csv)
    assert told.returncode == 0, told.stderr
    assert "AUC a 1.0000, b 0.7500, difference +0.2500" in told.stdout
    assert "sensitivity: a 1.000, b 0.500, exact McNemar P = 1.0000" in told.stdout


@pytest.mark.slow
def test_compare_scores_makes_its_own_scores_and_names_a_bad_file(tmp_path: Path) -> None:
    assert "non-inferior" in run("compare_scores.py", "--margin", 0.2).stdout
    told = run("compare_scores.py", tmp_path / "none.csv")
    assert told.returncode == 2
    assert "none.csv" in told.stderr


@pytest.mark.slow
def test_the_notebook_runs_from_images_to_a_figure(phantoms: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient", reason="pip install 'wsus[dev]'")
    notebook = nbformat.read(EXAMPLES / "own_data.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "committed without outputs: they may hold images"
    monkeypatch.setenv("PATIENTS", "24")
    monkeypatch.setenv("EPOCHS", "1")

    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    told = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    for words in ("images taken", "no errors", "epoch 1: loss", "POM 0.", "internal AUC 0."):
        assert words in told
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    assert len(pictures) == 3


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """One example, with the tests' cache and as many threads as a reader's machine gives it."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
