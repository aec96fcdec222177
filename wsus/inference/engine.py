"""What runs a network: network inputs in, class scores, class activation maps and pooled features out, all numpy.

Every engine gives the same numbers; which one runs is a matter of speed and of what is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from wsus.errors import ConfigError
from wsus.training.bundle import ONNX, Bundle

EngineChoice = Literal["auto", "torch", "onnx"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


class EngineOutput(NamedTuple):
    """float32: class scores (B, C), class activation maps (B, C, h, w), the backbone's maps averaged (B, K)."""

    logits_BC: NDArray[np.float32]
    cam_BChw: NDArray[np.float32]
    features_BK: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """How far an engine may lie from torch in float32 on a CPU. cam: share of the map's range."""

    pom: float
    cam: float


FLOAT32 = Tolerance(pom=1e-4, cam=0.01)


class Engine(Protocol):
    """A loaded network. name: for answers and metrics.  callers: threads that get most done when each asks for itself."""

    name: str
    tolerance: Tolerance
    callers: int

    def infer(self, inputs_BHW: NDArray[np.uint8]) -> EngineOutput:
        """Run network inputs, uint8 (B, H, W), none of them all black."""
        ...


def make_engine(
    bundle: Bundle,
    choice: EngineChoice = "auto",
    *,
    device: str = "cpu",
    threads: int | None = None,
    precision: Precision = "auto",
) -> Engine:
    """Load a bundle's network.

    Args:
        choice: "auto" is ONNX Runtime on a CPU where the bundle holds `model.onnx`, and torch otherwise.
        device: as torch names it.
        threads: that one pass may use; None for the engine's own choice.
        precision: of the network's arithmetic; "auto" is float32 on a CPU and float16 on a GPU.
    Raises:
        ConfigError: no such engine or precision, or the engine cannot run this bundle here.
        BundleError: the weights cannot be used.
    """
    _check(choice, precision, threads)
    runs_onnx = ONNX in bundle.sums and device == "cpu" and precision in ("auto", "float32")
    if choice == "onnx" and not runs_onnx:
        raise ConfigError(
            f"{bundle.folder}: engine 'onnx' needs {ONNX} in the bundle (made by `wsus publish`), device 'cpu' and precision "
            f"'float32'; {ONNX} is {'there' if ONNX in bundle.sums else 'missing'}, device is {device!r}, precision "
            f"{precision!r}; use engine 'torch'"
        )
    if runs_onnx and choice != "torch":
        from wsus.inference.onnx_engine import OnnxEngine

        return OnnxEngine(bundle.read_bytes(ONNX), name=str(bundle.folder / ONNX), threads=threads)
    from wsus.inference.torch_engine import TorchEngine

    return TorchEngine(bundle.net, device=device, threads=threads, precision=precision)


def _check(choice: str, precision: str, threads: int | None) -> None:
    if choice not in get_args(EngineChoice):
        raise ConfigError(f"engine is one of {', '.join(get_args(EngineChoice))}; got {choice!r}")
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is one of {', '.join(get_args(Precision))}; got {precision!r}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1; got {threads}")
