"""Images that a bundle carries with the answers that they must get, so that a replica tests itself before it answers others.

The images are made (phantoms): no patient's picture travels in a bundle. The answers are those of torch in float32 on the
machine that published; every engine must come as near to them as its tolerance says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsus.errors import BundleError
from wsus.inference.engines.engine import EngineChoice
from wsus.inference.expected import ExpectedAnswers
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import ONNX, Bundle
from wsus.types import GreyHW, Prediction

_SEED, _PATIENTS_PER_INSTITUTION = 20210, 3


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
    pom_difference = float(np.abs(np.subtract([one.pom for one in predictions], expected.poms)).max())  # a NaN stays one
    cams = zip(predictions, expected.cams, strict=True)
    cam_difference = float(np.max([np.abs(one.cam_HW - cam_HW / np.float32(255)).max() for one, cam_HW in cams]))
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


def every_engine(bundle: Bundle) -> dict[str, float | None]:
    """`self_test` with torch and, where the bundle holds a graph, with ONNX Runtime: both must give the same answers."""
    engines: list[EngineChoice] = ["torch", "onnx"] if ONNX in bundle.sums else ["torch"]
    return {engine: self_test(Predictor(bundle, engine=engine)) for engine in engines}


def _predictions(predictor: Predictor, images: Sequence[GreyHW]) -> list[Prediction]:
    named = [DecodedImage(image_id=f"self-test {number}", image_HW=image_HW) for number, image_HW in enumerate(images)]
    return predictor.predict(named, "malignant")
