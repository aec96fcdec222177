"""A study settles its precision once, notes it, and goes on with it elsewhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_study import TRAIN, tiny

from tune_jobs.keys import study_key
from tune_jobs.precision import UNET, all_float32, measure_precision, needs_measuring, settle_precision
from tune_jobs.study import Trial
from tune_jobs.training import TrialContext, settled_train_config
from wsus.storage import FolderStore
from wsus.types import Mode

FOUND = {
    "device": "processor A",
    "bfloat16_in_hardware": True,
    "networks": {
        "resnet34": {"use": "bfloat16", "float32_images_s": 10.0, "bfloat16_images_s": 28.0},
        "googlenet": {"use": "float32", "float32_images_s": 10.0, "bfloat16_images_s": 11.0},
    },
}


def test_what_was_settled_stands_in_study_json_and_is_kept_elsewhere(tmp_path: Path) -> None:
    config, store, said = tiny("p", backbones=("resnet34", "googlenet")), FolderStore(tmp_path), []
    key = study_key("p", "study.json")
    store.write_json(key, {"config": config.to_json()})

    first = settle_precision(config, store, lambda: FOUND, said.append)
    again = settle_precision(config, store, lambda: pytest.fail("measured anew"), said.append)

    assert first == again == {"resnet34": "bfloat16", "googlenet": "float32"}
    assert store.read_json(key) == {"config": config.to_json(), "precision": FOUND}
    assert (
        said[0]
        == said[1]
        == (
            "precision: googlenet float32 (1.1 times float32), resnet34 bfloat16 (2.8 times float32); "
            "decided on processor A, and kept wherever the study goes on"
        )
    )


def test_a_precision_that_is_named_is_not_measured(tmp_path: Path) -> None:
    config = tiny("p", train=replace(TRAIN, precision="bfloat16"))
    found = settle_precision(config, FolderStore(tmp_path), lambda: pytest.fail("measured"), lambda _: None)
    assert found == {UNET: "bfloat16"}
    assert settled(config, found) == "bfloat16"


def test_a_trial_takes_its_own_setting_first_then_what_was_settled() -> None:
    own = tiny("p", per_backbone={"resnet34": {"precision": "float32"}})
    assert settled(own, {"resnet34": "bfloat16"}) == "float32"
    assert settled(tiny("p"), {"resnet34": "bfloat16"}) == "bfloat16"


def settled(config: Any, precisions: Any) -> str:
    trial = Trial(cell=config.cells()[0], seed=0, sample=0, hyper={})
    context = TrialContext(config=config, data=None, boxes=None, precisions=precisions)  # type: ignore[arg-type]
    return settled_train_config(context, trial).precision


def test_narrow_networks_need_no_worker_and_get_the_same_answer_from_one() -> None:
    config = tiny("p", modes=(Mode.WEAK, Mode.AUTO_ROI))
    assert not needs_measuring(config)
    assert needs_measuring(tiny("p", width=1.0))
    local, measured = all_float32(config), measure_precision(config, cpus=1, gpus=0)
    assert local["networks"] == measured["networks"]
    assert {name: network["use"] for name, network in local["networks"].items()} == {"resnet34": "float32", UNET: "float32"}
