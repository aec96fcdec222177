"""Images that a bundle carries with the answers that they must get, so that a replica tests itself before it answers others.

The images are made (phantoms): no patient's picture travels in a bundle. The answers are those of torch in float32 on the
machine that published; every engine must come as near to them as its tolerance says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from wsus.errors import BundleError
from wsus.inference.crops import DecodedImage
from wsus.models.bundle import SELF_TEST, Bundle
from wsus.types import GreyHW, Prediction

if TYPE_CHECKING:
    from wsus.inference.predict import Predictor

_SEED, _PATIENTS_PER_INSTITUTION = 20210, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedAnswers:
    """images: grey pixels.  poms: of each.  cams: uint8, the malignant class's map of each, 255 at its maximum."""

    images: tuple[GreyHW, ...]
    poms: tuple[float, ...]
    cams: tuple[NDArray[np.uint8], ...]


def made_images() -> tuple[GreyHW, ...]:
    """Phantoms of both made institutions, always the same."""
    from wsus.data.sources.phantom import PhantomConfig, make_patient

    configs = [PhantomConfig(patients_per_class=1, institution=letter, seed=_SEED) for letter in ("A", "B")]
    return tuple(
        make_patient(config, number).images[0].pixels_HW for config in configs for number in range(_PATIENTS_PER_INSTITUTION)
    )


def ask(predictor: Predictor, images: Sequence[GreyHW]) -> ExpectedAnswers:
    """What a predictor says of some images."""
    predictions = _predictions(predictor, images)
    return ExpectedAnswers(
        images=tuple(images),
        poms=tuple(prediction.pom for prediction in predictions),
        cams=tuple(np.round(prediction.cam_HW * 255).astype(np.uint8) for prediction in predictions),
    )


def self_test(predictor: Predictor) -> float | None:
    """Let a predictor answer its bundle's own images.

    Returns:
        the largest difference of a POM from the expected one; None where the bundle carries no images.
    Raises:
        BundleError: a POM or a map differs by more than the engine's tolerance, or is no number.
    """
    expected, tolerance = predictor.expected_answers, predictor.engine.tolerance
    if expected is None:
        return None
    predictions = _predictions(predictor, expected.images)
    pom_difference = max(abs(one.pom - pom) for one, pom in zip(predictions, expected.poms, strict=True))
    cam_difference = max(
        float(np.abs(one.cam_HW - cam_HW / np.float32(255)).max()) for one, cam_HW in zip(predictions, expected.cams, strict=True)
    )
    for name, difference, allowed in (
        ("POM", pom_difference, tolerance.pom),
        ("class activation map", cam_difference, tolerance.cam + 0.5 / 255),
    ):
        if not difference <= allowed:
            raise BundleError(
                f"{predictor.model_id}: its self-test fails: with engine {predictor.engine_name} a {name} differs by "
                f"{difference:.2g} from the one at publishing, allowed {allowed:.2g}; do not serve it, publish it again"
            )
    return pom_difference


def dump_expected(expected: ExpectedAnswers) -> bytes:
    """The content of `self_test.safetensors`."""
    tensors: dict[str, NDArray[np.generic]] = {"poms": np.array(expected.poms, dtype=np.float64)}
    for number, (image_HW, cam_HW) in enumerate(zip(expected.images, expected.cams, strict=True)):
        tensors |= {f"image_{number}": image_HW, f"cam_{number}": cam_HW}
    return save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})


def read_expected(bundle: Bundle) -> ExpectedAnswers | None:
    """What a bundle carries for its self-test, None where it carries nothing. Raises BundleError where it is damaged."""
    return parse_expected(bundle.read_bytes(SELF_TEST), bundle.folder / SELF_TEST) if SELF_TEST in bundle.sums else None


def parse_expected(content: bytes, path: Path) -> ExpectedAnswers:
    """The inverse of `dump_expected`; `path` stands in error messages. Raises BundleError."""
    try:
        tensors = load(content)
        numbers = range(len(tensors["poms"]))
        expected = ExpectedAnswers(
            images=tuple(tensors[f"image_{number}"] for number in numbers),
            poms=tuple(float(pom) for pom in tensors["poms"]),
            cams=tuple(tensors[f"cam_{number}"] for number in numbers),
        )
    except (SafetensorError, KeyError) as error:
        raise BundleError(f"{path}: not images for a self-test ({error}); publish the model again") from error
    shapes = [(image.shape, image.dtype, cam.shape) for image, cam in zip(expected.images, expected.cams, strict=True)]
    if not shapes or any(image != cam or len(image) != 2 or dtype != np.uint8 for image, dtype, cam in shapes):
        raise BundleError(f"{path}: expected grey images with maps of their size, found {shapes}; publish the model again")
    return expected


def _predictions(predictor: Predictor, images: Sequence[GreyHW]) -> list[Prediction]:
    named = [DecodedImage(image_id=f"self-test {number}", image_HW=image_HW) for number, image_HW in enumerate(images)]
    return predictor.predict(named, "malignant")
