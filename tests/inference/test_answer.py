"""The words, sizes and warnings of an answer."""

from __future__ import annotations

import json

import numpy as np

from wsus.inference.answer import CONSTANT, NO_LESION, answer_json, answer_warnings, one_of_several, region_of, sizes_mm
from wsus.types import UNLIKE_TRAINING, GreyImage


def grey(**changes: object) -> GreyImage:
    settings: dict[str, object] = {
        "grey_HW": np.ones((10, 20), np.uint8), "format": "PNG", "source_hw": (10, 20), "crop_xyxy_px": (0, 0, 20, 10),
    }  # fmt: skip
    return GreyImage(**settings | changes)  # type: ignore[arg-type]


def test_sizes_are_width_and_height_to_a_hundredth() -> None:
    assert sizes_mm([(0, 0, 3, 2)], (0.5, 1 / 3)) == [(1.0, 1.0)]
    assert sizes_mm([(1, 1, 2, 11)], (0.12345, 0.12345)) == [(0.12, 1.23)]
    assert sizes_mm([], (1.0, 1.0)) == []
    assert sizes_mm([(0, 0, 1, 1)], None) is None


def test_warnings_stand_in_their_order() -> None:
    assert answer_warnings(["coloured"], unlike_training=True, constant_map=True) == [
        "coloured", UNLIKE_TRAINING, NO_LESION, CONSTANT,
    ]  # fmt: skip
    assert answer_warnings([], unlike_training=None, constant_map=False) == [NO_LESION]


def test_one_frame_of_several_is_said() -> None:
    assert one_of_several(grey()) == ()
    assert one_of_several(grey(frame=2, frame_count=4)) == ("frame 2 (of 0 to 3): the others were not looked at",)


def test_a_region_is_named_where_it_is_not_the_whole() -> None:
    assert region_of(grey()) is None
    assert region_of(grey(source_hw=(30, 40), crop_xyxy_px=(5, 6, 25, 16))) == (5, 6, 25, 16)


def test_frames_and_region_stand_only_where_they_say_something() -> None:
    facts = {
        "image": "a", "pom": 0.5, "label": "malignant", "operating_point": 0.5, "explained_class": "malignant",
        "boxes_xyxy_px": [(0, 0, 1, 1)], "sizes_mm": [(0.1, 0.2)], "area_fraction": 0.1, "constant_map": False, "model": "m@1",
        "pom_means": "a score",
        "ood_score": None, "ood_threshold": None, "warnings": ["w"],
    }  # fmt: skip
    plain = answer_json(**facts, frame=0, frames=1, region_xyxy_px=None)  # type: ignore[arg-type]
    assert json.loads(json.dumps(plain)) == {**facts, "boxes_xyxy_px": [[0, 0, 1, 1]], "sizes_mm": [[0.1, 0.2]]}
    more = answer_json(**facts, frame=1, frames=3, region_xyxy_px=(0, 0, 9, 9))  # type: ignore[arg-type]
    assert {key: more[key] for key in more.keys() - plain.keys()} == {"frame": 1, "frames": 3, "region_xyxy_px": [0, 0, 9, 9]}
