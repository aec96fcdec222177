"""Scores and maps in one pass: what Zhou et al. define, and what torch-cam computes from the same weights."""

import pytest
import torch
from torch import nn
from torchcam.methods import CAM

from wsus.errors import ConfigError
from wsus.nets.cam_net import CamNet, NetConfig, scale_to_unit
from wsus.nets.config import Head

TINY = {"width": 0.125}


def tiny_net(backbone: str = "googlenet", seed: int = 0, **settings: object) -> CamNet:
    torch.manual_seed(seed)
    net = CamNet(NetConfig(backbone=backbone, **{**TINY, **settings}))  # type: ignore[arg-type]
    nn.init.normal_(net.linear.weight)
    return net.eval()


class StockClassifier(nn.Module):
    """The same weights as a CamNet, put together as torch-cam expects: maps, global pooling, a linear layer."""

    def __init__(self, net: CamNet) -> None:
        super().__init__()
        self.normalise = lambda x: (x.expand(-1, 3, -1, -1) - net.mean_1311) / net.std_1311
        self.maps = nn.Sequential(net.features, net.to_class_maps)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(net.linear.in_channels, net.linear.out_channels, bias=False)
        self.fc.weight.data = net.linear.weight.data.flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(self.pool(self.maps(self.normalise(x))).flatten(1))
        return scores


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference as a share of the largest value: untrained networks have maps of any scale."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("head", ["cam", "class_maps"])
@pytest.mark.parametrize("stride", [16, 32])
@pytest.mark.parametrize("backbone", ["vgg16", "resnet34", "googlenet"])
def test_map_equals_torchcams(backbone: str, stride: int, head: Head) -> None:
    net = tiny_net(backbone, head=head, stride=stride)
    stock = StockClassifier(net).eval()
    x = torch.rand(2, 1, 64, 96)

    with torch.inference_mode():
        output = net(x)
        with CAM(stock, "maps", "fc") as extractor:
            scores = stock(x)
            for label in (0, 1):
                theirs = extractor(class_idx=label, normalized=False)[0]
                assert relative_error(output.cam_BChw[:, label], theirs) < 1e-5
    assert relative_error(output.logits_BC, scores) < 1e-5


@pytest.mark.parametrize("head", ["cam", "class_maps"])
def test_class_score_is_the_mean_of_its_map(head: Head) -> None:
    with torch.inference_mode():
        output = tiny_net(head=head, stride=16)(torch.rand(3, 1, 64, 64))
    assert output.cam_BChw.shape == (3, 2, 4, 4)
    assert torch.allclose(output.logits_BC, output.cam_BChw.mean(dim=(2, 3)), atol=1e-6)


def test_hand_worked_maps() -> None:
    """Two feature maps f_1, f_2 and weights w: M_c = sum_k w_kc f_k, and S_c is its mean."""
    net = tiny_net()
    f_1, f_2 = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])

    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([f_1, f_2]).unsqueeze(0)

    net.features = Fixed()
    net.linear = nn.Conv2d(2, 2, 1, bias=False)
    net.linear.weight.data = torch.tensor([[1.0, 0.0], [2.0, -1.0]]).view(2, 2, 1, 1)

    output = net(torch.rand(1, 1, 32, 32))

    assert output.cam_BChw[0, 0].tolist() == [[1, 2], [3, 4]]
    assert output.cam_BChw[0, 1].tolist() == [[2, 3], [6, 7]]
    assert output.logits_BC.tolist() == [[2.5, 4.5]]


def test_class_maps_head_makes_one_map_per_class() -> None:
    net = tiny_net(head="class_maps")
    assert isinstance(net.to_class_maps, nn.Conv2d)
    assert (net.to_class_maps.in_channels, net.to_class_maps.out_channels) == (128, 2)
    assert net.linear.in_channels == 2


def test_width_reaches_the_linear_layer() -> None:
    assert tiny_net(width=0.125).linear.in_channels == 128
    assert tiny_net(width=0.25).linear.in_channels == 256


def test_image_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    net, x = tiny_net(), torch.rand(4, 1, 64, 64)
    with torch.inference_mode():
        together = net(x).logits_BC
        alone = torch.cat([net(x[i : i + 1]).logits_BC for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_same_seed_same_first_weights() -> None:
    nets = [tiny_net(seed=seed) for seed in (1, 1, 2)]
    first, again, other = (net.features.state_dict()["conv1.conv.weight"] for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_making_a_net_leaves_no_trace_in_its_statistics() -> None:
    """Its maps are counted on a black image, which must not enter the running means of batch normalisation."""
    net = CamNet(NetConfig(backbone="googlenet", width=0.125))
    assert net.training
    assert int(net.features.state_dict()["conv1.bn.num_batches_tracked"]) == 0
    assert not net.features.state_dict()["conv1.bn.running_mean"].any()


def test_dropout_leaves_out_whole_maps_in_training_alone() -> None:
    net, x = tiny_net(dropout=0.5), torch.rand(1, 1, 64, 64)
    assert torch.equal(net(x).logits_BC, net(x).logits_BC)
    net.dropout.train()
    assert not torch.equal(net(x).logits_BC, net(x).logits_BC)


def test_images_are_divided_by_their_own_maximum() -> None:
    images = torch.zeros(3, 2, 2, dtype=torch.uint8)
    images[0, 0, 0], images[0, 1, 1], images[1] = 100, 50, 255
    scaled = scale_to_unit(images)
    assert scaled[0, 0].tolist() == [[1.0, 0.0], [0.0, 0.5]]
    assert (scaled[1] == 1).all()
    assert (scaled[2] == 0).all()  # black stays black; no NaN


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "gap"}, "'cam' or 'class_maps'; got 'gap'"),
        ({"stride": 8}, "16 or 32; got 8"),
        ({"width": 0.0}, r"\(0, 1\]; got 0\.0"),
        ({"width": 2.0}, r"\(0, 1\]; got 2\.0"),
        ({"dropout": 1.0}, r"\[0, 1\); got 1\.0"),
    ],
)
def test_impossible_architectures_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NetConfig(backbone="resnet34", **settings)  # type: ignore[arg-type]
