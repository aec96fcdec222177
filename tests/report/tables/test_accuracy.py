"""Tables beyond the paper's: each figure is the comparison's, and the tables stay narrow enough for paper."""

from __future__ import annotations

import dataclasses

import pytest

from wsus.comparison.estimates import Estimate
from wsus.comparison.result import Comparison
from wsus.report.tables.accuracy import calibration_table, further_table, patients_table, robustness_table, seeds_table
from wsus.report.tables.paper_counts import paper_counts_table
from wsus.report.tables.power import power_table
from wsus.report.tables.table import Table
from wsus.report.wording import number, percent, ratio_with_interval, with_interval
from wsus.types import ENSEMBLE

_PRINTED_COLUMNS = 135  # characters that a page holds in the report's print style


def _row(table: Table, *start: str) -> tuple[str | None, ...]:
    return next(row for row in table.rows if row[: len(start)] == start)


def test_likelihood_ratios_stand_beside_the_predictive_values(comparison: Comparison) -> None:
    cell = comparison.cell("vgg16", "weak", "internal")
    assert cell is not None

    table = further_table(comparison, "internal")
    row = _row(table, "VGG16", "Weak")
    assert row[5:] == (ratio_with_interval(cell.lr_positive), ratio_with_interval(cell.lr_negative))
    assert "intervals: log, over patients" in table.notes[1]  # some patients have two images


def test_infinite_ratio_is_written_as_one(comparison: Comparison) -> None:
    cell = comparison.cell("vgg16", "weak", "internal")
    assert cell is not None
    changed = dataclasses.replace(cell, lr_positive=Estimate(low=7.5, method="exact unconditional", note="infinite"))

    table = further_table(dataclasses.replace(comparison, cells=(changed,)), "internal")

    assert table.rows[0][5] == "∞ (7.50–∞)"
    assert r"$\infty$ (7.50--$\infty$)" in table.to_latex()


def test_partial_areas_name_the_range_they_hold_for(comparison: Comparison) -> None:
    cell = comparison.cell("googlenet", "manual_roi", "external")
    assert cell is not None
    table = robustness_table(comparison, "external")

    assert [column.title for column in table.columns[2:4]] == ["pAUC, specificity ≥ 0.80", "pAUC, sensitivity ≥ 0.80"]
    row = _row(table, "GoogLeNet", "Manual ROI")
    assert row[2:4] == tuple(with_interval(part.standardised) for part in cell.partial_auc)


def test_spread_between_seeds_stands_beside_the_chance_of_the_images(comparison: Comparison) -> None:
    cell = comparison.cell("resnet34", "weak", "internal")
    assert cell is not None
    aucs = [value for value in cell.auc_by_seed.values() if value is not None]

    row = _row(seeds_table(comparison, "internal"), "ResNet34", "Weak")
    assert row[2] == " / ".join(number(value) for value in aucs)
    spread = (sum(aucs) / 2, min(aucs), max(aucs), cell.auc_seed_sd, cell.auc_se)
    assert row[3:5] == (f"seed {cell.seed}", number(cell.auc.value))
    assert row[5:] == tuple(number(value) for value in spread)
    assert cell.auc_seed_sd == pytest.approx(abs(aucs[0] - aucs[1]) / 2**0.5)


def test_ensemble_is_named_where_it_stands_for_the_cell(comparison: Comparison) -> None:
    cells = tuple(dataclasses.replace(cell, seed=ENSEMBLE) for cell in comparison.cells)
    assert _row(seeds_table(dataclasses.replace(comparison, cells=cells), "internal"), "ResNet34", "Weak")[3] == "ensemble"


def test_one_seed_needs_no_table_of_seeds(comparison: Comparison) -> None:
    cells = tuple(dataclasses.replace(cell, auc_by_seed={0: 0.9}, auc_seed_sd=None) for cell in comparison.cells)
    assert seeds_table(dataclasses.replace(comparison, cells=cells), "internal").rows == ()


def test_power_of_a_pair(comparison: Comparison) -> None:
    pair = comparison.pair("vgg16", "auto_roi", "internal")
    assert pair is not None
    assert pair.power_auc is not None
    assert pair.power_specificity is not None

    table = power_table(comparison, "internal")
    row = _row(table, "VGG16", "Automatic ROI")
    assert row[2] == percent(pair.power_auc.power, 0)
    assert row[3] == f"{(pair.power_auc.needed_pos or 0) + (pair.power_auc.needed_neg or 0):,}"
    discordant = pair.specificity.only_weak_right + pair.specificity.only_full_right
    assert row[7:] == (
        percent(discordant / 20, 0),
        percent(pair.power_specificity.power, 0),
        f"{pair.power_specificity.needed_neg:,}",
    )
    assert table.columns[3].title == "images for 80%"


def test_pair_without_power_has_dashes(comparison: Comparison) -> None:
    pair = dataclasses.replace(
        comparison.pairs[0], split="internal", power_auc=None, power_sensitivity=None, power_specificity=None
    )
    assert power_table(dataclasses.replace(comparison, pairs=(pair,)), "internal").rows[0][2:] == (None,) * 8


def test_counts_of_the_paper_get_their_intervals() -> None:
    table = paper_counts_table()

    assert len(table.rows) == 6
    assert _row(table, "Internal set", "VGG16")[2:] == ("87 (79–93)", "91 (84–96)", "99 (95–100)", "100 (96–100)", "1.00")
    assert _row(table, "External set", "ResNet34")[6] == "0.68"


@pytest.mark.parametrize("split", ["internal", "external"])
def test_tables_fit_a_page(comparison: Comparison, split: str) -> None:
    for make in (further_table, robustness_table, seeds_table, calibration_table, patients_table):
        assert max(map(len, make(comparison, split).to_text().splitlines())) <= _PRINTED_COLUMNS
