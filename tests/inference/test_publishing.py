"""A trained bundle becomes one that can be served: graph and self-test images, tried before anyone sees them."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import wsus.inference.onnx_export as onnx_export
from wsus.data.roi import CropConfig
from wsus.errors import BundleError
from wsus.inference.engines.choose import make_engine
from wsus.inference.engines.engine import EngineOutput
from wsus.inference.onnx_export import CannotExportError, export_onnx, max_differences
from wsus.inference.predict import DecodedImage, Predictor
from wsus.inference.publishing import write_servable
from wsus.inference.self_test import self_test
from wsus.models.bundle import Bundle, ModelCard, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.nets.config import Head, Pooling
from wsus.types import Mode

NET = NetConfig(backbone="googlenet", width=0.125, stride=16)
INPUTS_BHW = np.random.default_rng(0).integers(1, 256, (5, 64, 64), dtype=np.uint8)


def tiny_net(backbone: str = "googlenet", head: Head = "cam", width: float = 0.125, pooling: Pooling = "average") -> CamNet:
    torch.manual_seed(0)
    net = CamNet(NetConfig(backbone=backbone, width=width, stride=16, head=head, pooling=pooling))
    nn.init.normal_(net.linear.weight, std=0.05)
    return net.eval()


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Bundle]:
    def make(mode: Mode = Mode.WEAK) -> Bundle:
        card = ModelCard(name="cell", net=NET, mode=mode, crop=CropConfig(size_px=64), figures={"auc": 0.9})
        write_bundle(tmp_path / "trained", card, tiny_net())
        return read_bundle(tmp_path / "trained")

    return make


@pytest.mark.slow
def test_servable_bundle_gives_the_same_answers_by_both_engines(trained: Callable[..., Bundle], tmp_path: Path) -> None:
    source = trained()
    servable = write_servable(source, tmp_path / "servable", replace(source.card, name="published"))

    card = servable.card
    assert (card.name, card.figures, card.self_test_images) == ("published", {"auc": 0.9}, 6)
    assert card.onnx is not None
    assert set(card.onnx.max_difference) == {"logits_BC", "cam_BChw", "features_BK", "pom"}
    assert max(card.onnx.max_difference.values()) < 1e-4
    assert read_bundle(servable.folder).card == card
    assert card.serving_lines()[1] == "self-test   6 made images"

    by_torch, by_onnx = Predictor(servable, engine="torch"), Predictor(servable)
    assert by_onnx.engine_name == "onnx"
    for predictor in (by_torch, by_onnx):
        difference = self_test(predictor)
        assert difference is not None
        assert difference < 1e-5
    image = DecodedImage(image_id="i", image_HW=INPUTS_BHW[0])
    ours, theirs = by_onnx.predict([image])[0], by_torch.predict([image])[0]
    assert ours.pom == pytest.approx(theirs.pom, abs=1e-5)
    assert np.abs(ours.cam_HW - theirs.cam_HW).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "head", "width", "pooling"),
    [
        ("resnet34", "class_maps", 0.125, "average"),
        ("efficientnet_lite0", "cam", 1.0, "average"),
        ("vgg16", "cam", 0.125, "attention"),
    ],
)
def test_other_backbones_heads_and_poolings_can_be_graphs(backbone: str, head: Head, width: float, pooling: Pooling) -> None:
    exported = export_onnx(tiny_net(backbone, head, width, pooling), INPUTS_BHW)
    assert max(exported.max_difference.values()) < 1e-4
    assert exported.opset >= 18


@pytest.mark.slow
def test_network_that_cannot_be_a_graph_is_published_without_one(
    trained: Callable[..., Bundle], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Undecided(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.inner(x)
            return maps if float(x.sum()) > 0 else maps.clone()

    source = trained()
    source.net.features = Undecided(source.net.features)
    with pytest.raises(CannotExportError, match="Failed to export"):
        export_onnx(source.net, INPUTS_BHW)
    servable = write_servable(source, tmp_path / "servable", source.card)
    assert servable.card.onnx is None
    assert make_engine(servable).name == "torch"
    assert "cell: published without model.onnx, so it is served by torch" in caplog.text
    assert servable.card.serving_lines()[0] == "model.onnx  none: torch runs the network"


@pytest.mark.slow
def test_graph_with_other_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that gets one weight wrong."""
    real_export = onnx_export._export

    def wrong_export(net: CamNet, inputs_BHW: np.ndarray) -> tuple[bytes, int]:
        changed = copy.deepcopy(net)
        changed.linear.weight.data[0, 0] += 0.01
        return real_export(changed, inputs_BHW)

    monkeypatch.setattr(onnx_export, "_export", wrong_export)
    with pytest.raises(BundleError, match=r"does not give torch's numbers \(largest differences: logits_BC .*allowed: 0\.0001\)"):
        export_onnx(tiny_net("vgg16"), INPUTS_BHW)


def test_too_few_inputs_to_compare_are_refused() -> None:
    with pytest.raises(ValueError, match="at least three inputs"):
        export_onnx(tiny_net(), INPUTS_BHW[:2])


def test_only_weak_models_become_servable(trained: Callable[..., Bundle], tmp_path: Path) -> None:
    source = trained(Mode.MANUAL_ROI)
    with pytest.raises(BundleError, match=r"only weak models are served.*manual_roi"):
        write_servable(source, tmp_path / "servable", source.card)
    assert not (tmp_path / "servable").exists()


def test_hand_worked_differences() -> None:
    expected = EngineOutput(np.array([[0.0, 0.0]]), np.full((1, 2, 1, 1), 200.0), np.array([[0.5]]))  # type: ignore[arg-type]
    found = EngineOutput(np.array([[0.0, 0.02]]), np.full((1, 2, 1, 1), 201.0), np.array([[0.25]]))  # type: ignore[arg-type]
    differences = max_differences(expected, found)
    assert differences["logits_BC"] == pytest.approx(0.02)
    assert differences["cam_BChw"] == pytest.approx(1 / 200)
    assert differences["features_BK"] == pytest.approx(0.25)
    assert differences["pom"] == pytest.approx(1 / (1 + np.exp(-0.02)) - 0.5)
