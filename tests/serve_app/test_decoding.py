"""A decoder that hangs, eats memory or dies is ended; the next image is decoded."""

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import decoders
import numpy as np
import pytest

from serve_app.decoding import DecodePool
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


@pytest.mark.parametrize(
    ("decode", "reason"),
    [(decoders.sleeps, "decode_timeout"), (decoders.eats_memory, "decode_failed"), (decoders.dies, "decode_failed")],
)
def test_it_is_ended_and_said(decode: Callable[[bytes, int], Any], reason: str) -> None:
    with pytest.raises(ProblemError) as caught:
        in_pool(lambda pool: pool.run(decode, b"", 0))
    assert (caught.value.status_code, caught.value.reason) == (422, reason)


def test_a_result_comes_from_another_process() -> None:
    timed = in_pool(lambda pool: pool.run(decoders.answers, b"abc", 4))
    assert timed.value == 7
    assert timed.seconds > 0


def test_a_decoder_that_died_while_it_was_idle_is_replaced() -> None:
    async def twice(pool: DecodePool) -> tuple[int, int]:
        first = await pool.run(decoders.answers, b"a", 0)
        (idle,) = pool._idle
        idle._process.kill()
        idle._process.join()
        return first.value, (await pool.run(decoders.answers, b"ab", 0)).value

    assert in_pool(twice) == (1, 2)


def test_arrays_come_back_as_they_were() -> None:
    drawn = in_pool(lambda pool: pool.run(decoders.draws, b"", 6)).value
    np.testing.assert_array_equal(drawn, [[1, 0], [3, 2], [5, 4]])


def test_a_decoder_that_was_taken_over_cannot_have_code_run_here(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(pickle.UnpicklingError, match=r"posix\.mkdir"):
        in_pool(lambda pool: pool.run(decoders.attacks, str(made).encode(), 0))
    assert not made.exists()


def test_a_defect_of_a_decoder_is_raised_with_its_place() -> None:
    async def twice(pool: DecodePool) -> int:
        with pytest.raises(RuntimeError, match=r"decoders\.py(.|\n)*ZeroDivisionError"):
            await pool.run(decoders.fails, b"", 0)
        return (await pool.run(decoders.fails, b"", 1)).value

    assert in_pool(twice) == 1


def test_who_goes_away_leaves_nothing_for_the_next() -> None:
    async def one_goes(pool: DecodePool) -> int:
        gone = asyncio.create_task(pool.run(decoders.waits, b"", 1))
        await asyncio.sleep(0.1 + (await pool.run(decoders.answers, b"", 0)).seconds)
        gone.cancel()
        return (await pool.run(decoders.answers, b"ab", 0)).value

    assert in_pool(one_goes) == 2


def test_any_number_may_wait() -> None:
    """The ingress bounds them, together with the images that wait for their answer (`max_queue`)."""

    async def crowd(pool: DecodePool) -> list[int]:
        return [timed.value for timed in await asyncio.gather(*(pool.run(decoders.answers, b"", n) for n in range(40)))]

    assert in_pool(crowd) == list(range(40))
