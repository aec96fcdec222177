"""An engine gives what the network gives, whatever it is made of."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from wsus.errors import ConfigError
from wsus.inference.engines.choose import make_engine
from wsus.inference.engines.engine import Precision
from wsus.inference.engines.torch import TorchEngine
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import Bundle
from wsus.nets.cam_net import scale_to_unit


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)


def test_torch_engine_is_the_network(bundle: Bundle, inputs: np.ndarray) -> None:
    found = make_engine(bundle, "torch").infer(inputs)
    with torch.inference_mode():
        expected = bundle.net(scale_to_unit(torch.from_numpy(inputs)))
    assert expected.auxiliary_BC is None  # of training alone
    for ours, theirs in zip(found, expected[:3], strict=True):
        assert ours.dtype == np.float32
        assert np.allclose(ours, theirs.numpy(), atol=1e-6)
    assert found.features_BK.shape == (3, 64)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_stays_within_its_tolerance_and_is_not_float32(
    precision: Precision, bundle: Bundle, inputs: np.ndarray
) -> None:
    """On a CPU, where torch has the same autocast as on a GPU."""
    exact, mixed = (TorchEngine(bundle.net, precision=p) for p in ("float32", precision))
    outputs = [engine.infer(inputs) for engine in (exact, mixed)]
    poms = [softmax(output.logits_BC.astype(float), axis=1)[:, 1] for output in outputs]
    assert all(part.dtype == np.float32 for part in outputs[1])
    assert 0 < np.abs(poms[0] - poms[1]).max() < mixed.tolerance.pom
    assert exact.tolerance.pom < mixed.tolerance.pom


def test_automatic_precision_on_a_cpu_is_float32(bundle: Bundle, inputs: np.ndarray) -> None:
    found, exact = (make_engine(bundle, precision=p).infer(inputs) for p in ("auto", "float32"))
    assert (found.logits_BC == exact.logits_BC).all()


def test_threads_are_torchs(bundle: Bundle) -> None:
    before = torch.get_num_threads()
    try:
        make_engine(bundle, "torch", threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_unknown_engine_or_precision_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"engine is one of auto, torch.*; got 'tensorrt'"):
        make_engine(bundle, "tensorrt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"precision is one of auto, float32.*; got 'int8'"):
        make_engine(bundle, precision="int8")  # type: ignore[arg-type]


def test_predictor_takes_a_loaded_engine(bundle: Bundle) -> None:
    class Counting(TorchEngine):
        calls = 0

        def infer(self, inputs_BHW):  # type: ignore[no-untyped-def]
            self.calls += 1
            return super().infer(inputs_BHW)

    engine = Counting(bundle.net)
    image = DecodedImage(image_id="i", image_HW=np.random.default_rng(1).integers(1, 256, (50, 60), dtype=np.uint8))
    predictor = Predictor(bundle, engine=engine, batch_size=2)
    given = predictor.predict([image] * 3)
    assert engine.calls == 2
    assert given[0].pom == pytest.approx(Predictor(bundle, engine="torch").predict([image])[0].pom, abs=1e-6)
    assert (predictor.engine_name, predictor.digest) == ("torch", bundle.digest)
