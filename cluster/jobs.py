"""Submit a command to a cluster through Ray's Jobs API, follow its log, and end as it ended."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable, Mapping, Sequence

from cluster.token import has_token, use_token
from cluster.versions import EXPECTED
from wsus.errors import ConfigError
from wsus.versions import own_versions


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
    if has_token():
        use_token()
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    variables = {**environment, EXPECTED: json.dumps(own_versions(), sort_keys=True)}
    entrypoint = shlex.join(["python", "-m", "wsus", *arguments])
    try:
        client = JobSubmissionClient(address)
        job = client.submit_job(entrypoint=entrypoint, runtime_env={"env_vars": variables})
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{address}: the Jobs API refused ({first}); check --address, and the token in ~/.ray/auth_token"
        ) from error
    write(f"job {job}: {entrypoint}\n")
    if not wait:
        return job, None
    try:
        asyncio.run(_follow(client, job, write))
    except KeyboardInterrupt:
        own = f"--address {address} {job}"
        raise KeyboardInterrupt(
            f"job {job} goes on: `ray job logs --follow {own}` shows it, `ray job stop {own}` ends it"
        ) from None
    return job, _exit_status(client, job)


async def _follow(client: object, job: str, write: Callable[[str], None]) -> None:
    async for lines in client.tail_job_logs(job):  # type: ignore[attr-defined]
        write(lines)


def _exit_status(client: object, job: str) -> int:
    info = client.get_job_info(job)  # type: ignore[attr-defined]
    if str(info.status) == "SUCCEEDED":
        return 0
    if info.driver_exit_code:
        return int(info.driver_exit_code)
    raise ConfigError(f"job {job}: {info.status}: {info.message}")
