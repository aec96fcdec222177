"""Pictures come back from their files as they went in, the hardest cases smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tune_jobs.pictures import LONGEST_PX, read_gallery, read_hard_cases, write_gallery, write_hard_cases
from wsus.inference.scoring import ScoredImage


def example(**changes: object) -> ScoredImage:
    rng = np.random.default_rng(0)
    mask_HW = np.zeros((300, 512), dtype=bool)
    mask_HW[100:200, 200:400] = True
    whole = ScoredImage(
        kind="false_positive",
        split="external",
        image_id="e1",
        label=0,
        pom=0.8,
        box_xyxy_px=(1, 2, 30, 40),
        image_HW=rng.integers(0, 256, (300, 512), dtype=np.uint8),
        cam_HW=rng.integers(0, 256, (300, 512), dtype=np.uint8),
        mask_HW=mask_HW,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_gallery_is_read_as_it_was_written(tmp_path: Path) -> None:
    bare = example(kind="true_negative", image_id="e2", pom=0.1, box_xyxy_px=None, mask_HW=None)
    write_gallery(tmp_path / "gallery", [example(), bare])

    first, second = read_gallery(tmp_path / "gallery")

    assert (first.kind, first.split, first.image_id, first.label, first.pom) == ("false_positive", "external", "e1", 0, 0.8)
    assert first.box_xyxy_px == (1, 2, 30, 40)
    np.testing.assert_array_equal(first.image_HW, example().image_HW)
    np.testing.assert_array_equal(first.cam_HW, example().cam_HW)
    np.testing.assert_array_equal(first.mask_HW, example().mask_HW)
    assert (second.box_xyxy_px, second.mask_HW) == (None, None)


def test_hard_cases_are_small_and_hold_the_map_of_every_network(tmp_path: Path) -> None:
    flat = example(cam_HW=np.full((300, 512), 7, dtype=np.uint8))
    other = example(image_id="e2", split="internal", mask_HW=None)
    write_hard_cases(tmp_path, {"vgg16": [example(), other], "timm:net": [flat, other]})

    first, second = read_hard_cases(tmp_path)

    assert [(case.split, case.image_id) for case in (first, second)] == [("external", "e1"), ("internal", "e2")]
    assert first.image_HW.shape == (round(300 * LONGEST_PX / 512), LONGEST_PX)
    assert set(first.cam_of) == {"vgg16", "timm:net"}
    assert (first.cam_of["timm:net"] == 7).all()
    assert first.image_HW.mean() == pytest.approx(example().image_HW.mean(), abs=1)
    assert first.mask_HW is not None
    assert first.mask_HW.mean() == pytest.approx(example().mask_HW.mean(), abs=0.01)  # type: ignore[union-attr]
    assert second.mask_HW is None


def test_no_hard_case_is_an_empty_list(tmp_path: Path) -> None:
    write_hard_cases(tmp_path, {})
    assert read_hard_cases(tmp_path) == ()


def test_networks_that_saw_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_hard_cases(tmp_path, {"vgg16": [example()], "resnet34": []})
