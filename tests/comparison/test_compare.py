"""A whole comparison on made predictions: what is chosen, what is missing, what is refused."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from made_cells import FULL, LABELS, QUICK, WEAK, cell_of

from wsus.comparison.compare import ComparisonConfig, chosen_predictions, compare
from wsus.errors import ConfigError, DataError
from wsus.evaluation.auc import auc_with_interval


def test_rows_in_another_order_give_the_same_comparison(two_modes: pd.DataFrame) -> None:
    shuffled = two_modes.sample(frac=1, random_state=3).sort_values(["mode"], ascending=False, kind="stable")

    assert compare(shuffled, QUICK).to_json() == compare(two_modes, QUICK).to_json()


def test_seed_and_best_network_are_chosen_on_the_development_split_alone() -> None:
    good, bad = [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9], [0.9, 0.2, 0.8, 0.4, 0.6, 0.1, 0.3, 0.7]
    cells = [
        cell_of("a", "weak", bad, LABELS, split="development", seed=0),
        cell_of("a", "weak", good, LABELS, split="internal", seed=0),  # better where it must not count
        cell_of("a", "weak", WEAK, LABELS, split="development", seed=1),
        cell_of("a", "weak", bad, LABELS, split="internal", seed=1),
        cell_of("b", "weak", good, LABELS, split="development", seed=0),
        cell_of("b", "weak", bad, LABELS, split="internal", seed=0),
    ]
    comparison = compare(pd.concat(cells), QUICK)

    cell = comparison.cell("a", "weak", "internal")
    assert cell is not None
    assert cell.seed == 1
    assert cell.auc_by_seed == {0: 1.0, 1: auc_with_interval(LABELS, bad).auc}
    assert comparison.best_weak == "b"


def test_chosen_seed_is_taken_where_it_is_given(two_modes: pd.DataFrame) -> None:
    second = two_modes.assign(seed=7, pom=0.5, called_malignant=True)
    table = pd.concat([two_modes, second])

    comparison = compare(table, QUICK, chosen_seeds={("net", "weak"): 7})

    cell = comparison.cell("net", "weak", "internal")
    assert cell is not None
    assert (cell.seed, cell.auc.value) == (7, 0.5)
    chosen = chosen_predictions(table, comparison)
    assert set(chosen.loc[chosen["mode"] == "weak", "seed"]) == {7}


def test_chosen_seed_without_predictions_is_an_error(two_modes: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"net-weak: seed 9 .* exist for \[0\] only"):
        compare(two_modes, QUICK, chosen_seeds={("net", "weak"): 9})


def test_missing_cell_is_named_with_its_reason_and_the_rest_compared(two_modes: pd.DataFrame) -> None:
    expected = {("net", "weak"): "", ("net", "manual_roi"): "", ("net", "auto_roi"): "the loss was not a number"}
    comparison = compare(two_modes, QUICK, expected=expected)

    assert [(cell.mode, cell.reason) for cell in comparison.missing] == [("auto_roi", "the loss was not a number")]
    assert comparison.modes == ("weak", "manual_roi", "auto_roi")
    assert len(comparison.pairs) == 1


def test_missing_weak_cell_leaves_the_full_modes() -> None:
    comparison = compare(cell_of("net", "manual_roi", FULL, LABELS), QUICK, expected=[("net", "weak"), ("net", "manual_roi")])

    assert comparison.pairs == ()
    assert comparison.best_weak is None
    assert [cell.mode for cell in comparison.cells] == ["manual_roi"]


def test_operating_points_come_from_the_development_split() -> None:
    development = [value / 2 for value in WEAK]
    table = pd.concat([cell_of("net", "weak", development, LABELS, split="development"), cell_of("net", "weak", WEAK, LABELS)])
    points = compare(table, QUICK).operating_points

    assert {point.split for point in points} == {"internal"}
    assert all(point.threshold in development for point in points)


def test_json_has_null_and_never_nan() -> None:
    table = pd.concat([cell_of("net", mode, [0.2, 0.7], [1, 1]) for mode in ("weak", "manual_roi")])
    text = json.dumps(compare(table, QUICK).to_json(), allow_nan=False)

    assert json.loads(text)["cells"][0]["auc"]["value"] is None


def test_cells_that_disagree_on_a_label_are_refused(two_modes: pd.DataFrame) -> None:
    two_modes.loc[0, "label"] = 1

    with pytest.raises(DataError, match=r"1 images have another label .* internal-000"):
        compare(two_modes, QUICK)


def test_cells_that_disagree_on_a_patient_are_refused(two_modes: pd.DataFrame) -> None:
    two_modes.loc[0, "patient_id"] = "somebody else"

    with pytest.raises(DataError, match=r"1 images have another patient .* internal-000"):
        compare(two_modes, QUICK)


def test_no_prediction_at_all_says_where_to_look() -> None:
    with pytest.raises(DataError, match="no cell of the study has finished"):
        compare(pd.DataFrame(), QUICK)


@pytest.mark.parametrize(("setting", "value"), [("margin", 0.0), ("confidence", 1.0), ("bootstrap", -1)])
def test_setting_outside_its_range_names_the_value(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{setting} .*got {value}"):
        ComparisonConfig(**{setting: value})
