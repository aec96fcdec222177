"""Training learns, repeats exactly, goes on exactly, and says when it cannot."""

import copy
import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from wsus.errors import ConfigError, TrainingDivergedError
from wsus.nets.cam_net import CamNet, NetConfig, scale_to_unit
from wsus.nets.config import AttentionConfig
from wsus.training.batches import LabelledImages
from wsus.training.classifier import Fit, _schedule, score
from wsus.training.config import NO_AUGMENTATION, TrainConfig

CPU = torch.device("cpu")
SHORT = TrainConfig(epochs=4, batch_size=8, lr=1e-3)


def labelled(count: int = 24, seed: int = 0, side: int = 32) -> LabelledImages:
    """Noise; images of class 1 hold a bright square."""
    rng = np.random.default_rng(seed)
    images_NHW = rng.integers(1, 120, (count, side, side), dtype=np.uint8)
    labels = [number % 2 for number in range(count)]
    for number in range(1, count, 2):
        y, x = rng.integers(4, side - 14, 2)
        images_NHW[number, y : y + 10, x : x + 10] = 250
    return LabelledImages.take(images_NHW, np.arange(count), labels, CPU)


def make_fit(config: TrainConfig = SHORT, *, seed: int = 0, **data: Any) -> Fit:
    torch.manual_seed(seed)
    net = CamNet(NetConfig(backbone="vgg16", width=0.125))
    train, development = data.get("train") or labelled(), data.get("development") or labelled(12, seed=1)
    return Fit(net, train, development, config, seed=seed, device=CPU)


