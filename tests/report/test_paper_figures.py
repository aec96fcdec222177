"""The embedded figures are the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsus.report.paper_figures import PAPER_SETS, paper_auc, paper_localised, paper_sensitivity, paper_specificity


def test_figures_stated_in_the_abstract_and_the_results() -> None:
    assert [paper_auc("external", "weak", name) for name in ("vgg16", "resnet34", "googlenet")] == [0.89, 0.86, 0.90]
    assert paper_sensitivity("external", "weak", "resnet34") == (78, 100)
    assert paper_specificity("internal", "weak", "googlenet") == (94, 100)
    assert paper_localised("external", "resnet34", 1) == (98, 100)
    assert PAPER_SETS["train"].lesion_size_mm == (15, 1, 69)


@pytest.mark.parametrize(
    "found", [paper_sensitivity("internal", "manual_roi", "vgg16"), paper_auc("internal", "weak", "resnet50")]
)
def test_what_the_paper_does_not_state_is_none(found: object) -> None:
    assert found is None


def test_order_figure_of_the_reference_is_here(test_reference_dir: Path) -> None:
    reference = json.loads((test_reference_dir / "paper_tables.json").read_text())

    for split, modes in reference["auc"].items():
        for mode, networks in modes.items():
            assert {name: paper_auc(split, mode, name) for name in networks} == networks
    for split in ("internal", "external"):
        for name, counts in reference["sensitivity"][split]["weak"].items():
            assert paper_sensitivity(split, "weak", name) == tuple(counts)
        for name, counts in reference["specificity"][split]["weak"].items():
            assert paper_specificity(split, "weak", name) == tuple(counts)
        for label, word in enumerate(("benign", "malignant")):
            for name, counts in reference["localisation_correct"][split][word].items():
                assert paper_localised(split, name, label) == tuple(counts)
