"""What people add has one place: a toy of each kind is registered there, once, and everything else finds it.

A table of the report: tests/report/test_write.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from tune_jobs import recipes
from tune_jobs.data import load_data
from tune_jobs.recipes import RECIPES, DataPaths, make_config, recipe
from tune_jobs.study import StudyConfig
from wsus.cli import app
from wsus.cli.registries import filled
from wsus.data.roi import CropConfig
from wsus.data.sources import SOURCES, DataSet, Imported, read_source, register_source
from wsus.data.sources.phantom import PhantomConfig
from wsus.data.sources.phantom_set import make_phantom_set
from wsus.errors import ConfigError
from wsus.inference.predict import DecodedImage, Predictor
from wsus.inference.publishing import write_servable
from wsus.models.bundle import ModelCard, read_bundle, write_bundle
from wsus.models.registry import bundle_folder, publish_model
from wsus.nets import backbones
from wsus.nets.backbones import Backbone, register_backbone
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.report.wording import backbone_name
from wsus.storage import FolderStore
from wsus.training.batches import LabelledImages
from wsus.training.classifier import Fit
from wsus.training.config import NO_AUGMENTATION, TrainConfig
from wsus.types import Mode, Split

ROOT = Path(__file__).resolve().parents[1]
SIDE = 64


def toy_features(batch_norm: bool, stride: int) -> nn.Module:
    """Two convolutions, to a map at a stride of 32."""
    first, second = nn.Conv2d(3, 16, 5, stride=4, padding=2), nn.Conv2d(16, 32, 9, stride=8, padding=4)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


@pytest.mark.slow
def test_a_backbone_is_trained_published_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "_REGISTRY", dict(backbones._REGISTRY))
    register_backbone(Backbone(name="toy", title="Toy net", build=toy_features))

    rng = np.random.default_rng(0)
    images_NHW = rng.integers(1, 120, (24, SIDE, SIDE), dtype=np.uint8)
    images_NHW[1::2, 20:40, 20:40] = 250
    images = LabelledImages.take(images_NHW, np.arange(24), [number % 2 for number in range(24)], torch.device("cpu"))
    torch.manual_seed(0)
    net = CamNet(NetConfig(backbone="toy"))
    config = TrainConfig(epochs=2, batch_size=8, lr=1e-3, augment=NO_AUGMENTATION)
    fit = Fit(net, images, images, config, seed=0, device=torch.device("cpu"))
    assert [report.epoch for report in fit] == [1, 2]
    card = ModelCard(name="toy", net=net.config, mode=Mode.WEAK, crop=CropConfig(size_px=SIDE))
    write_bundle(tmp_path / "trained", card, fit.best_net())
    served = write_servable(read_bundle(tmp_path / "trained"), tmp_path / "served", card)
    publish_model(FolderStore(tmp_path / "store"), "toy", served.folder)

    with bundle_folder(str(tmp_path / "store")) as folder:
        predictor = Predictor(read_bundle(folder))
    (prediction,) = predictor.predict([DecodedImage(image_id="scan", image_HW=images_NHW[1])])
    assert predictor.engine_name == "onnx"
    assert 0 <= prediction.pom <= 1
    assert backbone_name("toy") == "Toy net"
    assert "toy, timm:NAME" in filled("<backbones>")
    assert make_config("quick", {}).backbones != ("toy",)


def test_a_backbone_that_does_not_keep_the_stride_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "_REGISTRY", dict(backbones._REGISTRY))
    register_backbone(Backbone(name="toy", title="Toy net", build=toy_features))
    with pytest.raises(ConfigError, match=r"'toy' makes maps of shape \(1, 32, 2, 2\) .* with stride=16 they are \(1, K, 4, 4\)"):
        CamNet(NetConfig(backbone="toy", stride=16))


@pytest.fixture
def _sources_as_they_were() -> Iterator[None]:
    before = dict(SOURCES)
    yield
    SOURCES.clear()
    SOURCES.update(before)


@pytest.mark.usefixtures("_sources_as_they_were")
def test_a_data_set_is_imported_studied_and_told(tmp_path: Path) -> None:
    def read_toy(folder: Path) -> Imported:
        manifest = read_source("manifest", folder / "manifest.csv").manifest
        return Imported(manifest=manifest, taken=len(manifest.records))

    register_source(DataSet(name="toy-set", read=read_toy, layout="phantoms", aliases=("toys",)))
    with pytest.raises(ConfigError, match="'toy-set' is registered already"):
        register_source(SOURCES["toy-set"])
    make_phantom_set(tmp_path / "set", [PhantomConfig(patients_per_class=12)])

    imported = CliRunner().invoke(
        app, ["data", "import", "toy-set", str(tmp_path / "set"), "--manifest", str(tmp_path / "set/m.csv")]
    )
    assert imported.exit_code == 0, imported.output
    assert "images taken, 0 left out" in imported.output
    assert "toy-set=DIR" in filled("<data sets>")
    assert "toy-set" in filled("<data kinds>")

    config = make_config("paper", {"toys": str(tmp_path / "set")})
    assert config.data.internal.kind == "toy-set"
    splits = {"train_per_class": None, "internal_per_class": 3, "external_per_class": None}
    smaller = type(config.data.splits)(**splits, development_fraction=0.3)
    data = load_data(type(config.data)(internal=config.data.internal, splits=smaller))
    assert len(data.split(Split.INTERNAL)) == 6


def test_a_recipe_is_found_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", dict(RECIPES))

    @recipe("toy", data=("busi",))
    def toy(data: DataPaths) -> StudyConfig:
        """A toy of a study."""
        return make_config("quick", {})

    assert make_config("toy", {}, name="mine").name == "mine"
    assert filled("<recipes>").endswith(", toy")
    assert "[bold]toy[/bold]: A toy of a study." in filled("<recipe list>")


COLUMN_RUN = """
import sys
from pathlib import Path

