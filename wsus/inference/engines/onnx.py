"""A network run by ONNX Runtime on a CPU: preprocessing, scores, maps and features in one graph. Does not load torch."""

from __future__ import annotations

import os
import threading

import numpy as np
import onnxruntime as ort
from joblib import cpu_count
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from wsus.errors import BundleError
from wsus.inference.engines.engine import FLOAT32, EngineOutput

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
    """See `wsus.inference.engines.engine.Engine`. May be asked from several threads at once.

    A call that is alone is shared out among the threads, operation by operation, which answers it soonest. A call that comes
    while another runs keeps to its caller's thread: then nobody waits for another at the end of each operation, and two callers
    get an eighth more done (benchmarks/engine.py).

    Args:
        content: of `model.onnx`, weights included. A graph that names other files is refused.
        name: stands in error messages.
        threads: of a call that is alone; None for all cores that this process may use, a container's quota included.
    Raises:
        BundleError: the graph cannot be run, or is not one of this project.
    """

    name = "onnx"
    tolerance = FLOAT32

    def __init__(self, content: bytes, *, name: str = "model.onnx", threads: int | None = None) -> None:
        self.callers = threads or cpu_count()
        self._narrow = _session(content, name, threads=1)
        self._wide = _session(content, name, threads=self.callers) if self.callers > 1 else self._narrow
        self._running, self._counting = 0, threading.Lock()

    def infer(self, inputs_BHW: NDArray[np.uint8]) -> EngineOutput:
        """Run network inputs, uint8 (B, H, W)."""
        with self._counting:
            session = self._narrow if self._running else self._wide
            self._running += 1
        try:
            return EngineOutput(*session.run(list(OUTPUTS), {INPUT: inputs_BHW}))
        finally:
            with self._counting:
                self._running -= 1


def _session(content: bytes, name: str, *, threads: int) -> ort.InferenceSession:
    try:
        session = ort.InferenceSession(content, _options(threads), providers=["CPUExecutionProvider"])
    except _REFUSALS as error:
        raise BundleError(f"{name}: ONNX Runtime {ort.__version__} refuses it ({str(error)[:300]})") from error
    inputs = {node.name: (node.type, len(node.shape)) for node in session.get_inputs()}
    outputs = tuple(node.name for node in session.get_outputs())
    if inputs != {INPUT: ("tensor(uint8)", 3)} or outputs != OUTPUTS:
        raise BundleError(
            f"{name}: expected uint8 {INPUT} in and {', '.join(OUTPUTS)} out; found {inputs} and {', '.join(outputs)}"
        )
    return session


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would cost their neighbours
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)  # no other file
    return options
