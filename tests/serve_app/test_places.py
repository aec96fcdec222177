"""Who is let in: one image at once, batches by turns, and nobody who went away keeps a place."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serve_app.places import Batch, Places
from serve_app.problems import ProblemError


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


async def one_of(batch: Batch, name: str, order: list[str], go: asyncio.Event) -> None:
    async with batch.place():
        order.append(name)
        await go.wait()


def test_batches_take_turns_whoever_came_first() -> None:
    async def test() -> None:
        places, order, go = Places(2, most_batches=4, retry_after_s=2), list[str](), asyncio.Event()
        with places.batch() as first, places.batch() as second:
            tasks = [asyncio.create_task(one_of(first, "first", order, go)) for _ in range(5)]
            await asyncio.sleep(0)
            tasks += [asyncio.create_task(one_of(second, "second", order, go)) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert order == ["first", "first"]
            go.set()
            await asyncio.gather(*tasks)
        assert order[2:8] == ["second", "first"] * 3

    run(test)


def test_batches_leave_places_for_single_images() -> None:
    async def test() -> None:
        places, order, go = Places(8, most_batches=1, retry_after_s=2), list[str](), asyncio.Event()
        with places.batch() as batch:
            tasks = [asyncio.create_task(one_of(batch, "x", order, go)) for _ in range(20)]
            await asyncio.sleep(0.01)
            assert len(order) == 6
            with places.one(), places.one(), pytest.raises(ProblemError, match="all predictors are busy"), places.one():
                pass
            with pytest.raises(ProblemError, match="all predictors are busy"), places.batch():
                pass
            go.set()
            await asyncio.gather(*tasks)

    run(test)


@pytest.mark.parametrize("waiting", [True, False])
def test_whoever_goes_away_leaves_no_place_taken(waiting: bool) -> None:
    async def test() -> None:
        places, order, go = Places(1, most_batches=2, retry_after_s=2), list[str](), asyncio.Event()
        with places.batch() as batch:
            inside = asyncio.create_task(one_of(batch, "inside", order, go))
            waits = asyncio.create_task(one_of(batch, "waits", order, go))
            await asyncio.sleep(0.01)
            gone = waits if waiting else inside
            gone.cancel()
            await asyncio.sleep(0.01)
            go.set()
            await asyncio.gather(inside, waits, return_exceptions=True)
            async with batch.place():
                pass
        with places.one():
            pass

    run(test)


def test_a_place_given_to_one_who_is_just_cancelled_is_free_again() -> None:
    async def test() -> None:
        places, order, go = Places(1, most_batches=2, retry_after_s=2), list[str](), asyncio.Event()
        with places.batch() as batch:
            inside = asyncio.create_task(one_of(batch, "inside", order, go))
            waits = asyncio.create_task(one_of(batch, "waits", order, go))
            await asyncio.sleep(0.01)
            go.set()
            await inside  # gives its place to the other, which has not run since
            waits.cancel()
            await asyncio.gather(waits, return_exceptions=True)
        with places.one():
            pass

    run(test)
