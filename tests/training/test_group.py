"""Three processes that train together compute what one does: odd shares, empty ones, class weights, batch normalisation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn

from wsus.nets.cam_net import CamNet, NetConfig
from wsus.training.augment import augment
from wsus.training.batches import LabelledImages
from wsus.training.classifier import Fit
from wsus.training.config import NO_AUGMENTATION, AugmentConfig, TrainConfig
from wsus.training.group import ALONE, Group, find_meeting, join_group, leave_group, open_meeting
from wsus.training.shared_norm import SharedBatchNorm2d

CPU = torch.device("cpu")
SIZE = 3
# SGD, since AdamW divides a gradient by its own size: where it is almost zero, rounding alone turns its direction
PLAIN = TrainConfig(epochs=2, batch_size=8, optimizer="sgd", lr=1e-2, augment=NO_AUGMENTATION)
ALL_OF_IT = replace(PLAIN, augment=AugmentConfig(), class_weights=True, label_smoothing=0.1, ema_decay=0.5)
VGG16 = NetConfig(backbone="vgg16", width=0.125, batch_norm=False)
RUNS = {  # network, training, images and their side; batches of eight are shares of 2, 3 and 3, and of two are 0, 1 and 1
    "plain": (VGG16, PLAIN, 16, 32),
    "weighted-smoothed-augmented-averaged": (VGG16, ALL_OF_IT, 18, 32),
    "batch-norm": (NetConfig(backbone="resnet34", width=0.125), PLAIN, 16, 64),
    "bfloat16": (NetConfig(backbone="resnet34", width=0.125), replace(PLAIN, precision="bfloat16"), 16, 64),
    "dropout": (replace(VGG16, dropout=0.5), PLAIN, 16, 32),
}


def images(count: int, side: int, seed: int) -> LabelledImages:
    """Noise; a third is of class 1 and holds a bright square."""
    images_NHW = np.random.default_rng(seed).integers(1, 120, (count, side, side), dtype=np.uint8)
    labels = [int(number % 3 == 0) for number in range(count)]
    images_NHW[np.array(labels) == 1, 8:18, 8:18] = 250
    return LabelledImages.take(images_NHW, np.arange(count), labels, CPU)


def first_epoch(name: str, group: Group = ALONE) -> dict[str, Any]:
    """Losses and AUC of an epoch, weights, what augmentation would draw next, and a random number of the worker's own."""
    net, config, count, side = RUNS[name]
    torch.manual_seed(0)
    fit = Fit(CamNet(net), images(count, side, 0), images(10, side, 1), config, seed=0, device=CPU, group=group)
    report = fit.run_epoch()
    following = torch.rand(1)
    with group.own_draws(fit._own_seeds, CPU):
        own = float(torch.rand(1))
    weights = {key: value.clone() for key, value in fit.scored_net.state_dict().items()}
    figures = (report.train_loss, report.development_loss, report.development_auc)
    return {"figures": figures, "weights": weights, "following": float(following), "own": own}


def _worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    group = join_group(find_meeting("127.0.0.1", port, SIZE), rank, SIZE, own_host="127.0.0.1", whole_gpu=False)
    torch.save({name: first_epoch(name, group) for name in RUNS}, Path(folder) / f"{rank}.pt")
    leave_group()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of three workers found in every run."""
    folder = tmp_path_factory.mktemp("group")
    meeting = open_meeting("127.0.0.1", SIZE)
    multiprocessing.spawn(_worker, args=(meeting.port, str(folder)), nprocs=SIZE)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(SIZE)]


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], *, statistics: bool = False) -> float:
    """Of the learned weights; or of the statistics of batch normalisation, as a share where they are above 1."""
    assert one.keys() == other.keys()
    names = [name for name in one if ("running_" in name) == statistics]
    scale = {name: other[name].double().abs().clamp_min(1) if statistics else 1.0 for name in names}
    return max((float(((one[name].double() - other[name].double()).abs() / scale[name]).max()) for name in names), default=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*RUNS} - {"dropout", "bfloat16"}))
def test_workers_together_find_what_one_finds(name: str, workers: list[dict[str, Any]]) -> None:
    alone = first_epoch(name)
    for worker in workers:
        assert worker[name]["figures"] == pytest.approx(alone["figures"], abs=1e-5)
        assert largest_difference(worker[name]["weights"], alone["weights"]) < 1e-5
        assert largest_difference(worker[name]["weights"], alone["weights"], statistics=True) < 1e-4
        assert worker[name]["following"] == alone["following"]


@pytest.mark.slow
def test_in_bfloat16_workers_find_what_one_finds_up_to_its_digits(workers: list[dict[str, Any]]) -> None:
    alone = first_epoch("bfloat16")
    for worker in workers:
        assert worker["bfloat16"]["figures"][:2] == pytest.approx(alone["figures"][:2], abs=0.03)
        assert largest_difference(worker["bfloat16"]["weights"], alone["weights"]) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_all_workers_have_the_same_weights_and_figures(name: str, workers: list[dict[str, Any]]) -> None:
    first, *others = (worker[name] for worker in workers)
    for other in others:
        assert other["figures"] == first["figures"]
        assert largest_difference(other["weights"], first["weights"]) == 0
        assert largest_difference(other["weights"], first["weights"], statistics=True) == 0
        assert other["following"] == first["following"]
        assert other["own"] != first["own"]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 8, 33])
def test_shares_hold_every_row_once_and_differ_by_one_at_most(size: int, count: int) -> None:
    shares = [range(count)[Group(rank=rank, size=size).share(count)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("rows", [slice(0, 3), slice(3, 8), slice(8, 8)])
def test_a_part_of_a_batch_is_augmented_as_within_the_whole(rows: slice) -> None:
    images_B1HW = torch.rand(8, 1, 16, 16)
    torch.manual_seed(5)
    whole, following = augment(images_B1HW, AugmentConfig()), torch.rand(1)
    torch.manual_seed(5)
    part = augment(images_B1HW[rows], AugmentConfig(), batch=8, rows=rows)
    assert torch.allclose(part, whole[rows], atol=1e-6)
    assert torch.equal(torch.rand(1), following)


def test_one_worker_needs_no_process_group() -> None:
    norm = nn.Sequential(nn.BatchNorm2d(2))
    ALONE.prepare(norm, CPU)
    assert type(norm[0]) is nn.BatchNorm2d
    assert ALONE.shared(norm) is norm
    assert ALONE.sum(torch.ones(2)).tolist() == [1, 1]
    assert not distributed.is_initialized()


def test_a_shared_norm_keeps_parameters_and_names_and_scores_like_the_other() -> None:
    torch.manual_seed(0)
    norm, x_BCHW = nn.BatchNorm2d(3), torch.randn(4, 3, 5, 5)
    norm(x_BCHW)
    shared = SharedBatchNorm2d.of(norm)
    assert shared.weight is norm.weight
    assert shared.running_mean is norm.running_mean
    assert shared.state_dict().keys() == norm.state_dict().keys()
    assert torch.equal(shared.eval()(x_BCHW), norm.eval()(x_BCHW))
    with pytest.raises(ValueError, match=r"expected images \(B, C, H, W\), got the shape \(4, 3\)"):
        shared(torch.zeros(4, 3))