import pandas as pd

from wsus.comparison.predictions import SUBGROUP_COLUMNS
from wsus.comparison.subgroups import subgroup_results
from wsus.data.characteristics import characteristics, table_rows
from wsus.data.sources import read_source
from wsus.report.wording import variable_name

manifest = read_source("manifest", Path(sys.argv[1])).manifest
assert {record.probe for record in manifest.records} == {"linear", "curved"}
assert manifest.frame()["probe"].notna().all()
rows = dict(table_rows(characteristics(manifest)))
assert "Probe" in rows and "  linear" in rows, rows
assert "probe" in SUBGROUP_COLUMNS and variable_name("probe") == "Probe"
others = {name: None for name in SUBGROUP_COLUMNS if name != "probe"}
table = manifest.frame().assign(pom=0.5, called_malignant=True, backbone="vgg16", split="internal", **others)
found = subgroup_results(table, None, 0.95, 1)
assert {(one.variable, one.level) for one in found} >= {("probe", "curved"), ("probe", "linear")}, found
print("all of it")
"""


def test_a_column_that_describes_images_is_read_counted_and_looked_into(tmp_path: Path) -> None:
    """An entry of `wsus.data.described` and a field of `ImageRecord`, in a copy of the package."""
    shutil.copytree(ROOT / "wsus", tmp_path / "wsus", ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, added in (
        (
            "data/described.py",
            '    DescribedBy(name="age_years"',
            '    DescribedBy(name="probe", title="Probe", counted=True, subgroup=True),\n',
        ),
        ("types.py", "    calipers: YesNo | None = None\n", "    probe: str | None = None\n"),
    ):
        file = tmp_path / "wsus" / name
        text = file.read_text()
        assert text.count(before) == 1
        file.write_text(text.replace(before, added + before))
    make_phantom_set(tmp_path / "set", [PhantomConfig(patients_per_class=4)])
    table = pd.read_csv(tmp_path / "set/manifest.csv")
    table.assign(probe=np.resize(["linear", "linear", "curved", "curved"], len(table))).to_csv(
        tmp_path / "set/manifest.csv", index=False
    )

    line = [sys.executable, "-c", COLUMN_RUN, str(tmp_path / "set/manifest.csv")]
    done = subprocess.run(
        line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120
    )

    assert done.stdout == "all of it\n", done.stderr


def test_the_documentation_lists_what_is_registered() -> None:
    data, study, networks = ((ROOT / "docs" / f"{page}.md").read_text() for page in ("data", "study", "networks"))
    assert re.findall(r"^\| `([\w-]+)` \| (.+) \|$", data.partition("## Sources")[2].partition("\n## ")[0], re.MULTILINE) == [
        (source.name, source.layout) for source in SOURCES.values()
    ]
    assert re.findall(r"^\| `([\w-]+)` \| (.+) \|$", study.partition("\n## ")[0], re.MULTILINE) == [
        (one.name, one.summary) for one in RECIPES.values()
    ]
    assert [name for name in backbones.backbone_names() if f"`{name}`" not in networks] == []
