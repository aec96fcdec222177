"""Each descriptive column is declared once; the lists that follow keep their order, which digests and tables depend on."""

from __future__ import annotations

from dataclasses import fields

from wsus.comparison import hard_cases, subgroups
from wsus.comparison.predictions import SUBGROUP_COLUMNS
from wsus.data.described import DESCRIBED
from wsus.data.manifest_rows import DESCRIPTIVE_COLUMNS
from wsus.report.figures.forest import ONE_CLASS
from wsus.report.wording import variable_name
from wsus.types import ImageRecord


def test_what_follows_from_the_list() -> None:
    assert (
        *("institution", "device", "birads", "histology", "age_years", "lesion_size_mm", "acquired", "calipers"),
    ) == DESCRIPTIVE_COLUMNS
    assert tuple(name for name in DESCRIPTIVE_COLUMNS if name != "acquired") == SUBGROUP_COLUMNS
    assert subgroups._VARIABLES == ("device", "birads", "histology", "calipers")
    assert hard_cases.ATTRIBUTES == ("birads", "device", "histology", "lesion_size_mm", "calipers")
    assert ONE_CLASS == ("histology",)
    assert variable_name("device") == "Scanner"


def test_a_record_has_a_field_for_each() -> None:
    assert {column.name for column in DESCRIBED} <= {field.name for field in fields(ImageRecord)}
