"""What runs a network: network inputs in, class scores, class activation maps and pooled features out, all numpy.

The contract that every engine keeps: each gives the same numbers; which one runs is a matter of speed and of what is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

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
