"""Each change of a training image does what its setting says, and stays inside what it says."""

from dataclasses import fields, replace

import pytest
import torch

from wsus.errors import ConfigError
from wsus.training.augment import augment
from wsus.training.config import NO_AUGMENTATION, AugmentConfig


def batch(count: int = 64, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_nothing_turned_on_changes_nothing() -> None:
    images = batch()
    assert torch.equal(augment(images, NO_AUGMENTATION), images)


def test_same_seed_same_images() -> None:
    images = batch()
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augment(images, AugmentConfig()))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("name", [field.name for field in fields(AugmentConfig)])
def test_each_change_alone_changes_images_and_keeps_their_range(name: str) -> None:
    torch.manual_seed(0)
    images = batch()
    changed = augment(images, replace(NO_AUGMENTATION, **{name: 1.0}))
    assert changed.shape == images.shape
    assert not torch.allclose(changed, images)
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1


def test_images_of_a_batch_are_changed_differently() -> None:
    torch.manual_seed(0)
    images = batch(1).repeat(16, 1, 1, 1)
    changed = augment(images, AugmentConfig()).flatten(1)
    assert len({tuple(row.tolist()) for row in changed}) == 16


def test_flip_is_left_right_alone() -> None:
    torch.manual_seed(0)
    images = batch()
    assert torch.allclose(augment(images, replace(NO_AUGMENTATION, flip=1.0)), images.flip(-1), atol=1e-5)


def test_half_of_the_images_are_flipped() -> None:
    torch.manual_seed(0)
    images = batch(400, 4)
    changed = augment(images, replace(NO_AUGMENTATION, flip=0.5))
    flipped = sum(torch.allclose(c, i.flip(-1), atol=1e-5) for c, i in zip(changed, images, strict=True))
    kept = sum(torch.allclose(c, i, atol=1e-5) for c, i in zip(changed, images, strict=True))
    assert flipped + kept == 400
    assert 160 <= flipped <= 240  # four standard deviations around a half


def test_attenuation_darkens_one_end_by_its_share_at_most() -> None:
    torch.manual_seed(0)
    images = torch.ones(200, 1, 16, 16)
    changed = augment(images, replace(NO_AUGMENTATION, attenuation=0.3))
    top, bottom = changed[:, 0, 0, 0], changed[:, 0, -1, 0]
    assert torch.allclose(torch.maximum(top, bottom), torch.ones(200))
    assert 0.7 <= float(torch.minimum(top, bottom).min()) < 0.75


def test_gamma_keeps_black_and_white_and_stays_between_its_bounds() -> None:
    torch.manual_seed(0)
    images = torch.full((200, 1, 2, 2), 0.5)
    images[:, :, 0, 0], images[:, :, 0, 1] = 0.0, 1.0
    changed = augment(images, replace(NO_AUGMENTATION, gamma=0.4))
    assert float(changed[:, :, 0, 0].max()) < 2e-3
    assert torch.equal(changed[:, :, 0, 1], images[:, :, 0, 1])
    middle = changed[:, :, 1, 1]
    assert 0.5**1.4 - 1e-6 <= float(middle.min()) < float(middle.max()) <= 0.5 ** (1 / 1.4) + 1e-6


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_share_outside_its_range_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"augmentation zoom must lie in \[0, 1\]"):
        AugmentConfig(zoom=value)
