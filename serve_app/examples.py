"""The example phantoms of the page: made by this project's program with a fixed seed, so that no patient is behind them.

`python -m serve_app.examples` writes them anew into serve_app/static/examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from wsus.data.sources.phantom import InstitutionName, PhantomConfig, make_patient
from wsus.types import CLASS_NAMES, GreyHW

FOLDER = Path(__file__).parent / "static" / "examples"
SEED = 21
_PATIENTS: tuple[tuple[InstitutionName, int], ...] = (("A", 6), ("A", 8), ("B", 17), ("B", 15))


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One made image. name: without the file's ending, such as `benign-a`."""

    name: str
    pixels_HW: GreyHW


def examples() -> Iterator[Example]:
    """A benign and a malignant phantom of each institution, first view of each."""
    for institution, number in _PATIENTS:
        config = PhantomConfig(patients_per_class=1 + number // 2, institution=institution, seed=SEED)
        patient = make_patient(config, number)
        name = f"{CLASS_NAMES[patient.label]}-{institution.lower()}"
        yield Example(name=name, pixels_HW=patient.images[0].pixels_HW)


def main() -> None:
    """Write the examples as grey PNG without any metadata."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for example in examples():
        Image.fromarray(example.pixels_HW).save(FOLDER / f"{example.name}.png", optimize=True)


if __name__ == "__main__":
    main()
