"""The report of `make chaos`, at the end of pytest's output and in the file that WSUS_CHAOS_REPORT names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chaos_report import LINES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the report, whether tests failed or not."""
    if LINES:
        terminalreporter.section("what chaos did")
        terminalreporter.write_line("\n".join(LINES))
        if os.environ.get("WSUS_CHAOS_REPORT"):
            Path(os.environ["WSUS_CHAOS_REPORT"]).write_text("\n".join(LINES) + "\n")
