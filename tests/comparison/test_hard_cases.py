"""Hard cases of a comparison: which they are, and in what order."""

from __future__ import annotations

import pandas as pd
from made_cells import QUICK

from wsus.comparison.compare import ComparisonConfig, compare


def test_hard_cases_are_those_that_half_of_the_cells_got_wrong(two_modes: pd.DataFrame) -> None:
    cases = compare(two_modes, QUICK).hard_cases

    assert {case.image_id for case in cases} == {"internal-001", "internal-003", "internal-004", "internal-005"}
    assert all(case.wrong == 1 and case.cells == 2 for case in cases)
    first = next(case for case in cases if case.image_id == "internal-003")
    assert [(said.backbone, said.mode, said.pom, said.called_malignant) for said in first.poms] == [
        ("net", "weak", 0.7, True), ("net", "manual_roi", 0.3, False),
    ]  # fmt: skip
    assert first.attributes == {"device": "X"}


def test_hard_cases_stand_worst_first_and_are_cut_at_the_limit(two_modes: pd.DataFrame) -> None:
    """Mean distance from the truth: 003: (0.7 + 0.3) / 2, 001: (0.2 + 0.6) / 2, 004: (0.6 + 0.3) / 2, 005: (0.4 + 0.55) / 2."""
    cases = compare(two_modes, ComparisonConfig(bootstrap=0, hard_cases=3)).hard_cases

    assert [case.image_id for case in cases] == ["internal-003", "internal-005", "internal-004"]
