"""Submit a command to a cluster through Ray's Jobs API, follow its log, and end as it ended; list, read and stop jobs."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cluster.token import has_token, use_token
from cluster.versions import EXPECTED
from wsus.errors import ConfigError, UnknownNameError
from wsus.versions import own_versions

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_NO_AGENT, _AGENT_S = "No available agent to submit job", 60.0  # Ray's words, and how long they may hold


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job. started, ended: ISO times, None where it has not.  exit_status: of its command, once it ended by itself."""

    id: str
    status: str
    entrypoint: str
    started: str | None
    ended: str | None
    exit_status: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.id}  {self.status.lower():<9}  {self.started or '-':<25}  {self.entrypoint}"


def submit(
    address: str, arguments: Sequence[str], *, environment: Mapping[str, str], write: Callable[[str], None], wait: bool = True
) -> tuple[str, int | None]:
    """Run `wsus ARGUMENTS` on the cluster.

    The job refuses to begin where its versions are not this client's.

    Args:
        address: of the dashboard, as http://127.0.0.1:8265.
        environment: variables that the job gets.
        write: takes the log, as it comes.
    Returns:
        The job's id, and the exit status of its command; None where it is not waited for.
    Raises:
        ConfigError: nobody answers there, the token is missing or wrong, or the job could not begin.
    """
    variables = {**environment, EXPECTED: json.dumps(own_versions(), sort_keys=True)}
    entrypoint = shlex.join(["python", "-m", "wsus", *arguments])
    with _client(address) as client:
        job = _submitted(client, entrypoint=entrypoint, runtime_env={"env_vars": variables})
    write(f"job {job}: {entrypoint}\n")
    if not wait:
        return job, None
    return job, _followed(client, address, job, write)


def _submitted(client: Any, **request: Any) -> str:
    """The new job's id. A head that has just started answers before its agent, which begins jobs, is there: it is waited for."""
    deadline = time.monotonic() + _AGENT_S
    while True:
        try:
            return str(client.submit_job(**request))
        except RuntimeError as error:
            if _NO_AGENT not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(1)


def attach(address: str, job: str, write: Callable[[str], None]) -> int:
    """Follow the log of a job, from its beginning, to its end; its exit status.

    Raises:
        ConfigError: as `submit`; or the job was stopped.  UnknownNameError: no such job.
    """
    with _client(address) as client:
        _known(client, job)
    return _followed(client, address, job, write)


def jobs(address: str) -> list[Job]:
    """The jobs of a cluster that were submitted, the newest first. Raises ConfigError as `submit`."""
    with _client(address) as client:
        listed = [info for info in client.list_jobs() if info.submission_id]
    return sorted((_job(info) for info in listed), key=lambda job: job.started or "", reverse=True)


def log_of(address: str, job: str) -> str:
    """What a job has written so far. Raises as `attach`."""
    with _client(address) as client:
        _known(client, job)
        text: str = client.get_job_logs(job)
    return text


def cancel(address: str, job: str) -> Job:
    """Ask a job to stop: its driver gets SIGTERM. One that has ended is left as it is. Raises as `attach`."""
    with _client(address) as client:
        if _known(client, job).status not in ENDED:
            client.stop_job(job)
        return _known(client, job)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Ray's client of the Jobs API; what it refuses is said in one line."""
    if has_token():
        use_token()
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        yield JobSubmissionClient(address)
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{address}: the Jobs API refused ({first}); check --address, and the token in ~/.ray/auth_token"
        ) from error


def _known(client: Any, job: str) -> Job:
    """Raises UnknownNameError."""
    found = {info.submission_id: info for info in client.list_jobs() if info.submission_id}
    if job not in found:
        raise UnknownNameError("job", job, sorted(found))
    return _job(found[job])


def _job(info: Any) -> Job:
    return Job(
        id=info.submission_id,
        status=str(info.status.value),
        entrypoint=info.entrypoint,
        started=_iso(info.start_time),
        ended=_iso(info.end_time),
        exit_status=info.driver_exit_code,
        message=(info.message or "").strip(),
    )


def _iso(time_ms: int | None) -> str | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds") if time_ms else None


def _followed(client: Any, address: str, job: str, write: Callable[[str], None]) -> int:
    """Where this process is interrupted, the job goes on."""
    try:
        asyncio.run(_follow(client, job, write))
    except KeyboardInterrupt:
        own = f"{job} --address {address}"
        raise KeyboardInterrupt(
            f"job {job} goes on: `wsus cluster attach {own}` shows it, `wsus cluster cancel {own}` ends it"
        ) from None
    return _exit_status(client, job)


async def _follow(client: Any, job: str, write: Callable[[str], None]) -> None:
    async for lines in client.tail_job_logs(job):
        write(lines)


def _exit_status(client: Any, job: str) -> int:
    info = client.get_job_info(job)
    if str(info.status) == "SUCCEEDED":
        return 0
    if info.driver_exit_code:
        return int(info.driver_exit_code)
    raise ConfigError(f"job {job}: {info.status}: {info.message}")
