"""The audit of shortcuts: a model that looks at the lesion alone, one that looks elsewhere alone, and what is said of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from wsus.cli import app
from wsus.errors import DataError
from wsus.inference.engines.engine import FLOAT32, EngineOutput
from wsus.inference.predict import Predictor
from wsus.models.bundle import read_bundle
from wsus.types import ImageRecord, Mode
from wsus.validation.shortcuts import VARIANTS, audit_shortcuts

MakeBundle = Callable[..., Path]


class Looker:
    """An engine that knows one pixel of the input alone: darker means malignant; its map is 1 there."""

    name, tolerance, callers = "looker", FLOAT32, 1

    def __init__(self, row: int, column: int) -> None:
        self.row, self.column = row, column

    def infer(self, inputs_BHW: np.ndarray) -> EngineOutput:
        place = np.s_[:, self.row - 2 : self.row + 3, self.column - 2 : self.column + 3]
        dark_B = 1 - inputs_BHW[place].mean(axis=(1, 2)) / 255
        cam_BChw = np.zeros((len(inputs_BHW), 2, 64, 64), dtype=np.float32)
        cam_BChw[:, :, self.row - 2 : self.row + 3, self.column - 2 : self.column + 3] = 1
        logits_BC = np.stack([np.zeros_like(dark_B), 20 * (dark_B - 0.7)], axis=1).astype(np.float32)
        return EngineOutput(logits_BC=logits_BC, cam_BChw=cam_BChw, features_BK=np.zeros((len(inputs_BHW), 1), np.float32))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[ImageRecord]:
    """Malignant lesions are darker, and so is a patch far from them: a shortcut."""
    folder, rng = tmp_path_factory.mktemp("shortcuts"), np.random.default_rng(0)
    made = []
    for number in range(40):
        label = number % 2
        image_HW = rng.integers(140, 180, (64, 64)).astype(np.uint8)
        mask_HW = np.zeros((64, 64), dtype=np.uint8)
        mask_HW[20:36, 20:36] = 255
        image_HW[20:36, 20:36] = 90 - 50 * label + rng.integers(0, 30)
        image_HW[48:56, 46:54] = 90 - 50 * label + rng.integers(0, 30)
        Image.fromarray(image_HW).save(folder / f"{number}.png")
        Image.fromarray(mask_HW).save(folder / f"{number}m.png")
        made.append(
            ImageRecord(
                image_id=str(number),
                patient_id=str(number),
                path=folder / f"{number}.png",
                label=label,
                mask_paths=(folder / f"{number}m.png",),
            )
        )
    return made


def audited(make_bundle: MakeBundle, records: list[ImageRecord], row: int, column: int):  # type: ignore[no-untyped-def]
    predictor = Predictor(read_bundle(make_bundle()), engine=Looker(row, column))
    return audit_shortcuts(predictor, records, lambda _: None)


def test_model_that_looks_at_the_lesion(make_bundle: MakeBundle, records: list[ImageRecord]) -> None:
    audit = audited(make_bundle, records, 28, 28)
    by_variant = {one.variant: one for one in audit.variants}
    assert tuple(by_variant) == tuple(VARIANTS)
    assert by_variant["as it is"].auc == by_variant["lesion alone"].auc == 1.0
    assert by_variant["lesion painted over"].auc < 0.8
    lesion = audit.zones[0]
    assert (lesion.zone, lesion.energy) == ("lesion", pytest.approx(1, abs=0.01))
    assert lesion.times_chance == pytest.approx(1 / lesion.area, rel=0.01)


def test_model_that_takes_a_shortcut(make_bundle: MakeBundle, records: list[ImageRecord]) -> None:
    audit = audited(make_bundle, records, 52, 50)
    by_variant = {one.variant: one for one in audit.variants}
    assert by_variant["lesion painted over"].auc == 1.0
    assert by_variant["lesion alone"].auc == 0.5
    assert audit.zones[0].energy == 0
    assert "the AUC goes from 1.00 to 1.00: 100% of what lies" in " ".join(audit.in_words())


def test_masks_of_both_classes_are_needed(make_bundle: MakeBundle, records: list[ImageRecord]) -> None:
    with pytest.raises(DataError, match="images with masks of both classes are needed; of 20 images 20 have a mask"):
        audited(make_bundle, records[::2], 28, 28)


def test_model_that_is_shown_the_region_is_refused(make_bundle: MakeBundle, records: list[ImageRecord]) -> None:
    predictor = Predictor(read_bundle(make_bundle(mode=Mode.MANUAL_ROI)), engine=Looker(28, 28))
    with pytest.raises(DataError, match="only weak models are asked where they look"):
        audit_shortcuts(predictor, records, lambda _: None)


def test_command_says_what_is_missing(make_bundle: MakeBundle, class_folders: Path) -> None:
    """Only one class of these folders has masks."""
    result = CliRunner().invoke(app, ["shortcuts", "--model", str(make_bundle()), "--data", f"class-folders={class_folders}"])
    assert isinstance(result.exception, DataError)
    assert "masks of both classes" in str(result.exception)
