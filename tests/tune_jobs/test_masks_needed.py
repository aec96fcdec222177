"""manual_roi needs a mask of every image: said before training, with the numbers."""

from __future__ import annotations

import dataclasses

import pytest
from tiny_study import tiny

from tune_jobs.data import load_data
from tune_jobs.rois import check_masks
from wsus.errors import MaskError
from wsus.types import Mode, Split


def test_partial_masks_are_refused_for_manual_roi_and_no_matter_for_weak() -> None:
    config = tiny("masks", modes=(Mode.WEAK, Mode.MANUAL_ROI))
    data = load_data(config.data)
    check_masks(config, data)

    bare = data.split(Split.INTERNAL)[0]
    records = tuple(dataclasses.replace(r, mask_paths=()) if r.image_id == bare.image_id else r for r in data.manifest.records)
    partial = dataclasses.replace(data, manifest=dataclasses.replace(data.manifest, records=records))

    total = len(data.split(Split.INTERNAL))
    with pytest.raises(MaskError, match=rf"1 image\(s\) have none \(1 of {total} internal\), the first is '{bare.image_id}'"):
        check_masks(config, partial)
    check_masks(tiny("masks", modes=(Mode.WEAK,)), partial)
