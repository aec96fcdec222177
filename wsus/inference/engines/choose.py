"""Which engine runs a bundle's network here."""

from __future__ import annotations

from typing import get_args

from wsus.errors import ConfigError
from wsus.inference.engines.engine import Engine, EngineChoice, Precision
from wsus.models.bundle import ONNX, Bundle


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
        from wsus.inference.engines.onnx import OnnxEngine

        return OnnxEngine(bundle.read_bytes(ONNX), name=str(bundle.folder / ONNX), threads=threads)
    from wsus.inference.engines.torch import TorchEngine

    return TorchEngine(bundle.net, device=device, threads=threads, precision=precision)


def _check(choice: str, precision: str, threads: int | None) -> None:
    if choice not in get_args(EngineChoice):
        raise ConfigError(f"engine is one of {', '.join(get_args(EngineChoice))}; got {choice!r}")
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is one of {', '.join(get_args(Precision))}; got {precision!r}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1; got {threads}")
