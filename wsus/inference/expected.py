"""The answers that a bundle's own images must get: what a self-test holds a replica to, as a file of the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from wsus.errors import BundleError
from wsus.models.bundle import SELF_TEST, Bundle
from wsus.types import GreyHW

_MOST_PIXELS = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedAnswers:
    """images: grey pixels.  poms: of each.  cams: uint8, the malignant class's map of each, 255 at its maximum."""

    images: tuple[GreyHW, ...]
    poms: tuple[float, ...]
    cams: tuple[NDArray[np.uint8], ...]


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
    if any(image.size > _MOST_PIXELS for image in expected.images):
        raise BundleError(f"{path}: an image for a self-test has more than {_MOST_PIXELS:,} pixels; publish the model again")
    shapes = [(image.shape, image.dtype, cam.shape) for image, cam in zip(expected.images, expected.cams, strict=True)]
    if not shapes or any(image != cam or len(image) != 2 or dtype != np.uint8 for image, dtype, cam in shapes):
        raise BundleError(f"{path}: expected grey images with maps of their size, found {shapes}; publish the model again")
    return expected
