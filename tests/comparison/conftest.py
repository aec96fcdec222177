"""What several tests of the evaluation start from."""

from __future__ import annotations

import pandas as pd
import pytest
from made_cells import FULL, LABELS, WEAK, cell_of


@pytest.fixture
def two_modes() -> pd.DataFrame:
    """The same images seen by a weak and by a fully supervised network."""
    return pd.concat([cell_of("net", "weak", WEAK, LABELS), cell_of("net", "manual_roi", FULL, LABELS)], ignore_index=True)
