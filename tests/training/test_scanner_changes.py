"""What another scanner, or another export, does to an image: each change does that, and no more."""

import torch
from torch.nn import functional

from wsus.training.draws import Draws
from wsus.training.scanner_changes import (
    burn_marks,
    change_contrast,
    change_gain,
    change_resolution,
    cut_window,
    erase_box,
    flatten_marks,
)


def draws(count: int, seed: int = 0) -> Draws:
    torch.manual_seed(seed)
    return Draws(batch=count, rows=slice(None), device=torch.device("cpu"))


def speckle(count: int = 50, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2


def test_window_cuts_borders_alone_and_of_the_chosen_alone() -> None:
    changed = cut_window(speckle(400), 0.5, draws(400))
    assert torch.equal(changed[:, :, 10:-10, 10:-10], speckle(400)[:, :, 10:-10, 10:-10])  # 15 % of 64 is 9.6
    assert 0.4 < float((changed[:, 0, 0] == 0).all(dim=1).float().mean()) < 0.6


def test_marks_are_flattened_and_what_is_wide_stays() -> None:
    images = torch.full((40, 1, 64, 64), 0.3)
    images[:, :, 30, 28:35] = images[:, :, 27:34, 31] = 1.0  # a caliper
    images[:, :, :20, :20] = 0.5  # a bright part of the tissue
    changed = flatten_marks(images, 1.0, draws(40))
    assert float(changed[:, 0, 30, 31].max()) < 0.7
    assert torch.allclose(changed[:, :, :12, :12], images[:, :, :12, :12])


def test_softer_images_vary_less_between_neighbours_and_sharper_ones_more() -> None:
    images = speckle()
    change = [(part.diff(dim=3) ** 2).mean(dim=(1, 2, 3)) for part in (images, change_resolution(images, 0.9, 0.6, draws(50)))]
    share_softer = float((change[1] < change[0]).float().mean())
    assert 0.4 < share_softer < 0.9
    assert (change[1] > change[0]).any()


def test_gain_is_smooth_and_keeps_black() -> None:
    images = torch.full((30, 1, 64, 64), 0.5)
    images[:, :, :8] = 0
    changed = change_gain(images, 0.4, draws(30))
    assert (changed[:, :, :8] == 0).all()
    ratio = (changed / images)[:, :, 8:].log()
    assert float(ratio.diff(dim=3).abs().max()) < 0.15  # from pixel to pixel
    assert float(ratio.abs().max()) > 0.2  # over the image


def test_contrast_moves_the_ends_and_leaves_what_lies_outside_the_picture_black() -> None:
    images = torch.linspace(0.05, 1, 64).expand(100, 1, 64, 64).clone()
    images[:, :, 40:] = 0
    changed = change_contrast(images, 0.1, 0.3, draws(100))
    assert (changed[:, :, 43:] == 0).all()
    assert (changed[:, :, :38].diff(dim=3) >= 0).all()  # an order of greys stays an order
    assert 0.2 < float((changed[:, 0, 0, 55] == 1).float().mean()) < 0.8


def test_marks_lie_anywhere_and_only_brighten() -> None:
    images = torch.full((300, 1, 64, 64), 0.2)
    changed = burn_marks(images, 0.5, draws(300))
    assert (changed >= images).all()
    marked = (changed > images).flatten(1)
    assert 0.3 < float(marked.any(dim=1).float().mean()) < 0.5  # half are chosen; of these some draw no mark
    by_place = marked.float().mean(dim=0).view(64, 64)
    assert float(by_place[:32].mean() / by_place[32:].mean()) > 0.7
    assert float(by_place[:, :32].mean() / by_place[:, 32:].mean()) > 0.7


def test_erased_box_is_one_grey_of_a_fifth_of_the_side_at_most() -> None:
    images = speckle(60)
    changed = erase_box(images, 1.0, draws(60))
    differs = changed != images
    assert (differs.any(dim=3).sum(dim=2) <= 14).all()
    values = [torch.unique(one[mask]) for one, mask in zip(changed, differs, strict=True)]
    assert all(len(found) == 1 for found in values)


def test_part_of_a_batch_is_changed_as_within_the_whole() -> None:
    images = speckle(8)
    for change in (
        lambda x, d: cut_window(x, 0.5, d),
        lambda x, d: change_resolution(x, 0.9, 0.6, d),
        lambda x, d: change_gain(x, 0.4, d),
        lambda x, d: burn_marks(x, 1.0, d),
        lambda x, d: erase_box(x, 1.0, d),
    ):
        whole = change(images, draws(8))
        torch.manual_seed(0)
        part = change(images[2:5], Draws(batch=8, rows=slice(2, 5), device=torch.device("cpu")))
        assert torch.allclose(part, whole[2:5])


def test_resized_grain() -> None:
    """A quarter of the resolution is that of a 4 x 4 mean."""
    images = speckle(2, 16)
    coarse = functional.interpolate(functional.avg_pool2d(images, 4), size=(16, 16), mode="bilinear", align_corners=False)
    found = change_resolution(images.repeat(200, 1, 1, 1), 1.0, 0.0, draws(400))
    spread = float((coarse - coarse.mean()).std())
    assert float((found - found.mean(dim=(2, 3), keepdim=True)).flatten(1).std(dim=1).min()) >= 0.5 * spread
