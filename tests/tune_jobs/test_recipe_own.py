"""The recipe `own`: sizes follow from the images and the machine, and too few are refused with what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tune_jobs.data import load_data
from tune_jobs.own import Machine, plan_own
from tune_jobs.study_file import paths_in, read_study_file, study_file, with_file, with_words
from wsus.data.sources.own import OwnImages
from wsus.errors import ConfigError, SplitError, UnknownNameError
from wsus.types import Mode, Split

LAPTOP, SERVER = Machine(cores=2, gpu=False), Machine(cores=32, gpu=True)


def images(folder: Path, per_class: int, *, masks: int = 0, seed: int = 0) -> Path:
    """Noise in large grains, so that no two are near-duplicates, in benign/ and malignant/; the first have masks."""
    rng = np.random.default_rng(seed)
    for name in ("benign", "malignant"):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            grains = np.kron(rng.integers(1, 255, (8, 8)), np.ones((6, 6))).astype(np.uint8)
            Image.fromarray(grains).save(folder / name / f"{number:03}.png")
            if number < masks:
                mask_HW = np.zeros((48, 48), dtype=np.uint8)
                mask_HW[10:30, 12:30] = 255
                Image.fromarray(mask_HW).save(folder / name / f"{number:03}_mask.png")
    return folder


def test_sixty_images_make_a_study_that_its_data_can_be_divided_for(tmp_path: Path) -> None:
    plan = plan_own({"images": str(images(tmp_path / "ours", 30))}, machine=LAPTOP)
    config = plan.config
    assert (config.modes, config.weights, config.crop.size_px) == ((Mode.WEAK,), "imagenet", 224)
    assert config.data.splits.internal_per_class == 8
    assert config.train.epochs == 60
    data = load_data(config.data)
    counts = {split: len(data.split(split)) for split in Split}
    assert (counts[Split.INTERNAL], counts[Split.EXTERNAL]) == (16, 0)
    assert counts[Split.TRAIN] + counts[Split.DEVELOPMENT] == 44
    told = "\n".join(plan.lines())
    for word in (
        "there are 30 benign and 30 malignant patients",
        "patients  8 of each class",
        "no image has a mask",
        "2 processor cores",
    ):
        assert word in told


def test_the_plan_says_what_was_set_beside_what_was_planned(tmp_path: Path) -> None:
    plan = plan_own({"images": str(images(tmp_path / "ours", 30))}, machine=LAPTOP)
    file = tmp_path / "study.yaml"
    file.write_text(study_file("own", {}).replace("OUR_IMAGES", str(tmp_path / "ours")))
    content = read_study_file(file)
    assert with_file(plan_own(paths_in(content), machine=LAPTOP).config, content) == plan.config
    told = plan.lines(with_words(plan.config, {"train.epochs": "6", "backbones": "googlenet,resnet34"}))
    assert "epochs    6 in batches of 8, as set; planned were 60 in batches of 8" in told
    assert "network   googlenet, resnet34, as set; planned were efficientnet_lite0" in told
    assert [line for line in told if line.startswith("input")] == [line for line in plan.lines() if line.startswith("input")]
    assert told[-1] != plan.lines()[-1], "a tenth of the epochs on two networks takes a fifth of the time"


def test_six_images_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"6 images of 3 benign and 3 malignant patients; .* 7 more benign and 7 more malignant"):
        plan_own({"images": str(images(tmp_path / "few", 3))}, machine=LAPTOP)


def test_modes_follow_the_masks_and_the_external_set_counts(tmp_path: Path) -> None:
    ours, theirs = images(tmp_path / "ours", 32, masks=32), images(tmp_path / "theirs", 12, masks=5, seed=9)
    assert plan_own({"images": str(ours)}, machine=LAPTOP).config.modes == tuple(Mode)
    both = plan_own({"images": str(ours), "external": str(theirs)}, machine=LAPTOP)
    assert both.config.modes == (Mode.WEAK,)
    assert "74 of 88 images have a mask" in "\n".join(both.lines())
    assert both.config.data.external is not None


def test_a_slow_machine_gets_smaller_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(images(tmp_path / "ours", 30))
    monkeypatch.setattr("tune_jobs.own._PATIENCE_S", 20.0)
    assert plan_own({"images": folder}, machine=LAPTOP).config.crop.size_px == 128
    assert plan_own({"images": folder}, machine=SERVER).config.crop.size_px == 224


def test_a_patient_counts_once_and_mistakes_are_named(tmp_path: Path) -> None:
    folder = str(images(tmp_path / "ours", 30))
    with pytest.raises(SplitError, match="60 images of 1 benign and 1 malignant patients"):
        plan_own({"images": folder}, OwnImages(patients="name:(benign|malignant)"), LAPTOP)
    with pytest.raises(ConfigError, match="needs --data images=PATH"):
        plan_own({})
    with pytest.raises(UnknownNameError, match="unknown kind of --data for this recipe 'image'"):
        plan_own({"image": folder})
