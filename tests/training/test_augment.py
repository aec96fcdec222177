"""Each change of a training image does what its setting says, and stays inside what it says."""

from dataclasses import fields, replace

import pytest
import torch

from wsus.errors import ConfigError
from wsus.training.augment import augment, augment_with_masks
from wsus.training.config import NO_AUGMENTATION, AugmentConfig


def batch(count: int = 64, side: int = 32, seed: int = 0) -> torch.Tensor:
    """Images whose maximum is 1, as those that a network is given."""
    images = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))
    return images / images.amax(dim=(2, 3), keepdim=True)


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


def test_every_changed_image_has_a_maximum_of_one_as_at_inference() -> None:
    torch.manual_seed(0)
    changed = augment(batch(), AugmentConfig())
    assert torch.equal(changed.amax(dim=(1, 2, 3)), torch.ones(64))
    black = augment(torch.zeros(2, 1, 8, 8), AugmentConfig())
    assert torch.isfinite(black).all()
    assert float(black.max()) < 0.1


def test_masks_move_with_their_images_and_keep_their_grey() -> None:
    """A mask that is its image's bright part stays so, whatever moves; nothing that changes grey levels touches it."""
    images = torch.zeros(32, 1, 48, 48)
    images[:, :, 14:30, 20:34] = 1.0
    moves = AugmentConfig(gamma=0.4, attenuation=0.3, speckle=0, blur=0, turn=0.3)

    torch.manual_seed(3)
    changed, masks = augment_with_masks(images, images[:, 0], moves)

    torch.manual_seed(3)
    assert torch.equal(changed, augment(images, moves))
    assert not torch.equal(masks, images[:, 0])
    inside = masks > 0.99
    assert (inside.sum(dim=(1, 2)) > 50).all()
    assert torch.equal(masks[inside], masks[inside].clamp(0.99, 1.01))
    assert (changed[:, 0][inside] > 0.3).all()
    assert (changed[:, 0][masks < 1e-3] < 0.01).all()


def test_without_changes_masks_stay() -> None:
    images = batch(4)
    assert all(map(torch.equal, augment_with_masks(images, images[:, 0], NO_AUGMENTATION), (images, images[:, 0])))
