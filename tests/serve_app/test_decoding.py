"""A decoder that hangs, eats memory, dies or sends nonsense is ended; the next image is decoded."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import decoders
import pytest

from serve_app.decoding import DecodePool, Timed
from serve_app.problems import ProblemError
from serve_app.settings import Limits

LIMITS = Limits(decode_timeout_s=1.0, decode_memory_bytes=1024 * 1024 * 1024)


def in_pool(do: Callable[[DecodePool], Any]) -> Any:
    async def inside() -> Any:
        pool = DecodePool(LIMITS, workers=1, preload="decoders")
        try:
            return await do(pool)
        finally:
            pool.close()

    return asyncio.run(inside())


async def run(pool: DecodePool, decode: Callable[..., Any], content: bytes = b"", frame: int = 0) -> Timed[Any]:
    return await pool.run(decode, content, frame, read=lambda value, pieces: (value, *pieces), most_bytes=1000)


async def value(pool: DecodePool, decode: Callable[..., Any], content: bytes = b"", frame: int = 0) -> Any:
    return (await run(pool, decode, content, frame)).value[0]


@pytest.mark.parametrize(
    ("decode", "reason"),
    [
        (decoders.sleeps, "decode_timeout"),
        (decoders.eats_memory, "decode_failed"),
        (decoders.dies, "decode_failed"),
        (decoders.too_long, "decode_failed"),
    ],
)
def test_it_is_ended_and_said(decode: Callable[..., Any], reason: str) -> None:
    with pytest.raises(ProblemError) as caught:
        in_pool(lambda pool: run(pool, decode))
    assert (caught.value.status_code, caught.value.reason) == (422, reason)


def test_a_result_comes_from_another_process() -> None:
    timed = in_pool(lambda pool: run(pool, decoders.answers, b"abc", 4))
    assert timed.value == (7,)
    assert timed.seconds > 0


def test_pieces_come_back_as_they_were() -> None:
    assert in_pool(lambda pool: run(pool, decoders.pieces, b"abcdef", 2)).value == ({"frame": 2}, b"ab", b"cdef", b"")


@pytest.mark.parametrize("which", range(7))
def test_a_decoder_that_was_taken_over_is_ended(which: int) -> None:
    async def then_another(pool: DecodePool) -> int:
        with pytest.raises(ProblemError) as caught:
            await run(pool, decoders.sends_nonsense, b"", which)
        assert caught.value.reason == "decode_failed"
        assert pool._idle == []
        return int(await value(pool, decoders.answers, b"ab"))

    assert in_pool(then_another) == 2


def test_what_its_caller_does_not_take_ends_it() -> None:
    def refuse(value: Any, pieces: Any) -> None:
        raise ValueError(value)

    async def refused(pool: DecodePool) -> list[Any]:
        with pytest.raises(ProblemError, match="decode"):
            await pool.run(decoders.answers, b"", 0, read=refuse, most_bytes=0)
        return pool._idle

    assert in_pool(refused) == []


def test_a_decoder_that_died_while_it_was_idle_is_replaced() -> None:
    async def twice(pool: DecodePool) -> tuple[int, int]:
        first = await value(pool, decoders.answers, b"a")
        (idle,) = pool._idle
        idle._process.kill()
        idle._process.join()
        return first, await value(pool, decoders.answers, b"ab")

    assert in_pool(twice) == (1, 2)


def test_a_defect_of_a_decoder_is_raised_with_its_place() -> None:
    async def twice(pool: DecodePool) -> int:
        with pytest.raises(RuntimeError, match=r"decoders\.py(.|\n)*ZeroDivisionError"):
            await run(pool, decoders.fails)
        return int(await value(pool, decoders.fails, b"", 1))

    assert in_pool(twice) == 1


def test_who_goes_away_leaves_nothing_for_the_next() -> None:
    async def one_goes(pool: DecodePool) -> int:
        await value(pool, decoders.answers)
        gone = asyncio.create_task(run(pool, decoders.waits, b"", 1))
        await asyncio.sleep(0.1)
        gone.cancel()
        return int(await value(pool, decoders.answers, b"ab"))

    assert in_pool(one_goes) == 2


def test_closing_ends_what_is_at_work() -> None:
    async def closed(pool: DecodePool) -> int:
        await value(pool, decoders.answers)
        at_work = asyncio.create_task(run(pool, decoders.sleeps))
        await asyncio.sleep(0.1)
        pool.close()
        with pytest.raises(ProblemError) as caught:
            await at_work
        assert caught.value.reason == "decode_failed"
        assert pool._idle == []
        return int(await value(pool, decoders.answers, b"ab"))

    assert in_pool(closed) == 2


def test_no_decoder_outlives_a_server_that_was_killed(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    program = f"""
import asyncio, decoders
from serve_app.decoding import DecodePool
from serve_app.settings import Limits
async def main():
    pool = DecodePool(Limits(decode_timeout_s=1.0), workers=1, preload="decoders")
    await pool.run(decoders.notes_its_process, {str(noted).encode()!r}, 10, read=print, most_bytes=0)
if __name__ == "__main__":
    asyncio.run(main())
"""
    (tmp_path / "server.py").write_text(program)
    path = os.pathsep.join([str(Path(decoders.__file__).parent), *sys.path])
    server = subprocess.Popen([sys.executable, tmp_path / "server.py"], env={**os.environ, "PYTHONPATH": path})
    until(noted.exists)
    server.send_signal(signal.SIGKILL)
    server.wait()
    until(lambda: not Path(f"/proc/{noted.read_text()}").exists())


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_any_number_may_wait() -> None:
    """The ingress bounds them, together with the images that wait for their answer (`max_queue`)."""

    async def crowd(pool: DecodePool) -> list[int]:
        return list(await asyncio.gather(*(value(pool, decoders.answers, b"", n) for n in range(40))))

    assert in_pool(crowd) == list(range(40))
