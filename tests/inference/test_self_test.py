"""A replica answers its bundle's own images before it answers others, and a bundle with other answers is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from wsus.errors import BundleError
from wsus.inference.engines.torch import TorchEngine
from wsus.inference.expected import ExpectedAnswers, dump_expected, parse_expected
from wsus.inference.predict import Predictor
from wsus.inference.self_test import ask, made_images, self_test
from wsus.models.bundle import SELF_TEST, Bundle, extend_bundle, read_bundle

IMAGES = tuple(np.random.default_rng(seed).integers(0, 256, (40, 50 + seed), dtype=np.uint8) for seed in range(2))


@pytest.fixture(scope="module")
def answers(bundle: Bundle) -> ExpectedAnswers:
    return ask(Predictor(bundle), IMAGES)


def predictor_of(bundle: Bundle, folder: Path, expected: ExpectedAnswers) -> Predictor:
    extend_bundle(bundle, folder, bundle.card, {SELF_TEST: dump_expected(expected)})
    return Predictor(read_bundle(folder))


def test_same_answers_pass(bundle: Bundle, answers: ExpectedAnswers, tmp_path: Path) -> None:
    difference = self_test(predictor_of(bundle, tmp_path / "b", answers))
    assert difference is not None
    assert difference < 1e-6


def test_pom_that_differs_is_refused(bundle: Bundle, answers: ExpectedAnswers, tmp_path: Path) -> None:
    near, far = (replace(answers, poms=(answers.poms[0], answers.poms[1] + shift)) for shift in (9e-5, 1.1e-4))
    assert self_test(predictor_of(bundle, tmp_path / "near", near)) == pytest.approx(9e-5, abs=1e-6)
    with pytest.raises(
        BundleError, match=r"tiny@.*self-test fails: with engine torch a POM differs by 0\.00011.*allowed 0\.0001"
    ):
        self_test(predictor_of(bundle, tmp_path / "far", far))


def test_map_that_differs_is_refused(bundle: Bundle, answers: ExpectedAnswers, tmp_path: Path) -> None:
    turned = replace(answers, cams=(answers.cams[0], np.ascontiguousarray(answers.cams[1][::-1])))
    with pytest.raises(BundleError, match="a class activation map differs by"):
        self_test(predictor_of(bundle, tmp_path / "b", turned))


def test_pom_that_is_no_number_is_refused(bundle: Bundle, answers: ExpectedAnswers, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="a POM differs by nan"):
        self_test(predictor_of(bundle, tmp_path / "b", replace(answers, poms=(float("nan"), answers.poms[1]))))


def test_mixed_precision_is_held_to_its_own_tolerance(bundle: Bundle, answers: ExpectedAnswers, tmp_path: Path) -> None:
    predictor = predictor_of(bundle, tmp_path / "b", answers)
    predictor.engine = TorchEngine(bundle.net, precision="float16")
    difference = self_test(predictor)
    assert difference is not None
    assert 0 < difference < 1e-2


def test_bundle_without_images_has_no_self_test(bundle: Bundle) -> None:
    assert self_test(Predictor(bundle)) is None


def test_images_and_answers_come_back_as_written(answers: ExpectedAnswers) -> None:
    again = parse_expected(dump_expected(answers), Path("f"))
    assert again.poms == answers.poms
    for ours, theirs in ((again.images, answers.images), (again.cams, answers.cams)):
        assert all((one == other).all() for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"junk", "not images for a self-test"),
        (save({"poms": np.zeros(1)}), "not images for a self-test .*image_0"),
        (save({"poms": np.zeros(0)}), r"expected grey images with maps of their size, found \[\]"),
        (save({"poms": np.zeros(1), "image_0": np.zeros((4, 4)), "cam_0": np.zeros((4, 4))}), "expected grey images"),
        (
            save({"poms": np.zeros(1), "image_0": np.zeros((4, 4), np.uint8), "cam_0": np.zeros((4, 5), np.uint8)}),
            r"found \[\(\(4, 4\)",
        ),
    ],
)
def test_damaged_images_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        parse_expected(content, Path("self_test.safetensors"))


def test_made_images_are_several_different_and_always_the_same() -> None:
    first, again = made_images(), made_images()
    assert len(first) == 6
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert len({image_HW.tobytes() for image_HW in first}) == 6


def test_a_number_that_is_none_is_found_wherever_it_stands(bundle: Bundle, answers: ExpectedAnswers, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="a POM differs by nan"):
        self_test(predictor_of(bundle, tmp_path / "b", replace(answers, poms=(answers.poms[0], float("nan")))))
