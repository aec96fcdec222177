"""A network run by ONNX Runtime on a CPU: preprocessing, scores, maps and features in one graph. Does not load torch."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from wsus.errors import BundleError
from wsus.inference.engine import FLOAT32, EngineOutput

INPUT = "images_BHW"
OUTPUTS = EngineOutput._fields
_REFUSALS = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)


class OnnxEngine:
    """See `wsus.inference.engine.Engine`.

    Args:
        content: of `model.onnx`, weights included. A graph that names other files is refused.
        name: stands in error messages.
        threads: of one pass; None for all cores of this process.
    Raises:
        BundleError: the graph cannot be run, or is not one of this project.
    """

    name = "onnx"
    tolerance = FLOAT32

    def __init__(self, content: bytes, *, name: str = "model.onnx", threads: int | None = None) -> None:
        try:
            self._session = ort.InferenceSession(content, _options(threads), providers=["CPUExecutionProvider"])
        except _REFUSALS as error:
            raise BundleError(f"{name}: ONNX Runtime {ort.__version__} refuses it ({str(error)[:300]})") from error
        inputs = {node.name: (node.type, len(node.shape)) for node in self._session.get_inputs()}
        outputs = tuple(node.name for node in self._session.get_outputs())
        if inputs != {INPUT: ("tensor(uint8)", 3)} or outputs != OUTPUTS:
            raise BundleError(
                f"{name}: expected uint8 {INPUT} in and {', '.join(OUTPUTS)} out; found {inputs} and {', '.join(outputs)}"
            )

    def infer(self, inputs_BHW: NDArray[np.uint8]) -> EngineOutput:
        """Run network inputs, uint8 (B, H, W)."""
        return EngineOutput(*self._session.run(list(OUTPUTS), {INPUT: inputs_BHW}))


def _options(threads: int | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would cost their neighbours
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)  # no other file
    return options
