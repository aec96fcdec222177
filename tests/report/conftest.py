"""One made study and its comparison, shared by the report's tests; reports are only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_study import BACKBONES, MODES, made_study

from wsus.comparison.compare import ComparisonConfig, compare
from wsus.comparison.result import Comparison
from wsus.report.inputs import ReportInputs
from wsus.report.write import write_report

FAILED = ("resnet34", "auto_roi")


@pytest.fixture(scope="session")
def study() -> ReportInputs:
    """Nine cells of which one failed."""
    return made_study(per_class=20, without=(FAILED,))


@pytest.fixture(scope="session")
def comparison(study: ReportInputs) -> Comparison:
    expected = {(backbone, mode): "" for backbone in BACKBONES for mode in MODES}
    expected[FAILED] = "the loss was not a number"
    return compare(study.predictions, ComparisonConfig(bootstrap=100), chosen_seeds=study.chosen_seeds, expected=expected)


@pytest.fixture(scope="session")
def report_dir(study: ReportInputs, comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report on disk; read it, do not change it."""
    folder = tmp_path_factory.mktemp("report") / "comparison"
    write_report(folder, study, comparison)
    return folder