def same(a: Any, b: Any) -> bool:
    """Bitwise, through nested dicts and lists."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_one_seed_gives_the_same_weights_and_another_does_not() -> None:
    first, again, other = (make_fit(replace(SHORT, epochs=1), seed=seed) for seed in (3, 3, 4))
    reports = [next(iter(fit)) for fit in (first, again, other)]
    assert same(first.state_dict(), again.state_dict())
    assert reports[0].train_loss == reports[1].train_loss != reports[2].train_loss
    assert not same(first.net.state_dict(), other.net.state_dict())


@pytest.mark.parametrize(
    ("backbone", "width", "expected"), [("resnet34", 0.125, False), ("resnet34", 0.25, True), ("vgg16", 0.125, True)]
)
def test_layers_that_onednn_gets_wrong_are_not_run_channels_last(backbone: str, width: float, expected: bool) -> None:
    """The weight gradient of a strided 1 x 1 convolution of few channels is wrong there, and memory is overwritten."""
    net = CamNet(NetConfig(backbone=backbone, width=width))
    seen: dict[str, bool] = {}
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels > 3:
            layer.register_forward_hook(
                lambda m, x, _, name=name: (
                    seen.update({name: x[0].is_contiguous(memory_format=torch.channels_last)}) if m.training else None
                )
            )

    Fit(net, labelled(5, side=64), labelled(4, seed=1, side=64), SHORT, seed=0, device=CPU).run_epoch()

    assert seen
    assert set(seen.values()) == {expected}


@pytest.mark.parametrize(
    "settings",
    [
        {"ema_decay": 0.9, "schedule": "one_cycle"},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"optimizer": "sgd", "lr": 1e-2}, marks=pytest.mark.slow),
    ],
    ids=["averaged", "adamw", "sgd"],
)
def test_interrupted_run_goes_on_exactly(settings: dict[str, Any]) -> None:
    config = replace(SHORT, **settings)
    whole = make_fit(config)
    reports = list(whole)

    begun = make_fit(config)
    begun.run_epoch()
    begun.run_epoch()
    saved = io.BytesIO()
    torch.save(begun.state_dict(), saved)
    saved.seek(0)
    torch.rand(7)  # whatever else this process draws must not matter
    resumed = make_fit(config, seed=0)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    rest = list(resumed)

    assert [report.epoch for report in rest] == [3, 4]
    for ours, theirs in zip(rest, reports[2:], strict=True):
        assert replace(ours, train_s=0, data_wait_s=0) == replace(theirs, train_s=0, data_wait_s=0)
    assert same(resumed.state_dict(), whole.state_dict())
    assert same(resumed.best_net().state_dict(), whole.best_net().state_dict())


def test_weights_of_the_best_epoch_are_a_copy() -> None:
    """Later epochs must not write into them."""
    fit = make_fit(replace(SHORT, epochs=2))
    fit.run_epoch()
    best = {name: value.clone() for name, value in fit.best_state.items()}
    fit.best_auc = math.inf  # no later epoch is better
    fit.run_epoch()
    assert same(fit.best_state, best)


def test_learns_what_can_be_learned() -> None:
    config = TrainConfig(epochs=8, batch_size=8, lr=2e-3, augment=NO_AUGMENTATION)
    reports = list(make_fit(config, train=labelled(48), development=labelled(40, seed=1)))
    assert reports[-1].best_auc > 0.95
    assert reports[-1].train_loss < 0.75 * reports[0].train_loss


def test_best_net_is_that_of_the_best_epoch() -> None:
    fit = make_fit()
    reports = list(fit)
    best = max(reports, key=lambda report: (report.development_auc, -report.epoch))
    assert (fit.best_epoch, fit.best_auc) == (best.epoch, best.development_auc)
    logits_BC = score(fit.best_net(), fit.development.in_order(slice(None), 5), CPU)
    loss = float(functional.cross_entropy(logits_BC, fit.development.labels_N))
    assert loss == pytest.approx(best.development_loss, rel=1e-5)


def test_kept_weights_may_be_chosen_by_the_mean_of_some_epochs_and_a_restored_run_remembers_them() -> None:
    config = replace(SHORT, epochs=5, smooth_epochs=3)
    fit, resumed = make_fit(config), make_fit(config)
    reports = [fit.run_epoch() for _ in range(2)]
    resumed.load_state_dict(copy.deepcopy(fit.state_dict()))
    rest = list(fit)
    assert [replace(report, train_s=0, data_wait_s=0) for report in resumed] == [
        replace(report, train_s=0, data_wait_s=0) for report in rest
    ]

    aucs = [report.development_auc for report in (*reports, *rest)]
    means = [sum(aucs[max(0, k - 2) : k + 1]) / min(3, k + 1) for k in range(5)]
    assert fit.best_auc == pytest.approx(max(means))
    assert means[fit.best_epoch - 1] == pytest.approx(max(means))


def test_patience_ends_training() -> None:
    fit = make_fit(replace(SHORT, epochs=9, patience=2))
    fit.run_epoch()
    fit.best_auc = math.inf
    assert len(list(fit)) == 2
    assert fit.done
    assert fit.best_epoch == 1


def test_average_follows_its_decay() -> None:
    torch.manual_seed(0)
    fit = make_fit(replace(SHORT, epochs=1, batch_size=12, ema_decay=0.75))  # two steps of twelve images
    seen: list[torch.Tensor] = []
    step = fit._train_step

    def watched(*arguments: Any) -> torch.Tensor:
        loss = step(*arguments)
        seen.append(fit.net.linear.weight.detach().clone())
        return loss

    fit._train_step = watched  # type: ignore[method-assign]
    fit.run_epoch()
    # the average starts at the weights after the first step, then moves by a quarter of the way
    assert len(seen) == 2
    assert torch.allclose(fit.scored_net.linear.weight, 0.75 * seen[0] + 0.25 * seen[1], atol=1e-7)
    assert fit.scored_net is not fit.net


def test_without_average_the_trained_net_is_scored() -> None:
    fit = make_fit()
    assert fit.scored_net is fit.net


def test_learning_rate_too_high_is_said() -> None:
    fit = make_fit(replace(SHORT, optimizer="sgd", lr=1e30, schedule="constant"))
    with pytest.raises(TrainingDivergedError, match=r"lower the learning rate"):
        list(fit)


@pytest.mark.parametrize("name", ["cosine", "one_cycle", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_schedules_stay_in_their_range(name: str, steps: int) -> None:
    shares = [_schedule(name, step, steps) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    assert max(shares) == 1
    if steps == 100 and name != "constant":
        assert shares.index(1.0) == {"cosine": 4, "one_cycle": 29}[name]
        assert shares[-1] < 0.01


def test_steps_take_the_scheduled_rate() -> None:
    fit = make_fit(replace(SHORT, schedule="one_cycle"))
    rates = [report.lr for report in fit]
    # 3 batches an epoch, 12 steps in all; the rate after an epoch is that of steps 2, 5, 8 and 11
    assert rates == pytest.approx([1e-3 * _schedule("one_cycle", step, 12) for step in (2, 5, 8, 11)])


def test_class_weights_are_the_inverse_frequency() -> None:
    data = labelled(8)
    data = LabelledImages(images_NHW=data.images_NHW, labels_N=torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]))
    weights = make_fit(replace(SHORT, class_weights=True), train=data)._class_weights
    assert weights is not None
    assert weights.tolist() == pytest.approx([8 / 12, 8 / 4])  # n / (2 n_c)
    assert make_fit(train=data)._class_weights is None


def test_one_class_alone_is_refused() -> None:
    data = LabelledImages(images_NHW=labelled(4).images_NHW, labels_N=torch.zeros(4, dtype=torch.long))
    with pytest.raises(ConfigError, match=r"both classes; got \[4, 0\] \(benign, malignant\)"):
        make_fit(train=data)


def test_biases_and_normalisation_are_not_decayed() -> None:
    fit = make_fit(replace(SHORT, weight_decay=0.3))
    decayed, others = fit.optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(list(fit.net.parameters()))


def test_batch_of_one_is_left_out() -> None:
    fit = make_fit(train=labelled(17))
    assert [rows.numel() for rows in fit._batches(fit.train.draw_order())] == [8, 8]


def test_contiguous_rows_are_not_copied() -> None:
    images_NHW = np.zeros((6, 4, 4), dtype=np.uint8)
    run = LabelledImages.take(images_NHW, np.arange(2, 5), [0, 1, 0], CPU)
    scattered = LabelledImages.take(images_NHW, np.array([0, 2, 3]), [0, 1, 0], CPU)
    assert np.shares_memory(run.images_NHW.numpy(), images_NHW)
    assert not np.shares_memory(scattered.images_NHW.numpy(), images_NHW)
    assert len(run) == len(scattered) == 3


def test_scores_do_not_depend_on_the_batch_size() -> None:
    torch.manual_seed(0)
    net, data = CamNet(NetConfig(backbone="vgg16", width=0.125)).eval(), labelled(10)
    expected = net(scale_to_unit(data.images_NHW)).logits_BC.detach()
    assert torch.allclose(score(net, data.in_order(slice(None), 3), CPU), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"batch_size": 1}, "batch_size >= 2; got 18 and 1"),
        ({"lr": 0.0}, "lr must be > 0"),
        ({"lr": float("nan")}, "lr must be > 0"),
        ({"weight_decay": -1.0}, "weight_decay >= 0"),
        ({"label_smoothing": 1.0}, r"lie in \[0, 1\)"),
        ({"ema_decay": 1.0}, r"lie in \[0, 1\)"),
        ({"optimizer": "adam"}, "unknown optimizer or schedule: 'adam'"),
        ({"schedule": "step"}, "unknown optimizer or schedule: 'adamw', 'step'"),
        ({"patience": 0}, "patience must be >= 1 or None; got 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


def test_first_epochs_see_smaller_images(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = make_fit(replace(SHORT, epochs=4, small_px=32, small_share=0.5), train=labelled(8, side=64))
    sides: list[int] = []
    fit.net.features.register_forward_pre_hook(lambda m, x: sides.append(x[0].shape[-1]) if m.training else None)
    for _ in fit:
        sides.append(0)
    assert sides == [32, 0, 32, 0, 64, 0, 64, 0]


def test_branch_that_says_where_is_trained_by_its_weight() -> None:
    attention = AttentionConfig(channels=8, gate=4)
    moved = []
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        net = CamNet(NetConfig(backbone="vgg16", width=0.125, pooling="attention", attention=attention))
        before = copy.deepcopy(net.state_dict())
        config = replace(SHORT, epochs=1, auxiliary_weight=weight, weight_decay=0.0)
        Fit(net, labelled(side=64), labelled(12, seed=1, side=64), config, seed=0, device=CPU).run_epoch()
        moved.append(not torch.equal(before["places.to_gate.weight"], net.state_dict()["places.to_gate.weight"]))
    assert moved == [False, True]


def test_attending_run_goes_on_exactly() -> None:
    """What the network itself draws in training follows from the epoch's seed, too."""

    def fresh() -> Fit:
        torch.manual_seed(1)
        net = CamNet(NetConfig(backbone="vgg16", width=0.125, pooling="attention", attention=AttentionConfig(channels=8)))
        return Fit(net, labelled(side=64), labelled(12, seed=1, side=64), replace(SHORT, epochs=2), seed=1, device=CPU)

    whole, first, second = fresh(), fresh(), fresh()
    for fit in (whole, whole, first):
        fit.run_epoch()
    second.load_state_dict(first.state_dict())
    second.run_epoch()
    assert same(whole.state_dict(), second.state_dict())


