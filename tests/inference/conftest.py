"""One tiny model for the tests of engines and self-tests."""

from pathlib import Path

import pytest
import torch

from wsus.data.roi import CropConfig
from wsus.models.bundle import Bundle, ModelCard, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import Mode

NET = NetConfig(backbone="vgg16", width=0.125, stride=16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An untrained weak network, read back from its folder."""
    torch.manual_seed(0)
    net = CamNet(NET)
    torch.nn.init.normal_(net.linear.weight)
    folder: Path = tmp_path_factory.mktemp("tiny") / "bundle"
    write_bundle(folder, ModelCard(name="tiny", net=NET, mode=Mode.WEAK, crop=CropConfig(size_px=64)), net)
    return read_bundle(folder)
