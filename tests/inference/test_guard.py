"""What lies far from the training images is said to; held against SciPy's Mahalanobis distance and hand-worked textures."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from scipy import stats
from scipy.spatial.distance import mahalanobis

from wsus.data.roi import CropConfig
from wsus.errors import BundleError
from wsus.inference.engines.engine import FLOAT32, EngineOutput
from wsus.inference.guard import Gaussian, Guard, dump_guard, fit_guard, parse_guard, texture_of
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import GUARD, Bundle, ModelCard, read_bundle, write_bundle
from wsus.models.card import GuardNote
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import Mode

SIZE = 32


class Levels:
    """An engine whose features are the mean levels of an image's four quarters."""

    name, tolerance, callers = "levels", FLOAT32, 1

    def infer(self, inputs_BHW: np.ndarray) -> EngineOutput:
        quarters = inputs_BHW.reshape(-1, 2, SIZE // 2, 2, SIZE // 2).mean(axis=(2, 4)).reshape(-1, 4).astype(np.float32)
        return EngineOutput(
            logits_BC=quarters[:, :2], cam_BChw=np.zeros((len(quarters), 2, 1, 1), np.float32), features_BK=quarters
        )


def speckle(count: int, seed: int) -> np.ndarray:
    """Smooth noise brighter at the top, as ultrasound is."""
    rng = np.random.default_rng(seed)
    coarse = rng.gamma(3.0, size=(count, SIZE // 4, SIZE // 4)).repeat(4, axis=1).repeat(4, axis=2)
    images = coarse * np.linspace(1, 0.4, SIZE)[:, None] * rng.uniform(15, 22, (count, 1, 1)) + rng.uniform(
        0, 6, (count, SIZE, SIZE)
    )
    return images.clip(1, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted() -> tuple[Guard, GuardNote]:
    found = fit_guard(Levels(), speckle(200, 0), speckle(400, 1), batch_size=64)
    assert found is not None
    return found


def scores(guard: Guard, images_BHW: np.ndarray) -> np.ndarray:
    return guard.scores(images_BHW, Levels().infer(images_BHW).features_BK)


def test_distance_is_scipys_mahalanobis_where_all_components_are_kept() -> None:
    rng = np.random.default_rng(0)
    values_ND = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)) + 3
    others_BD = rng.normal(size=(7, 5))
    inverse_DD = np.linalg.inv(np.cov(values_ND.T, bias=True))
    expected = [mahalanobis(row, values_ND.mean(axis=0), inverse_DD) / np.sqrt(5) for row in others_BD]
    np.testing.assert_allclose(Gaussian.fit(values_ND).distances(others_BD), expected, rtol=1e-4)


def test_more_variables_than_images_still_give_a_distance() -> None:
    rng = np.random.default_rng(0)
    values_ND = rng.normal(size=(40, 300))
    gaussian = Gaussian.fit(values_ND)
    assert gaussian.components_RD.shape == (10, 300)
    inside, outside = gaussian.distances(rng.normal(size=(1, 300))), gaussian.distances(rng.normal(3, 1, size=(1, 300)))
    assert 0.5 < inside[0] < 2 < outside[0]


def test_variable_that_never_moved_may_move_a_little() -> None:
    values_ND = np.random.default_rng(0).normal(size=(100, 3))
    values_ND[:, 2] = 0
    found = Gaussian.fit(values_ND).distances(np.array([[0, 0, 1e-3], [0, 0, 10.0]]))
    assert found[0] < 1 < 10 < found[1]


def test_hand_worked_texture() -> None:
    stripes_HW = np.zeros((16, 16), dtype=np.uint8)
    stripes_HW[::2] = 200
    median, *steps = texture_of(stripes_HW[None])[0]
    assert median in (0, 1)  # half of the levels are 0, half the maximum
    down, across = np.exp(steps[::2]) - 1e-3, np.exp(steps[1::2]) - 1e-3
    np.testing.assert_allclose(down, [1, 0, 0, 0], atol=1e-6)  # every step down is the whole range, until rows are averaged
    np.testing.assert_allclose(across, 0, atol=1e-6)


def test_texture_does_not_depend_on_brightness_or_on_neighbours_in_the_batch() -> None:
    images_BHW = speckle(3, 5) // 2
    together = texture_of(images_BHW)
    np.testing.assert_allclose(texture_of(images_BHW * 2), together, atol=1e-5)
    np.testing.assert_allclose(texture_of(images_BHW[1:2])[0], together[1], atol=1e-6)


def test_threshold_leaves_one_in_a_hundred_of_the_development_images_outside(fitted: tuple[Guard, GuardNote]) -> None:
    guard, note = fitted
    assert int((scores(guard, speckle(400, 1)) > guard.threshold).sum()) == 4
    assert note == GuardNote(threshold=guard.threshold, share=0.99, training_images=200, development_images=400)
    assert 0 < (scores(guard, speckle(1000, 2)) > guard.threshold).mean() < 0.04


@pytest.mark.parametrize("kind", ["noise", "gradient", "text", "inverted"])
def test_what_is_no_such_image_is_flagged(kind: str, fitted: tuple[Guard, GuardNote]) -> None:
    rng = np.random.default_rng(3)
    made = {
        "noise": rng.integers(0, 256, (20, SIZE, SIZE)).astype(np.uint8),
        "gradient": np.tile(np.linspace(1, 255, SIZE).astype(np.uint8), (20, SIZE, 1)),
        "text": np.where(rng.random((20, SIZE, SIZE)) < 0.1, 0, 255).astype(np.uint8),
        "inverted": 255 - speckle(20, 4),
    }
    assert (scores(fitted[0], made[kind]) > fitted[0].threshold).mean() > 0.9


def test_guard_comes_back_as_written(fitted: tuple[Guard, GuardNote]) -> None:
    guard, _ = fitted
    again = parse_guard(dump_guard(guard), guard.threshold, Path("g"))
    np.testing.assert_array_equal(scores(again, speckle(5, 6)), scores(guard, speckle(5, 6)))


def test_too_few_images_give_no_guard() -> None:
    assert fit_guard(Levels(), speckle(19, 0), speckle(10, 1)) is None
    assert fit_guard(Levels(), speckle(20, 0), speckle(9, 1)) is None
    assert fit_guard(Levels(), speckle(20, 0), speckle(10, 1)) is not None


def test_network_with_other_features_is_refused(fitted: tuple[Guard, GuardNote]) -> None:
    with pytest.raises(BundleError, match="the guard is for 4 features, the network has 3"):
        fitted[0].scores(speckle(1, 0), np.ones((1, 3), np.float32))


def test_damaged_guard_is_refused(fitted: tuple[Guard, GuardNote]) -> None:
    content = dump_guard(fitted[0])
    tensors = load(content)
    for spoilt, message in (
        (b"junk", "not a guard"),
        (save({name: tensor for name, tensor in tensors.items() if name != "usual"}), "not a guard .*usual"),
        (save({**tensors, "texture.scale": np.ones(3, np.float32)}), r"not a guard \(texture has shapes"),
        (save({**tensors, "features.mean": np.full(4, np.nan, np.float32)}), "not finite"),
    ):
        with pytest.raises(BundleError, match=f"g: .*{message}"):
            parse_guard(spoilt, 1.0, Path("g"))


@pytest.fixture(scope="module")
def guarded(fitted: tuple[Guard, GuardNote], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    guard, note = fitted
    net = NetConfig(backbone="vgg16", width=0.125)
    card = ModelCard(name="tiny", net=net, mode=Mode.WEAK, crop=CropConfig(size_px=SIZE), guard=note)
    folder = tmp_path_factory.mktemp("guard") / "bundle"
    write_bundle(folder, card, CamNet(net), more={GUARD: dump_guard(guard)})
    return read_bundle(folder)


def test_predictions_carry_the_score(guarded: Bundle, fitted: tuple[Guard, GuardNote]) -> None:
    class Network(Levels):
        """Real maps of no meaning, so that the path around them can run."""

        def infer(self, inputs_BHW: np.ndarray) -> EngineOutput:
            return (
                super().infer(inputs_BHW)._replace(cam_BChw=np.arange(len(inputs_BHW) * 8, dtype=np.float32).reshape(-1, 2, 2, 2))
            )

    assert guarded.card.guard == fitted[1]
    usual_HW, noise_HW = speckle(1, 2)[0], np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    images = [DecodedImage(image_id=name, image_HW=image_HW) for name, image_HW in (("usual", usual_HW), ("noise", noise_HW))]
    usual, noise = Predictor(guarded, engine=Network()).predict(images)
    assert usual.ood_score == pytest.approx(scores(fitted[0], usual_HW[None])[0])
    assert usual.ood_threshold == fitted[0].threshold
    assert (usual.unlike_training, noise.unlike_training) == (False, True)
    assert replace(usual, ood_score=float("nan")).unlike_training is True


def test_bundle_without_a_guard_says_nothing(tmp_path: Path) -> None:
    net = NetConfig(backbone="vgg16", width=0.125)
    write_bundle(tmp_path / "b", ModelCard(name="tiny", net=net, mode=Mode.WEAK, crop=CropConfig(size_px=SIZE)), CamNet(net))
    (found,) = Predictor(read_bundle(tmp_path / "b")).predict([DecodedImage(image_id="i", image_HW=speckle(1, 0)[0])])
    assert (found.ood_score, found.ood_threshold, found.unlike_training) == (None, None, None)


@pytest.mark.parametrize(
    ("images", "confidence"),
    [(59, 1 - 0.99**59), (299, 1 - 0.99**299 - 299 * 0.01 * 0.99**298 - 299 * 298 / 2 * 0.01**2 * 0.99**297), (1, 0.01)],
)
def test_a_card_says_how_sure_the_threshold_is(images: int, confidence: float) -> None:
    """Of 59 images it is the largest distance; of 299 the third largest but two (hand-worked binomial sums)."""
    note = GuardNote(threshold=1.0, share=0.99, training_images=100, development_images=images)
    assert note.confidence == pytest.approx(confidence, rel=1e-9)
    assert note.confidence == pytest.approx(stats.binom.cdf(math.ceil(0.99 * images) - 1, images, 0.99), rel=1e-9)
