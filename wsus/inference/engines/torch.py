"""A network run by torch: eager, channels last, on a GPU in mixed precision. The one that every bundle can use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from wsus.inference.engines.engine import FLOAT32, EngineOutput, Precision, Tolerance
from wsus.nets.cam_net import CamNet, scale_to_unit
from wsus.nets.ensemble import Ensemble

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_TOLERANCES = {
    torch.float32: FLOAT32,
    torch.float16: Tolerance(pom=1e-2, cam=0.05),
    torch.bfloat16: Tolerance(pom=5e-2, cam=0.2),
}


class TorchEngine:
    """See `wsus.inference.engines.engine.Engine`.

    Args:
        net: moved to the device, in place.
        threads: for the whole process, since torch has one pool; None to leave it as it is.
        precision: "auto" is float32 on a CPU and float16 on a GPU (10 bits of mantissa against bfloat16's 7). float32 on a
            GPU is the whole of it: TensorFloat-32 is off.
    """

    name = "torch"
    callers = 1  # one pass fills the cores or the GPU

    def __init__(
        self,
        net: CamNet | Ensemble,
        *,
        device: torch.device | str = "cpu",
        threads: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.device = torch.device(device)
        if precision == "auto":
            precision = "float16" if self.device.type == "cuda" else "float32"
        self._dtype = _DTYPES[precision]
        self.tolerance = _TOLERANCES[self._dtype]
        if threads is not None:
            torch.set_num_threads(threads)
        self._net = net.to(device=self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def infer(self, inputs_BHW: NDArray[np.uint8]) -> EngineOutput:
        """Run network inputs, uint8 (B, H, W)."""
        with torch.inference_mode(), self._arithmetic():
            output = self._net(scale_to_unit(torch.from_numpy(inputs_BHW).to(self.device)))
            return EngineOutput(*(part.float().cpu().numpy() for part in output[: len(EngineOutput._fields)]))

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        if self._dtype is not torch.float32:
            with torch.autocast(self.device.type, dtype=self._dtype):
                yield
        elif self.device.type == "cuda":
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                yield
        else:
            yield
