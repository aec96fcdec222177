"""Batches form while others are at work; nobody waits for company, and nobody is lost."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from serve_app.batching import Batcher


class Work:
    """Answers with the negative, once it is let go; keeps the batches that it saw."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: list[str] = []
        self.may_end = threading.Event()

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.batches.append(list(questions))
        self.threads.append(threading.current_thread().name)
        assert self.may_end.wait(10)
        if 13 in questions:
            raise ValueError("thirteen")
        return [-question for question in questions]


def run(
    test: Callable[[Batcher[int, int], Work], Awaitable[None]],
    *,
    max_batch_size: int = 3,
    lanes: int = 1,
    heavy: Callable[[int], bool] = lambda _: False,
) -> Work:
    async def within() -> None:
        work.may_end.clear()
        batcher = Batcher(work, max_batch_size=max_batch_size, lanes=lanes, heavy=heavy)
        await test(batcher, work)
        batcher.close()

    work = Work()
    asyncio.run(within())
    return work


async def asked(batcher: Batcher[int, int], *questions: int) -> list[asyncio.Task[int]]:
    """Each asked on its own, in this order, before anything is answered."""
    tasks = [asyncio.create_task(batcher.ask(question)) for question in questions]
    await asyncio.sleep(0.01)
    return tasks


@pytest.mark.parametrize(
    ("lanes", "batches"),
    [
        (1, [[1], [2, 3, 4], [5, 6]]),  # one starts at once, the others wait for it together, three at most
        (2, [[1], [2], [3, 4, 5], [6]]),  # both hands are taken, then whoever is free first takes as many as it may
    ],
)
def test_those_who_come_while_all_are_busy_are_answered_together(lanes: int, batches: list[list[int]]) -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        tasks = await asked(batcher, 1, 2, 3, 4, 5, 6)
        work.may_end.set()
        assert await asyncio.gather(*tasks) == [-1, -2, -3, -4, -5, -6]

    assert sorted(run(test, lanes=lanes).batches) == batches  # two lanes may begin in either order


def test_the_lane_that_ended_last_is_the_next_to_begin() -> None:
    """So that one client alone keeps to one thread, however many were at work before."""

    async def test(batcher: Batcher[int, int], work: Work) -> None:
        tasks = await asked(batcher, 1, 2, 3, 4)
        work.may_end.set()
        await asyncio.gather(*tasks)
        for question in (5, 6, 7, 8):
            await batcher.ask(question)

    work = run(test, max_batch_size=1, lanes=2)
    assert len(set(work.threads[:4])) == 2
    assert len(set(work.threads[4:])) == 1


def test_a_failure_is_that_of_its_batch_alone() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        tasks = await asked(batcher, 1, 13, 2, 3, 4)
        work.may_end.set()
        first, *failed, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert (first, last) == (-1, -4)
        assert [str(error) for error in failed] == ["thirteen"] * 3

    run(test)


def test_who_has_gone_away_is_not_worked_for() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        tasks = await asked(batcher, 1, 2, 3)
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        work.may_end.set()
        assert await asyncio.gather(tasks[0], tasks[2]) == [-1, -3]

    assert run(test).batches == [[1], [3]]


def test_who_goes_away_in_the_middle_of_the_work_disturbs_nobody() -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        (first, *_) = await asked(batcher, 1)
        first.cancel()
        await asyncio.sleep(0.01)
        work.may_end.set()
        assert await batcher.ask(2) == -2

    assert run(test).batches == [[1], [2]]


@pytest.mark.parametrize(
    ("lanes", "batches"),
    [
        (2, [[100], [1], [2, 3, 4], [101]]),  # the second heavy one waits, though its lane is free sooner for others
        (1, [[100], [101], [1, 2, 3], [4]]),  # one lane takes them as they come
    ],
)
def test_heavy_questions_are_batches_of_their_own_and_leave_a_lane_to_others(lanes: int, batches: list[list[int]]) -> None:
    async def test(batcher: Batcher[int, int], work: Work) -> None:
        tasks = await asked(batcher, 100, 101, 1, 2, 3, 4)
        assert work.batches == batches[:lanes]
        work.may_end.set()
        assert await asyncio.gather(*tasks) == [-100, -101, -1, -2, -3, -4]

    work = run(test, lanes=lanes, heavy=lambda question: question >= 100)
    assert sorted(work.batches[lanes:]) == sorted(batches[lanes:])
