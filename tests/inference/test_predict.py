"""The one inference path, in each supervision mode."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsus.data import roi
from wsus.data.roi import CropConfig
from wsus.errors import ImageError, MaskError
from wsus.inference.engines.engine import EngineOutput
from wsus.inference.localise import cam_in_source, localise
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import Bundle, ModelCard, extend_bundle, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig, scale_to_unit
from wsus.nets.config import MapConfig
from wsus.nets.unet import UNet, UNetConfig
from wsus.training.segmenter import SegmenterConfig
from wsus.types import Mode

NET = NetConfig(backbone="vgg16", width=0.125, stride=16)
CROP = CropConfig(size_px=64, margin_px=4)
MakeBundle = Callable[..., Bundle]
SEGMENTER = SegmenterConfig(net=UNetConfig(base_channels=2, depth=2), crop=CropConfig(size_px=32))


@pytest.fixture
def bundle(tmp_path: Path) -> MakeBundle:
    """A tiny untrained model; its U-Net gives every pixel the same logit."""

    def make(mode: Mode = Mode.WEAK, unet_says: float = -1.0) -> Bundle:
        torch.manual_seed(0)
        net, unet = CamNet(NET), UNet(SEGMENTER.net)
        torch.nn.init.normal_(net.linear.weight)
        torch.nn.init.zeros_(unet.to_logit.weight)
        torch.nn.init.constant_(unet.to_logit.bias, unet_says)  # type: ignore[arg-type]
        auto = mode is Mode.AUTO_ROI
        card = ModelCard(name="tiny", net=NET, mode=mode, crop=CROP, segmenter=SEGMENTER if auto else None)
        folder = tmp_path / f"{mode}{unet_says:+g}"
        if not folder.exists():
            write_bundle(folder, card, net, unet if auto else None)
        return read_bundle(folder)

    return make


def images(count: int = 5, seed: int = 0) -> list[DecodedImage]:
    """Images of different sizes with a mask each."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        shape = (40 + 3 * number, 70 - 5 * number)
        mask_HW = np.zeros(shape, dtype=bool)
        mask_HW[10:20, 12:30] = True
        pixels_HW = rng.integers(1, 256, shape, dtype=np.uint8)
        made.append(DecodedImage(image_id=f"i{number}", image_HW=pixels_HW, mask_HW=mask_HW))
    return made


def test_weak_prediction_is_what_the_parts_say(bundle: MakeBundle) -> None:
    model, (image, *_) = bundle(), images()
    (found,) = Predictor(model).predict([image])

    geometry = roi.whole_image((40, 70), CROP)
    with torch.inference_mode():
        output = model.net(scale_to_unit(torch.from_numpy(roi.extract(image.image_HW, geometry).copy())[None]))
    pom = float(torch.softmax(output.logits_BC.double(), 1)[0, 1])
    label = int(pom >= 0.5)
    expected_HW = cam_in_source(output.cam_BChw[0, label].numpy(), geometry)
    assert found.image_id == "i0"
    assert found.pom == pytest.approx(pom, abs=1e-6)
    assert (found.label, found.explained_class, found.operating_point) == (label, label, 0.5)
    assert found.cam_HW.shape == (40, 70)
    assert np.allclose(found.cam_HW, expected_HW, atol=1e-4)
    assert found.localisation.boxes_xyxy_px == localise(found.cam_HW, 0.3).boxes_xyxy_px
    assert found.crop_xyxy_px == (0, -15, 70, 55)
    assert found.model_id == f"tiny@{model.digest[:12]}"
    assert not found.fallback_crop


@pytest.mark.parametrize("mode", list(Mode))
def test_batches_do_not_change_what_is_predicted(mode: Mode, bundle: MakeBundle) -> None:
    model = bundle(mode, unet_says=1.0)
    together = Predictor(model, batch_size=2).predict(images())
    alone = [Predictor(model).predict([image])[0] for image in images()]
    assert [found.image_id for found in together] == [f"i{number}" for number in range(5)]
    for one, other in zip(together, alone, strict=True):
        assert one.pom == pytest.approx(other.pom, abs=1e-5)
        assert one.crop_xyxy_px == other.crop_xyxy_px
        assert np.allclose(one.cam_HW, other.cam_HW, atol=1e-3)


def test_manual_mode_looks_at_the_drawn_region(bundle: MakeBundle) -> None:
    (found,) = Predictor(bundle(Mode.MANUAL_ROI)).predict(images(1))
    # a mask of 18 x 10 px at (12, 10) and a margin of 4: side 26; x from 8, y from 15 - 13
    assert found.crop_xyxy_px == (8, 2, 34, 28)
    outside = np.ones((40, 70), dtype=bool)
    outside[2:28, 8:34] = False
    assert not found.cam_HW[outside].any()
    assert found.cam_HW.max() == 1


def test_manual_mode_without_a_mask_is_refused(bundle: MakeBundle) -> None:
    image = DecodedImage(image_id="upload", image_HW=images(1)[0].image_HW)
    with pytest.raises(MaskError, match="upload: this model was trained on drawn regions and needs a mask"):
        Predictor(bundle(Mode.MANUAL_ROI)).predict([image])


def test_manual_mode_with_an_empty_mask_is_refused(bundle: MakeBundle) -> None:
    image = DecodedImage(image_id="i", image_HW=images(1)[0].image_HW, mask_HW=np.zeros((40, 70), dtype=bool))
    with pytest.raises(MaskError, match="i: the mask is empty"):
        Predictor(bundle(Mode.MANUAL_ROI)).predict([image])


def test_automatic_mode_uses_what_the_unet_found(bundle: MakeBundle) -> None:
    (found,) = Predictor(bundle(Mode.AUTO_ROI, unet_says=1.0)).predict(images(1))
    assert not found.fallback_crop
    assert found.crop_xyxy_px == roi.around_box((40, 70), (0, 0, 70, 40), CROP).box_xyxy_px


