"""ONNX Runtime as an engine: what a graph says, and which graphs are refused."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_made_graph import hand_made_graph
from onnx import TensorProto

from wsus.data.roi import CropConfig
from wsus.errors import BundleError, ConfigError
from wsus.inference.engines.choose import make_engine
from wsus.inference.engines.onnx import OnnxEngine
from wsus.models.bundle import Bundle, ModelCard, extend_bundle, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import Mode

CARD = ModelCard(
    name="tiny", net=NetConfig(backbone="vgg16", width=0.125, stride=16), mode=Mode.WEAK, crop=CropConfig(size_px=32)
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("onnx") / "bundle"
    write_bundle(folder, CARD, CamNet(CARD.net))
    return read_bundle(folder)


@pytest.fixture
def with_graph(trained: Bundle, tmp_path: Path) -> Bundle:
    extend_bundle(trained, tmp_path / "b", CARD, {"model.onnx": hand_made_graph()})
    return read_bundle(tmp_path / "b")


def test_hand_worked_graph() -> None:
    images_BHW = np.zeros((2, 2, 2), dtype=np.uint8)
    images_BHW[0, 0, 0], images_BHW[1] = 200, 10
    found = OnnxEngine(hand_made_graph(), threads=1).infer(images_BHW)
    assert found.features_BK.tolist() == [[50], [10]]
    assert found.logits_BC.tolist() == [[50, 150], [10, 30]]
    assert found.cam_BChw[0].tolist() == [[[200, 0], [0, 0]], [[600, 0], [0, 0]]]


def test_calls_at_the_same_time_get_their_own_answers() -> None:
    """Whether a call has all threads or, beside others, its own alone."""
    engine = OnnxEngine(hand_made_graph(), threads=4)
    assert engine.callers == 4
    images = [np.full((2, 2, 2), level, dtype=np.uint8) for level in range(1, 200)]
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(engine.infer, images))
    assert [found.features_BK.tolist() for found in answers] == [[[level], [level]] for level in range(1, 200)]


def test_a_call_has_the_cores_that_were_granted_and_not_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joblib counts them: affinity, a container's quota and this variable."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert OnnxEngine(hand_made_graph()).callers == 1


@pytest.mark.parametrize("outside", ["weights.bin", "/etc/hostname", "../weights.bin"])
def test_weights_in_another_file_are_refused(outside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the file is there and in the working directory: the digest covers the graph alone."""
    (tmp_path / "weights.bin").write_bytes(np.array([1, 3], dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"m\.onnx: ONNX Runtime .* refuses it .*[Ee]xternal"):
        OnnxEngine(hand_made_graph(outside=outside), name="m.onnx")


@pytest.mark.parametrize("content", [b"", b"not a graph", hand_made_graph()[:-40]])
def test_damaged_graph_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx: ONNX Runtime .* refuses it"):
        OnnxEngine(content)


@pytest.mark.parametrize("change", [{"input_name": "x"}, {"input_type": TensorProto.FLOAT}])
def test_graph_with_another_interface_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match=r"expected uint8 images_BHW in and logits_BC, cam_BChw, features_BK out; found \{"):
        OnnxEngine(hand_made_graph(**change))  # type: ignore[arg-type]


def test_automatic_engine_is_onnx_where_the_bundle_holds_a_graph(trained: Bundle, with_graph: Bundle) -> None:
    assert make_engine(with_graph).name == "onnx"
    assert make_engine(with_graph, "torch").name == "torch"
    assert make_engine(with_graph, precision="bfloat16").name == "torch"
    assert make_engine(trained).name == "torch"


def test_onnx_where_it_cannot_run_is_refused(trained: Bundle, with_graph: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"model\.onnx is missing.*use engine 'torch'"):
        make_engine(trained, "onnx")
    with pytest.raises(ConfigError, match=r"model\.onnx is there, device is 'cuda'"):
        make_engine(with_graph, "onnx", device="cuda")
    with pytest.raises(ConfigError, match="precision 'float16'; use engine"):
        make_engine(with_graph, "onnx", precision="float16")
    with pytest.raises(ConfigError, match="threads must be at least 1; got 0"):
        make_engine(with_graph, threads=0)


def test_graph_of_a_wrong_digest_is_refused(with_graph: Bundle) -> None:
    changed = replace(with_graph, sums={**with_graph.sums, "model.onnx": "0" * 64})
    with pytest.raises(BundleError, match=r"model\.onnx: SHA-256 is .* do not use it"):
        make_engine(changed)


def test_a_bundle_with_a_graph_is_served_without_torch(with_graph: Bundle) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import read_bundle
predictor = Predictor(read_bundle(Path(sys.argv[1])))
image_HW = np.arange(1024, dtype=np.uint8).reshape(32, 32)
(found,) = predictor.predict([DecodedImage(image_id="i", image_HW=image_HW)])
print(predictor.engine_name, found.pom, sorted({"torch", "onnx", "torchvision"} & set(sys.modules)))
"""
    run = [sys.executable, "-c", code, str(with_graph.folder)]
    result = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.split(maxsplit=2) == ["onnx", "1.0", "[]\n"]


def test_nothing_is_reported_to_the_maker_of_onnx_runtime(tmp_path: Path) -> None:
    """What is to be reported is first written below the home folder, from the import on."""
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-c", "import wsus.inference.engines.onnx"], env=environment, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []
