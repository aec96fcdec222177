"""The example phantoms of the page are what the program makes, and small."""

import io

import numpy as np
from PIL import Image

from serve_app.examples import FOLDER, examples


def test_example_phantoms_are_what_the_program_makes() -> None:
    made = list(examples())
    assert sorted(example.name for example in made) == sorted(path.stem for path in FOLDER.glob("*.png"))
    for example in made:
        content = (FOLDER / f"{example.name}.png").read_bytes()
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), example.pixels_HW)
        assert len(content) < 60_000
