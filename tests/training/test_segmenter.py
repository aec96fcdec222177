"""The U-Net finds discs, and its masks become boxes in the original's pixels."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsus.data.roi import CropConfig, CropGeometry, whole_image
from wsus.errors import ConfigError, TrainingDivergedError
from wsus.nets.unet import UNetConfig
from wsus.training.segmenter import SegmenterConfig, box_in_source, find_boxes, predict_masks, train_segmenter

CPU = torch.device("cpu")
CONFIG = SegmenterConfig(net=UNetConfig(base_channels=4, depth=2), crop=CropConfig(size_px=32), epochs=20, batch_size=8, lr=2e-2)


def discs(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bright discs on speckle, shape (N, 32, 32), and their masks."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:32, :32]
    masks = np.stack([np.hypot(rows - y, columns - x) < r for y, x, r in rng.uniform((9, 9, 4), (23, 23, 8), (count, 3))])
    return (rng.uniform(20, 90, masks.shape) + 120 * masks).astype(np.uint8), masks.astype(np.uint8)


@pytest.mark.slow
def test_discs_are_found_in_images_it_did_not_see() -> None:
    images_NHW, masks_NHW = discs(24, seed=0)
    net = train_segmenter(images_NHW, masks_NHW, CONFIG, seed=0, device=CPU)
    unseen_NHW, expected_NHW = discs(8, seed=1)

    found_NHW = predict_masks(net, unseen_NHW, device=CPU, batch_size=3)

    dice = 2 * (found_NHW & (expected_NHW > 0)).sum() / (found_NHW.sum() + expected_NHW.sum())
    assert dice > 0.85
    boxes = find_boxes(net, unseen_NHW, [whole_image((64, 64), CONFIG.crop)] * 8, CONFIG, device=CPU)
    for box, mask_HW in zip(boxes, expected_NHW, strict=True):
        assert box is not None
        centre = 2 * np.argwhere(mask_HW).mean(axis=0) + 1  # the original is twice as large
        assert abs((box[1] + box[3]) / 2 - centre[0]) < 6
        assert abs((box[0] + box[2]) / 2 - centre[1]) < 6


def test_one_seed_gives_the_same_unet() -> None:
    config = SegmenterConfig(net=CONFIG.net, crop=CONFIG.crop, epochs=1, batch_size=8)
    states = [train_segmenter(*discs(8, seed=0), config, seed=seed, device=CPU).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not torch.equal(states[0]["to_logit.weight"], states[2]["to_logit.weight"])


def test_learning_rate_too_high_is_said() -> None:
    config = SegmenterConfig(net=CONFIG.net, crop=CONFIG.crop, epochs=3, batch_size=8, lr=1e30)
    with pytest.raises(TrainingDivergedError, match=r"U-Net's loss in epoch \d is .*; lower its learning rate"):
        train_segmenter(*discs(16, seed=0), config, seed=0, device=CPU)


def test_hand_worked_box_in_the_originals_pixels() -> None:
    # input of 32 px over the square (0, -10, 80, 70) of an image of 60 x 80: 2.5 px per input pixel
    geometry = CropGeometry(source_hw=(60, 80), box_xyxy_px=(0, -10, 80, 70), size_px=32)
    mask_HW = np.zeros((32, 32), dtype=bool)
    mask_HW[8:12, 5:11] = True  # x: 12.5 to 27.5; y: -10 + 20 = 10 to 20
    mask_HW[30, 30] = True  # a speck beside it
    assert box_in_source(mask_HW, geometry, 0.002) == (12, 10, 28, 20)


def test_box_is_cut_at_the_border_of_the_image() -> None:
    geometry = CropGeometry(source_hw=(60, 80), box_xyxy_px=(0, -10, 80, 70), size_px=32)
    assert box_in_source(np.ones((32, 32), dtype=bool), geometry, 0.002) == (0, 0, 80, 60)


def test_what_lies_in_the_padding_alone_is_no_lesion() -> None:
    geometry = CropGeometry(source_hw=(60, 80), box_xyxy_px=(0, -10, 80, 70), size_px=32)
    mask_HW = np.zeros((32, 32), dtype=bool)
    mask_HW[0:4, 4:20] = True  # y from -10 to 0
    assert box_in_source(mask_HW, geometry, 0.002) is None


def test_specks_and_nothing_are_no_lesion() -> None:
    geometry = whole_image((64, 64), CONFIG.crop)
    mask_HW = np.zeros((32, 32), dtype=bool)
    assert box_in_source(mask_HW, geometry, 0.002) is None
    mask_HW[4, 4] = True
    assert box_in_source(mask_HW, geometry, 0.002) is None  # 1 of 1024 px is less than 0.2 %
    mask_HW[4:6, 4:6] = True
    assert box_in_source(mask_HW, geometry, 0.002) == (8, 8, 12, 12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": CropConfig(size_px=100)}, "depth 4 needs sides that are multiples of 16"),
        ({"epochs": 0}, "epochs >= 1, batch_size >= 2 and lr > 0"),
        ({"batch_size": 1}, "epochs >= 1, batch_size >= 2 and lr > 0"),
        ({"lr": 0.0}, "epochs >= 1, batch_size >= 2 and lr > 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SegmenterConfig(**settings)  # type: ignore[arg-type]