def test_automatic_mode_falls_back_to_the_whole_image_and_says_so(bundle: MakeBundle) -> None:
    (found,) = Predictor(bundle(Mode.AUTO_ROI, unet_says=-1.0)).predict(images(1))
    assert found.fallback_crop
    assert found.crop_xyxy_px == roi.whole_image((40, 70), CROP).box_xyxy_px


def test_black_region_is_refused(bundle: MakeBundle) -> None:
    pixels_HW = np.zeros((64, 64), dtype=np.uint8)
    pixels_HW[50:, 50:] = 200
    mask_HW = np.zeros((64, 64), dtype=bool)
    mask_HW[10:20, 10:20] = True
    image = DecodedImage(image_id="i9", image_HW=pixels_HW, mask_HW=mask_HW)
    with pytest.raises(ImageError, match="i9: the part that the network would see is all black"):
        Predictor(bundle(Mode.MANUAL_ROI)).predict([image])
    assert 0 <= Predictor(bundle()).predict([image])[0].pom <= 1


def test_operating_point_decides_the_class_and_the_class_its_map(bundle: MakeBundle) -> None:
    (image,) = images(1)
    low = Predictor(bundle(), operating_point=1e-6).predict([image])[0]
    high = Predictor(bundle(), operating_point=1 - 1e-6).predict([image])[0]
    assert low.pom == high.pom
    assert (low.label, low.explained_class) == (1, 1)
    assert (high.label, high.explained_class) == (0, 0)
    assert not np.allclose(low.cam_HW, high.cam_HW)


def test_malignant_map_on_request(bundle: MakeBundle) -> None:
    (image,) = images(1)
    predictor = Predictor(bundle(), operating_point=1 - 1e-6)
    asked = predictor.predict([image], explain="malignant")[0]
    assert (asked.label, asked.explained_class) == (0, 1)
    assert np.allclose(asked.cam_HW, Predictor(bundle(), operating_point=1e-6).predict([image])[0].cam_HW)


def test_higher_threshold_makes_a_smaller_focus(bundle: MakeBundle) -> None:
    (image,) = images(1)
    areas = [Predictor(bundle(), cam_threshold=t).predict([image])[0].localisation.area_fraction for t in (0.2, 0.5, 0.8)]
    assert areas[0] > areas[1] > areas[2] > 0


def test_brightness_of_the_scanner_does_not_matter(bundle: MakeBundle) -> None:
    pixels_HW = np.random.default_rng(0).integers(0, 100, (64, 64), dtype=np.uint8)
    dark, bright = Predictor(bundle()).predict(
        [DecodedImage(image_id="d", image_HW=pixels_HW), DecodedImage(image_id="b", image_HW=2 * pixels_HW)]
    )
    assert dark.pom == pytest.approx(bright.pom, abs=1e-6)


def test_no_images_no_predictions(bundle: MakeBundle) -> None:
    assert Predictor(bundle()).predict([]) == []


def test_each_image_may_be_explained_by_a_class_of_its_own(bundle: MakeBundle) -> None:
    predictor, three = Predictor(bundle(), batch_size=2), images(3)
    mixed = predictor.predict(three, ["malignant", "predicted", "malignant"])
    assert [one.explained_class for one in mixed] == [1, mixed[1].label, 1]
    malignant = predictor.predict(three, "malignant")
    np.testing.assert_array_equal(mixed[2].cam_HW, malignant[2].cam_HW)
    with pytest.raises(ValueError, match="got 1 for 3 images"):
        predictor.predict(three, ["malignant"])


def test_mirrored_reading_is_the_mean_of_both_and_symmetric(bundle: MakeBundle, tmp_path: Path) -> None:
    plain = bundle()
    extend_bundle(plain, tmp_path / "mirrored", replace(plain.card, map=MapConfig(mirror=True)))
    predictor = Predictor(read_bundle(tmp_path / "mirrored"), engine="torch")
    pixels_HW = np.random.default_rng(3).integers(1, 256, (64, 64), dtype=np.uint8)
    image, flipped = (
        DecodedImage(image_id=name, image_HW=one) for name, one in (("a", pixels_HW), ("b", pixels_HW[:, ::-1].copy()))
    )

    (there, back) = predictor.predict([image, flipped], "malignant")
    logits = [Predictor(plain, engine="torch").engine.infer(one.image_HW[None]).logits_BC[0] for one in (image, flipped)]

    assert there.pom == pytest.approx(back.pom, abs=1e-6)
    assert np.allclose(there.cam_HW, back.cam_HW[:, ::-1], atol=1e-4)
    mean = (logits[0] + logits[1]) / 2
    assert there.pom == pytest.approx(1 / (1 + np.exp(mean[0] - mean[1])), abs=1e-6)


def test_a_network_that_gives_no_number_is_said_of_its_image(bundle: MakeBundle) -> None:
    predictor = Predictor(bundle(), engine="torch")
    right = predictor.engine.infer

    class Broken:
        name, tolerance, callers = "torch", predictor.engine.tolerance, 1

        def infer(self, inputs_BHW: NDArray[np.uint8]) -> EngineOutput:
            output = right(inputs_BHW)
            logits_BC = output.logits_BC.copy()
            logits_BC[1:, 0] = np.nan
            return output._replace(logits_BC=logits_BC)

    predictor.engine = Broken()
    images = [DecodedImage(image_id=name, image_HW=np.full((40, 40), 9, np.uint8)) for name in ("first", "second")]
    with pytest.raises(ImageError, match="second: the network gives no number"):
        predictor.predict(images)
    assert 0 <= predictor.predict(images[:1])[0].pom <= 1