def test_frozen_layers_keep_weights_and_statistics() -> None:
    fit = make_fit(replace(SHORT, epochs=1, frozen_layers=2))
    before = copy.deepcopy(fit.net.features.state_dict())
    fit.run_epoch()
    after = fit.net.features.state_dict()
    kept = {name.split(".")[0] for name, value in before.items() if torch.equal(value, after[name])}
    moved = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert kept == {"0", "1", "3", "4"}  # two convolutions of VGG16, each with its normalisation
    assert "7" in moved


def test_more_frozen_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="frozen_layers is 40, but the network has 13 convolutions; freeze fewer"):
        make_fit(replace(SHORT, frozen_layers=40))


def test_class_weights_leave_the_targets_of_label_smoothing_where_they_are() -> None:
    """The loss of one class's images is least where their probability is 1 - smoothing / 2, however rare the class is."""
    data = labelled(8)
    data = LabelledImages(images_NHW=data.images_NHW, labels_N=torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]))
    fit = make_fit(replace(SHORT, class_weights=True, label_smoothing=0.1), train=data)
    labels_B = torch.tensor([0, 1, 1])
    sure = math.log(0.95 / 0.05)
    logits_BC = torch.tensor([[sure, 0.0], [0.0, sure], [0.0, sure]], requires_grad=True)

    loss = fit._loss(logits_BC, labels_B, slice(None))
    loss.backward()

    assert logits_BC.grad is not None
    assert logits_BC.grad.abs().max() < 1e-6
    weights = [8 / 12, 8 / 4, 8 / 4]
    entropy = -(0.95 * math.log(0.95) + 0.05 * math.log(0.05))
    assert loss.item() == pytest.approx(entropy * sum(weights) / sum(weights), rel=1e-5)

    flat = fit._loss(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), labels_B, slice(None))
    losses = [math.log(1 + math.exp(-1)) + 0.05, *[math.log(1 + math.exp(-1)) + 0.95] * 2]
    assert float(flat) == pytest.approx(sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights), rel=1e-5)


def test_a_short_first_epoch_is_scored_with_statistics_of_its_own_weights() -> None:
    """What the average of weights carries after three steps is mostly what a network starts with: mean 0 and variance 1."""
    config = TrainConfig(epochs=8, batch_size=8, lr=1e-3, ema_decay=0.9, augment=NO_AUGMENTATION)
    fit = make_fit(config, train=labelled(24))
    fit.run_epoch()
    norm = next(module for module in fit.scored_net.modules() if isinstance(module, nn.BatchNorm2d))
    inputs: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda layer, given: inputs.append(given[0]))
    score(fit.scored_net, fit.train.in_order(slice(None), 24), CPU)
    (maps_BCHW,) = inputs
    assert torch.allclose(norm.running_mean, maps_BCHW.mean(dim=(0, 2, 3)), atol=0.02)  # type: ignore[arg-type]
    assert torch.allclose(norm.running_var, maps_BCHW.var(dim=(0, 2, 3)), rtol=0.1, atol=1e-3)  # type: ignore[arg-type]
