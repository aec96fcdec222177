"""What is said of a trial that failed, from what Ray and Tune say of it."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

from tune_jobs.results import last_failure
from wsus.errors import TrainingDivergedError

OUT_OF_REACH = "its process or its node is gone or out of reach ("
TRACEBACK = "Traceback (most recent call last):\n  ...\nTrainingDivergedError: lower lr"
RAISED = RayTaskError("setup", TRACEBACK, TrainingDivergedError("lower lr"))


def error_file(*errors: object) -> str:
    """As Tune writes it."""
    return "".join(f"Failure # {i} (occurred at 2026-01-01_00-00-00)\n{error}\n" for i, error in enumerate(errors, start=1))


@pytest.mark.parametrize("error", [ActorDiedError(), ActorUnavailableError("Socket closed", None)])
def test_a_trial_that_was_lost_is_said_to_be_lost(error: RayActorError) -> None:
    said = last_failure(error_file(RAISED, error))
    assert said.startswith(OUT_OF_REACH)
    assert str(error) in said


@pytest.mark.parametrize("error", [RAISED, ActorDiedError(RAISED)])
def test_what_a_trial_raised_is_said_in_its_own_words(error: Exception) -> None:
    assert last_failure(error_file(ActorDiedError(), error)) == "TrainingDivergedError: lower lr"


def test_an_error_of_the_driver_is_said_as_it_is() -> None:
    assert last_failure(error_file(RAISED, "No space left on device")) == "No space left on device"
