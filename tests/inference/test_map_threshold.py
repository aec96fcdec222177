"""The threshold that development masks choose."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsus.data.roi import CropConfig
from wsus.evaluation.box_accuracy import CAM_THRESHOLDS
from wsus.inference.engines.engine import FLOAT32, EngineOutput
from wsus.inference.map_threshold import best_map_threshold
from wsus.inference.predict import Predictor
from wsus.models.bundle import ModelCard, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import ImageRecord, Mode, Split

NET = NetConfig(backbone="vgg16", width=0.125)


class ImageAsMap:
    """An engine whose map is the image itself."""

    name, tolerance, callers = "image", FLOAT32, 1

    def infer(self, inputs_BHW: np.ndarray) -> EngineOutput:
        cam_BChw = np.stack([inputs_BHW, inputs_BHW], axis=1).astype(np.float32)
        return EngineOutput(
            logits_BC=cam_BChw.mean(axis=(2, 3)), cam_BChw=cam_BChw, features_BK=np.zeros((len(inputs_BHW), 1), np.float32)
        )


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    write_bundle(tmp_path / "b", ModelCard(name="m", net=NET, mode=Mode.WEAK, crop=CropConfig(size_px=64)), CamNet(NET))
    return Predictor(read_bundle(tmp_path / "b"), engine=ImageAsMap())


def record(folder: Path, *, with_mask: bool = True) -> ImageRecord:
    """A bright lesion of 200 in a halo of 100: a cut at up to 0.5 takes the halo too, one above it the lesion alone."""
    image_HW = np.zeros((64, 64), dtype=np.uint8)
    image_HW[8:56, 8:56], image_HW[24:40, 24:40] = 100, 200
    Image.fromarray(image_HW).save(folder / "i.png")
    Image.fromarray(((image_HW == 200) * 255).astype(np.uint8)).save(folder / "m.png")
    masks = (folder / "m.png",) if with_mask else ()
    return ImageRecord(image_id="i", patient_id="p", path=folder / "i.png", label=1, split=Split.DEVELOPMENT, mask_paths=masks)


def test_hand_worked(predictor: Predictor, tmp_path: Path) -> None:
    chosen = best_map_threshold(predictor, [record(tmp_path)])
    assert chosen is not None
    assert chosen.threshold == CAM_THRESHOLDS[CAM_THRESHOLDS.index(0.5) + 1]  # the lowest that leaves the halo out
    assert (chosen.share, chosen.images) == (1.0, 1)


def test_without_masks_nothing_is_chosen(predictor: Predictor, tmp_path: Path) -> None:
    assert best_map_threshold(predictor, [record(tmp_path, with_mask=False)]) is None
