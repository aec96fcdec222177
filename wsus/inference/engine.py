"""What runs a network: network inputs in, class scores, class activation maps and pooled features out, all numpy.

Every engine gives the same numbers; which one runs is a matter of speed and of what is installed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from wsus.errors import ConfigError
from wsus.training.bundle import Bundle

EngineChoice = Literal["auto", "torch"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


class EngineOutput(NamedTuple):
    """float32: class scores (B, C), class activation maps (B, C, h, w), the backbone's maps averaged (B, K)."""

    logits_BC: NDArray[np.float32]
    cam_BChw: NDArray[np.float32]
    features_BK: NDArray[np.float32]


class Engine(Protocol):
    """A loaded network.

    name: of the engine, for answers and metrics.
    pom_tolerance: how far its probabilities may lie from those of torch in float32 on a CPU.
    """

    name: str
    pom_tolerance: float

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
        device: of torch.
        threads: that one pass may use; None for all cores of this process.
        precision: of the network's arithmetic; "auto" is float32 on a CPU and float16 on a GPU.
    Raises:
        ConfigError: no such engine or precision.  BundleError: the weights cannot be used.
    """
    if choice not in get_args(EngineChoice):
        raise ConfigError(f"engine is one of {', '.join(get_args(EngineChoice))}; got {choice!r}")
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is one of {', '.join(get_args(Precision))}; got {precision!r}")
    from wsus.inference.torch_engine import TorchEngine

    return TorchEngine(bundle.net, device=device, threads=threads, precision=precision)
