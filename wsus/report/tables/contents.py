"""Every table of the report, in its order: the paper's Tables 1 to 4, and what it did not print."""

from __future__ import annotations

from collections.abc import Iterable

from wsus.comparison.result import Comparison
from wsus.report.inputs import ReportInputs
from wsus.report.tables.accuracy import (
    calibration_table,
    counts_table,
    further_table,
    patients_table,
    robustness_table,
    seeds_table,
)
from wsus.report.tables.characteristics import characteristics_table
from wsus.report.tables.compute_spent import compute_table
from wsus.report.tables.differences import difference_table, operating_table, readers_table
from wsus.report.tables.localisation import (
    localisation_box_table,
    localisation_fit_table,
    localisation_size_table,
    localisation_table,
)
from wsus.report.tables.paper_counts import paper_counts_table
from wsus.report.tables.performance import SCORED, performance_table
from wsus.report.tables.power import power_table
from wsus.report.tables.subgroups import hard_cases_table, subgroup_table
from wsus.report.tables.table import Table


def all_tables(comparison: Comparison, inputs: ReportInputs) -> tuple[Table, ...]:
    """Every table of the report, in its order; those that would have no row are left out."""
    tables = [
        characteristics_table(inputs),
        *(performance_table(comparison, split) for split in SCORED),
        *(patients_table(comparison, split) for split in SCORED),
        *(counts_table(comparison, split) for split in SCORED),
        localisation_table(comparison),
        localisation_box_table(comparison),
        *(difference_table(comparison, split) for split in SCORED),
        *(readers_table(comparison, split) for split in SCORED),
        *(power_table(comparison, split) for split in SCORED),
        *(further_table(comparison, split) for split in SCORED),
        *(calibration_table(comparison, split) for split in SCORED),
        *(robustness_table(comparison, split) for split in SCORED),
        *(seeds_table(comparison, split) for split in SCORED),
        operating_table(comparison),
        localisation_fit_table(comparison),
        *(localisation_size_table(comparison, split) for split in SCORED),
        paper_counts_table(),
        *(subgroup_table(comparison, split) for split in SCORED),
        hard_cases_table(comparison),
        compute_table(inputs),
    ]
    return _of_study(tables, inputs)


def main_tables(comparison: Comparison, inputs: ReportInputs) -> tuple[Table, ...]:
    """Tables 2 to 4, for a terminal."""
    tables = (*(performance_table(comparison, split) for split in SCORED), localisation_table(comparison))
    return _of_study(tables, inputs)


def _of_study(tables: Iterable[Table], inputs: ReportInputs) -> tuple[Table, ...]:
    """Those with rows; of a hospital's own images without the paper's figures, which mean nothing beside them."""
    kept = tuple(table for table in tables if table.rows)
    if inputs.study.get("recipe") != "own":
        return kept
    return tuple(table.without_paper() for table in kept if table.slug != "paper_counts")
