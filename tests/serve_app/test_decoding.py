"""A decoder that hangs, eats memory or dies is ended; the next image is decoded."""

import asyncio
from collections.abc import Callable
from typing import Any

import decoders
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


def test_a_pool_that_broke_is_opened_again() -> None:
    async def twice(pool: DecodePool) -> tuple[int, int]:
        first = await pool.run(decoders.answers, b"a", 0)
        assert pool._pool is not None
        pool._pool.stop()
        pool._pool.join()
        return first.value, (await pool.run(decoders.answers, b"ab", 0)).value

    assert in_pool(twice) == (1, 2)


def test_any_number_may_wait() -> None:
    """The ingress bounds them, together with the images that wait for their answer (`max_queue`)."""

    async def crowd(pool: DecodePool) -> list[int]:
        return [timed.value for timed in await asyncio.gather(*(pool.run(decoders.answers, b"", n) for n in range(40)))]

    assert in_pool(crowd) == list(range(40))
