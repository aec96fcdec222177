"""The tables say what the comparison found, with the paper's figure beside it."""

from __future__ import annotations

import dataclasses

from wsus.comparison.compare import ComparisonConfig, compare
from wsus.comparison.result import Comparison
from wsus.report.inputs import ReportInputs
from wsus.report.tables.contents import all_tables, main_tables
from wsus.report.tables.differences import difference_table, readers_table
from wsus.report.tables.localisation import localisation_fit_table, localisation_size_table, localisation_table
from wsus.report.tables.performance import performance_table
from wsus.report.tables.subgroups import hard_cases_table, subgroup_table
from wsus.report.tables.table import Table
from wsus.report.wording import p_value, percent_with_interval, with_interval


def _row(table: Table, *start: str) -> tuple[str | None, ...]:
    return next(row for row in table.rows if row[: len(start)] == start)


def test_performance_row_holds_ours_and_the_papers(comparison: Comparison) -> None:
    row = _row(performance_table(comparison, "internal"), "VGG16", "Weak")

    cell = comparison.cell("vgg16", "weak", "internal")
    assert cell is not None
    assert row[2:4] == (with_interval(cell.auc), "0.96")
    assert (row[5], row[7], row[8]) == ("87", "91", "ref.")


def test_p_of_a_full_mode_is_that_of_weak_against_it(comparison: Comparison) -> None:
    pair = comparison.pair("googlenet", "manual_roi", "external")

    assert pair is not None
    row = _row(performance_table(comparison, "external"), "GoogLeNet", "Manual ROI")
    assert row[8:] == (p_value(pair.p), p_value(pair.sensitivity.p), p_value(pair.specificity.p))


def test_missing_cell_keeps_its_row_and_the_note_says_why(comparison: Comparison) -> None:
    table = performance_table(comparison, "internal")

    row = _row(table, "ResNet34", "Automatic ROI")
    assert row[2] is None
    assert row[3] == "0.92"
    assert "ResNet34, Automatic ROI: missing. the loss was not a number" in table.notes


def test_images_without_an_automatic_region_are_counted_in_a_note(comparison: Comparison) -> None:
    cells = tuple(
        dataclasses.replace(cell, fallback_crops=3) if (cell.backbone, cell.mode) == ("vgg16", "auto_roi") else cell
        for cell in comparison.cells
    )
    notes = performance_table(dataclasses.replace(comparison, cells=cells), "internal").notes

    assert "VGG16, Automatic ROI: no region was found in 3 of 40 images; the whole image was used." in notes


def test_localisation_has_each_class_of_each_network_beside_its_baselines(comparison: Comparison) -> None:
    table = localisation_table(comparison)

    assert len(table.rows) == 3 * 2 * 2
    row = _row(table, "ResNet34, external", "Malignant, 20")
    found = comparison.located("resnet34", "external")
    group = found.group("malignant") if found else None
    assert found is not None
    assert group is not None
    assert row[3] == "98"  # the paper's
    assert row[4] == f"{100 * (group.figure('overlap').centre_box.value or 0):.0f}"
    assert row[6] == p_value(found.fisher_p["overlap"])


def test_fit_says_where_its_thresholds_come_from(comparison: Comparison) -> None:
    table = localisation_fit_table(comparison)

    found = comparison.located("vgg16", "internal")
    assert found is not None
    assert found.curve is not None
    row = _row(table, "VGG16, internal", "MaxBoxAcc, %")
    benign = found.group("benign")
    assert benign is not None
    assert row[2] == percent_with_interval(benign.figure("max_box_acc").own, digits=0)
    assert row[4] == f"{100 * (benign.figure('max_box_acc').random_map.value or 0):.0f}"
    assert f"VGG16, internal: {found.curve.best:g} here, {found.curve.development:g} by the development set" in " ".join(
        table.notes
    )
    assert "optimistic" in " ".join(table.notes)


def test_localisation_by_size_counts_every_image_once(comparison: Comparison) -> None:
    table = localisation_size_table(comparison, "external")

    assert [column.title for column in table.columns[2::3]] == ["< 10 mm", "10 to < 20 mm", "≥ 20 mm"]
    counts = _row(table, "VGG16", "Images with a mask")[2::3]
    found = comparison.located("vgg16", "external")
    assert found is not None
    assert sum(int(count or 0) for count in counts) == found.n
    assert len(table.rows) == 3 * 12  # the count and eleven figures


