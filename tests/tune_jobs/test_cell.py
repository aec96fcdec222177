"""What a trial's epochs say of it: by which figure it is ranked, and which one is printed of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tune_jobs.cell import TrialOutcome
from tune_jobs.compute import Compute
from tune_jobs.ended import TrialEnd
from tune_jobs.study import Cell, Trial
from wsus.types import Mode


def test_trial_is_ranked_by_the_smoothed_auc_and_told_by_that_of_its_weights() -> None:
    """The weights of epoch 3 were kept, for a mean of 0.85 over three epochs; alone they reach 0.8."""
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4],
            "development_auc": [0.82, 0.93, 0.8, 0.7],
            "best_auc": [0.82, 0.84, 0.85, 0.85],
            "best_epoch": [1, 2, 3, 3],
        }
    )
    outcome = TrialOutcome(
        trial=Trial(cell=Cell(backbone="vgg16", mode=Mode.WEAK), seed=0, sample=0, hyper={}),
        checkpoint=Path("checkpoint"),
        history=history,
        compute=Compute(),
        end=TrialEnd(epochs=4, planned=4, why="epochs"),
    )

    assert (outcome.best_auc, outcome.best_epoch, outcome.development_auc) == (0.85, 3, 0.8)
