"""The command as a user meets it: help, mistakes, prediction."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dicom_files import dicom, region, speckle
from PIL import Image
from typer.testing import CliRunner

from wsus.cli import app, main
from wsus.data.roi import CropConfig
from wsus.errors import BundleError
from wsus.models.bundle import ModelCard, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import Mode

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def wsus(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command's entry point in this process, which has torch and Ray already; what it does not catch is raised here."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["wsus", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        status = ended.value.code if isinstance(ended.value.code, int) else int(ended.value.code is not None)
        return subprocess.CompletedProcess(sys.argv, status, *capfd.readouterr())

    return command


def wsus_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as the installed script starts it."""
    code = "import sys; from wsus.cli import main; sys.argv[0] = 'wsus'; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "bundle"
    torch.manual_seed(0)
    net = CamNet(NetConfig(backbone="resnet34", width=0.125))
    write_bundle(folder, ModelCard(name="tiny", net=net.config, mode=Mode.WEAK, crop=CropConfig(size_px=64)), net.eval())
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(1, 255, (60, 80)).astype(np.uint8)).save(path)
    return path


def test_help_teaches(wsus: Command) -> None:
    found = wsus("--help")  # what it loads: tests/test_commands.py
    assert found.returncode == 0, found.stderr
    for word in ("run", "study", "compare", "publish", "predict", "data", "cluster", "models", "not a medical device"):
        assert word in found.stdout


def test_predict_prints_pom_class_and_box_and_writes_the_overlay(
    wsus: Command, bundle: Path, image: Path, tmp_path: Path
) -> None:
    found = wsus("predict", str(image), "--model", str(bundle), "--json", "--overlay", str(tmp_path / "maps"))

    assert found.returncode == 0, found.stderr
    (answer,) = json.loads(found.stdout)["predictions"]
    assert 0 <= answer["pom"] <= 1
    assert answer["label"] in ("benign", "malignant")
    with Image.open(answer["overlay"]) as overlay:
        assert overlay.size == (80, 60)


def test_predict_tells_sizes_in_mm_and_warnings_of_a_dicom_file(wsus: Command, bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "cine.dcm"
    regions = [region((10, 5, 70, 50)), region((20, 10, 40, 30), kind=2)]
    path.write_bytes(dicom(np.stack([speckle(seed=1), speckle(seed=2)]), SequenceOfUltrasoundRegions=regions))

    found = wsus("predict", str(path), "--model", str(bundle), "--frame", "1")

    assert found.returncode == 0, found.stderr
    assert re.search(r"cine\.dcm  frame 1  POM [01]\.\d+  .*box [\d ]+, \d+\.\d x \d+\.\d mm", found.stdout)
    assert "warning: a region of colour flow lies in the frame" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--recipe", "quikc"], "unknown recipe 'quikc'. Did you mean 'quick'"),
        (["run", "--recipe", "open"], "needs --data bus-bra=DIR and --data busi=DIR"),
        (["run", "--recipe", "quick", "--backbones", "resnet43"], "Did you mean 'resnet34'"),
        (["run", "--recipe", "quick", "--set", "train.epohcs=3"], "Did you mean 'train.epochs'"),
        (["run", "--recipe", "quick", "--set", "per_backbone.resnet34.lr=fast"], "'per_backbone.resnet34.lr' is a number"),
        (["run", "--recipe", "quick", "--set", "search_space.lr=fast"], "'search_space.lr' is LOW..HIGH"),
        (["run", "--recipe", "quick", "--set", "search=optuna"], "set samples=20 and a search_space"),
        (["models", "list", "--store", "{tmp}/nowhere"], "nowhere: no such folder; expected a store"),
        (["studies", "list", "--store", "{tmp}/nowhere"], "nowhere: no such folder; expected a store"),
        (["serve", "--insecure", "--model", "open@3={tmp}"], "the server follows an alias, not a version"),
        (["run", "--recipe", "quick", "--set", "train.epochs=many"], "'train.epochs' is a whole number, as 12; got \"many\""),
        (["run", "--recipe", "quick", "--name", "Bad Name"], "a study's name has lower-case letters"),
        (["compare", "--study", "none", "--out", "{tmp}"], "holds no study"),
        (["predict", "missing.png", "--model", "{bundle}"], "no such file"),
        (["predict", "{image}", "--model", "{tmp}/nowhere"], "no such folder"),
        (["predict", "{image}", "--model", "{bundle}", "--engine", "onnx"], "model.onnx is missing"),
        (["predict", "{image}", "--model", "{bundle}", "--engine", "magic"], "engine is one of auto, torch, onnx; got 'magic'"),
        (["data", "phantom", "{tmp}"], "exists already"),
        (["data", "audit", "{tmp}/none.csv"], "none.csv"),
        (["stats", "--csv", "{tmp}/none.csv"], "none.csv"),
        (["stats"], "either --csv FILE or --counts X/N X/N"),
        (["stats", "--counts", "87", "82/100"], "such as 87/100"),
        (["models", "promote", "none", "1", "--out", "{tmp}"], "unknown model 'none'"),
    ],
)
def test_a_mistake_is_one_clear_line_and_status_two(
    arguments: list[str], expected: str, wsus: Command, bundle: Path, image: Path, tmp_path: Path
) -> None:
    filled = [text.format(tmp=tmp_path, bundle=bundle, image=image) for text in arguments]

    found = wsus(*filled)

    assert found.returncode == 2, found.stdout + found.stderr
    assert expected in found.stderr
    assert "Traceback" not in found.stderr


def test_a_mistake_ends_the_process_in_the_same_way(tmp_path: Path) -> None:
    found = wsus_process("models", "promote", "none", "1", "--out", str(tmp_path))

    assert found.returncode == 2
    assert found.stderr.startswith("error: unknown model 'none'")
    assert "Traceback" not in found.stderr


def test_printed_shares_are_compared_without_their_cases(wsus: Command) -> None:
    found = wsus("stats", "--counts", "87/100", "82/100", "--json")

    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert answer["fisher_p"] == pytest.approx(0.4348832, abs=1e-7)
    assert answer["mcnemar_exact_bounds"]["discordant_range"] == [5, 31]


def test_a_bundle_with_a_changed_weight_is_refused(wsus: Command, bundle: Path, image: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in bundle.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    content = bytearray((changed / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (changed / "model.safetensors").write_bytes(bytes(content))

    found = wsus("predict", str(image), "--model", str(changed))

    assert found.returncode == 2
    assert "SHA-256" in found.stderr


def test_serving_a_store_without_a_model_is_refused_before_ray_starts(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--insecure", "--store", str(tmp_path), "--port", "18765"])
    assert isinstance(result.exception, BundleError)
    assert "holds no published model" in str(result.exception)
    assert "starting" not in result.output