def test_predictions_of_an_older_version_have_no_box_accuracy_and_the_table_says_so(study: ReportInputs) -> None:
    older = study.predictions.drop(columns=[name for name in study.predictions if "by_threshold" in name])

    table = localisation_fit_table(compare(older, ComparisonConfig(bootstrap=0)))

    assert not any("MaxBoxAcc" in str(row[1]) for row in table.rows)
    assert _row(table, "VGG16, internal", "Mean Dice")[2] != "–"
    assert "MaxBoxAcc was not computed when these images were scored" in " ".join(table.notes)


def test_without_a_full_mode_there_are_no_columns_of_tests(study: ReportInputs) -> None:
    weak = compare(study.predictions[study.predictions["mode"] == "weak"], ComparisonConfig(bootstrap=0))
    table = performance_table(weak, "internal")

    assert not [column.title for column in table.columns if column.title.startswith("P ")]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert not any(note.startswith("P:") for note in table.notes)


def test_verdict_of_every_pair_stands_in_the_table(comparison: Comparison) -> None:
    table = difference_table(comparison, "internal")

    pairs = [pair for pair in comparison.pairs if pair.split == "internal"]
    assert len(pairs) == 5
    assert [row[-1] for row in table.rows] == [str(pair.noninferiority.verdict) for pair in pairs if pair.noninferiority]


def test_two_readers_add_up_to_the_class(comparison: Comparison) -> None:
    for row in readers_table(comparison, "external").rows:
        assert sum(int(count or "x") for count in row[3:7]) == 20


def test_hard_cases_name_the_image_and_its_truth(comparison: Comparison) -> None:
    table = hard_cases_table(comparison)

    first = comparison.hard_cases[0]
    assert table.rows[0][1:4] == (
        first.image_id,
        "malignant" if first.label else "benign",
        f"{first.wrong} of {first.cells}",
    )
    said = [item for item in first.poms if item.backbone == "resnet34"]  # its automatic ROI failed
    assert table.columns[6].title == "ResNet34: POM"
    assert table.rows[0][6] == f"{said[0].pom:.2f} / {said[1].pom:.2f} / –"


def test_subgroup_table_has_a_row_per_level_and_only_the_shares_that_exist(comparison: Comparison) -> None:
    table = subgroup_table(comparison, "internal")

    found = [item for item in comparison.subgroups if item.split == "internal"]
    assert len(table.rows) == len(found)
    row = _row(table, "VGG16", "Histology", "fibroadenoma")
    item = next(item for item in found if (item.backbone, item.level) == ("vgg16", "fibroadenoma"))
    assert row[3:7] == (str(item.n), "0", "–", "–")
    assert row[7] == percent_with_interval(item.specificity, digits=0)
    assert {row[1] for row in table.rows} == {"Scanner", "BI-RADS", "Histology", "Calipers in the picture", "Age", "Lesion size"}


def test_slugs_are_file_names_and_differ(comparison: Comparison, study: ReportInputs) -> None:
    slugs = [table.slug for table in all_tables(comparison, study)]

    assert len(set(slugs)) == len(slugs)
    assert {"table1", "table2", "table3", "table4"} <= set(slugs)


def test_main_tables_fit_a_terminal(comparison: Comparison, study: ReportInputs) -> None:
    widths = {table.slug: max(map(len, table.to_text().splitlines())) for table in main_tables(comparison, study)}

    assert max(widths.values()) <= 120, widths


def test_characteristics_count_every_set(comparison: Comparison, study: ReportInputs) -> None:
    table = all_tables(comparison, study)[0]

    assert _row(table, "Images", "Images")[2:] == ("120", "40", "40", "40", "1,000 / 200 / 200")
    assert _row(table, "Images", "Malignant")[2] == "60 (50%)"
    assert "147 images or files were left out" in " ".join(table.notes)

    warned = dataclasses.replace(study, study={**study.study, "image_warnings": {"looked_at": 200, "by_kind": {"coloured": 7}}})
    notes = " ".join(all_tables(comparison, warned)[0].notes)
    assert "Decoding warned, of 200 images looked at: 7 image(s) have colours" in notes
    assert "Decoding warned" not in " ".join(table.notes)
