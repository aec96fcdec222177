"""A CamNet as an ONNX graph: uint8 network inputs in; scores, maps and pooled features out; held against torch.

Needs torch, onnx and onnxscript, at publishing alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from wsus.errors import BundleError
from wsus.inference.engines.engine import EngineOutput
from wsus.inference.engines.onnx import INPUT, OUTPUTS, OnnxEngine
from wsus.inference.engines.torch import TorchEngine
from wsus.nets.cam_net import CamNet, scale_to_unit
from wsus.nets.ensemble import Ensemble
from wsus.types import CamOutput

TOLERANCE = 1e-4
_COLOURS = re.compile(r"\x1b\[\d+m")


class CannotExportError(Exception):
    """torch's exporter has no way to write this network as a graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedGraph:
    """content: of `model.onnx`.  max_difference: from torch, by output, as `max_differences` gives it."""

    content: bytes
    opset: int
    max_difference: dict[str, float]


class _Graph(nn.Module):
    def __init__(self, net: CamNet | Ensemble) -> None:
        super().__init__()
        self.net = net

    def forward(self, images_BHW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output: CamOutput = self.net(scale_to_unit(images_BHW))
        return output.logits_BC, output.cam_BChw, output.features_BK


def export_onnx(net: CamNet | Ensemble, inputs_BHW: NDArray[np.uint8]) -> ExportedGraph:
    """Write a network as a graph with a free batch size, and compare it with torch on some network inputs.

    Args:
        inputs_BHW: at least three, so that batches of other sizes than the exporter saw are tried.
    Raises:
        CannotExportError: the exporter does not know an operation of this network.
        BundleError: the graph's numbers are not torch's.
    """
    if len(inputs_BHW) < 3:
        raise ValueError(f"at least three inputs are needed to try batches of several sizes; got {len(inputs_BHW)}")
    content, opset = _export(net, inputs_BHW[:2])
    torch_engine, onnx_engine = TorchEngine(net), OnnxEngine(content)
    compared = [
        max_differences(torch_engine.infer(batch_BHW), onnx_engine.infer(batch_BHW)) for batch_BHW in (inputs_BHW, inputs_BHW[:1])
    ]
    worst = {name: max(found[name] for found in compared) for name in compared[0]}
    if not all(value <= TOLERANCE for value in worst.values()):
        listed = ", ".join(f"{name} {value:.2g}" for name, value in worst.items())
        raise BundleError(f"the ONNX graph does not give torch's numbers (largest differences: {listed}; allowed: {TOLERANCE:g})")
    return ExportedGraph(content=content, opset=opset, max_difference=worst)


def max_differences(expected: EngineOutput, found: EngineOutput) -> dict[str, float]:
    """The largest difference of each output, as a share of the output's largest value where that exceeds 1; of POM as it is."""
    differences = {
        name: float(np.abs(a - b).max() / max(1.0, np.abs(a).max())) for name, a, b in zip(OUTPUTS, expected, found, strict=True)
    }
    poms = [softmax(output.logits_BC.astype(np.float64), axis=1) for output in (expected, found)]
    return {**differences, "pom": float(np.abs(poms[0] - poms[1]).max())}


def _export(net: CamNet | Ensemble, inputs_BHW: NDArray[np.uint8]) -> tuple[bytes, int]:
    graph = _Graph(net.float().cpu()).eval()
    batch = torch.export.Dim("batch")
    try:
        program = torch.onnx.export(
            graph,
            (torch.from_numpy(inputs_BHW),),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            external_data=False,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise CannotExportError(_COLOURS.sub("", str(error).splitlines()[0])) from error
    assert program is not None
    model = program.model_proto
    return model.SerializeToString(), int(model.opset_import[0].version)
