"""Arithmetic in bfloat16: when it is chosen, what it leaves in float32, and that training still learns."""

from dataclasses import replace

import pytest
import torch

from wsus.errors import ConfigError
from wsus.nets.cam_net import CamNet
from wsus.nets.config import NetConfig, UNetConfig
from wsus.training import precision as module
from wsus.training.config import TrainConfig
from wsus.training.precision import Calibration, calibrate, is_narrow, mixed_precision, multiplies_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_forward_pass_multiplies_as_asked_and_weights_and_class_scores_stay_float32(precision: str, dtype: torch.dtype) -> None:
    net = CamNet(NetConfig(backbone="vgg16", width=0.125))
    seen = []
    net.features[0].register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))  # type: ignore[index]
    with mixed_precision(precision, CPU):  # type: ignore[arg-type]
        output = net(torch.rand(2, 1, 32, 32))
    assert seen == [dtype]
    assert output.logits_BC.dtype is torch.float32
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


@pytest.mark.parametrize("line", ["flags\t\t: fpu avx512f avx512_bf16 amx_tile", "flags : amx_bf16", "Features\t: fp asimd bf16"])
def test_processors_that_multiply_bfloat16_are_known_by_their_flags(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in ((f"processor : 0\n{line}\n", True), ("flags : avx512f avx512bw\n", False), ("", False)):
        monkeypatch.setattr(module.Path, "read_text", lambda _, text=text: text)
        assert multiplies_bfloat16() is expected


def test_narrow_networks_are_float32_without_a_clock() -> None:
    narrow, wide = NetConfig(backbone="resnet34", width=0.5), NetConfig(backbone="resnet34")
    assert is_narrow(narrow)
    assert not is_narrow(wide)
    assert is_narrow(UNetConfig(base_channels=8))
    assert not is_narrow(UNetConfig())
    assert calibrate(narrow, 64, CPU) == Calibration(use="float32")


def test_without_hardware_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: False)
    assert calibrate(NetConfig(backbone="resnet34"), 64, CPU) == Calibration(use="float32")


def test_a_measured_network_takes_the_faster_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: True)
    found = calibrate(UNetConfig(), 32, CPU)
    assert found.float32_images_s
    assert found.bfloat16_images_s
    worth = found.bfloat16_images_s >= module.WORTH * found.float32_images_s
    assert found.use == ("bfloat16" if worth else "float32")


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="precision is one of auto, float32, bfloat16; got 'float16'"):
        replace(TrainConfig(), precision="float16")  # type: ignore[arg-type]
