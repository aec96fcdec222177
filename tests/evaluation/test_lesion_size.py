"""Small, middle, large: by millimetres where they are known, else by the mask."""

from __future__ import annotations

import numpy as np
import pandas as pd

from wsus.evaluation.lesion_size import lesion_sizes


def _rows(**columns: object) -> pd.DataFrame:
    n = len(next(iter(columns.values())))  # type: ignore[arg-type]
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], **columns})


def test_millimetres_go_into_fixed_bins_with_the_edge_in_the_upper_one() -> None:
    found = lesion_sizes(_rows(lesion_size_mm=[9.9, 10.0, 19.9, 20.0, None]))

    assert found is not None
    assert found.measure == "lesion_size_mm"
    assert found.levels == ("< 10 mm", "10 to < 20 mm", "≥ 20 mm")
    assert found.of(pd.Series(["i0", "i1", "i2", "i3", "i4"])).tolist()[:4] == [
        "< 10 mm", "10 to < 20 mm", "10 to < 20 mm", "≥ 20 mm",
    ]  # fmt: skip
    assert found.of(pd.Series(["i4", "unknown"])).isna().all()


def test_without_millimetres_the_mask_divides_the_split_in_thirds() -> None:
    found = lesion_sizes(_rows(mask_fraction=[0.01, 0.02, 0.03, 0.04, 0.05, 0.06, np.nan], lesion_size_mm=[None] * 7))

    assert found is not None
    assert found.measure == "mask_fraction"
    counts = pd.Series(found.level_of).value_counts()
    assert counts.tolist() == [2, 2, 2]
    assert [level.split(" third")[0] for level in found.levels] == ["smallest", "middle", "largest"]
    assert "i6" not in found.level_of


def test_few_known_millimetres_do_not_count() -> None:
    found = lesion_sizes(_rows(mask_fraction=[0.1, 0.2, 0.3], lesion_size_mm=[8.0, None, None]))

    assert found is not None
    assert found.measure == "mask_fraction"


def test_images_of_several_cells_count_once() -> None:
    one = _rows(mask_fraction=[0.1, 0.2, 0.3])

    assert lesion_sizes(pd.concat([one, one])) == lesion_sizes(one)


def test_nothing_known_gives_nothing() -> None:
    assert lesion_sizes(_rows(lesion_size_mm=[None, 0.0])) is None
    assert lesion_sizes(_rows(device=["X", "Y"])) is None


def test_equal_masks_make_one_level() -> None:
    found = lesion_sizes(_rows(mask_fraction=[0.1, 0.1, 0.1]))

    assert found is not None
    assert len(found.levels) == 1
