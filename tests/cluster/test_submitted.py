"""A job is handed over to a head whose agent is still starting; what else the Jobs API refuses is not asked for again."""

import pytest

import cluster.jobs as jobs

NO_AGENT = "Request failed with status code 500: No available agent to submit job, please try again later.."


class Client:
    """Ray's client as far as this needs it: a server's answers, in their order."""

    def __init__(self, *answers: str | RuntimeError) -> None:
        self.answers = list(answers)

    def submit_job(self, **request: object) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)


def test_an_agent_that_is_starting_is_waited_for() -> None:
    assert jobs._submitted(Client(RuntimeError(NO_AGENT), RuntimeError(NO_AGENT), "job"), entrypoint="x") == "job"


def test_waiting_for_an_agent_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_AGENT_S", -1.0)
    with pytest.raises(RuntimeError, match="No available agent"):
        jobs._submitted(Client(RuntimeError(NO_AGENT), "job"), entrypoint="x")


def test_another_refusal_is_raised_at_once() -> None:
    client = Client(RuntimeError("status code 400: no such entrypoint"), "job")
    with pytest.raises(RuntimeError, match="no such entrypoint"):
        jobs._submitted(client, entrypoint="x")
    assert client.answers == ["job"]
