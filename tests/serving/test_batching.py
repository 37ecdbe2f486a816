"""Micro-batches: nobody waits without need, nobody is answered twice, and an error meets its own asker only."""

import asyncio
import threading

import pytest

from segue.errors import InputError
from segue.serving.batching import Batcher


class Work:
    """Doubles numbers, refuses negative ones, notes its batches, and holds each until it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.let_go = threading.Event(), threading.Event()
        if not held:
            self.let_go.set()

    def __call__(self, asked):
        self.batches.append(list(asked))
        self.begun.set()
        self.let_go.wait()
        return [InputError(f"{one} is negative") if one < 0 else 2 * one for one in asked]


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 20))


async def begun(work: Work) -> None:
    while not work.begun.is_set():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("size", "batches"), [(8, [[1, 2, 3, 4, 5]]), (2, [[1, 2], [3, 4], [5]])])
def test_what_is_asked_together_is_answered_together_up_to_the_size(size, batches):
    work, sizes = Work(), []

    async def scenario():
        batcher = Batcher(work, size=size, on_batch=sizes.append)
        found = await asyncio.gather(*(batcher.submit(number) for number in (1, 2, 3, 4, 5)))
        await batcher.close()
        return found

    assert run(scenario()) == [2, 4, 6, 8, 10]
    assert work.batches == batches
    assert sizes == [len(batch) for batch in batches]


def test_one_that_comes_alone_waits_for_nobody_and_later_ones_are_the_next_batch():
    work = Work(held=True)

    async def scenario():
        batcher = Batcher(work, size=8)
        first = asyncio.create_task(batcher.submit(1))
        await begun(work)
        others = [asyncio.create_task(batcher.submit(number)) for number in (2, 3)]
        await asyncio.sleep(0)  # both have begun to wait
        work.let_go.set()
        return await asyncio.gather(first, *others)

    assert run(scenario()) == [2, 4, 6]
    assert work.batches == [[1], [2, 3]]


def test_an_error_meets_its_own_asker_and_one_of_the_whole_batch_meets_all():
    async def scenario(work):
        batcher = Batcher(work, size=8)
        return await asyncio.gather(*(batcher.submit(number) for number in (1, -1, 2)), return_exceptions=True)

    first, refused, last = run(scenario(Work()))
    assert (first, last) == (2, 4)
    assert isinstance(refused, InputError)

    def broken(asked):
        raise RuntimeError("broken")

    assert [str(one) for one in run(scenario(broken))] == ["broken"] * 3


def test_one_that_has_given_up_is_not_worked_on():
    work = Work(held=True)

    async def scenario():
        batcher = Batcher(work, size=8)
        first = asyncio.create_task(batcher.submit(1))
        await begun(work)
        gone, stays = (asyncio.create_task(batcher.submit(number)) for number in (2, 3))
        await asyncio.sleep(0)  # both have begun to wait
        gone.cancel()
        work.let_go.set()
        return await asyncio.gather(first, stays)

    assert run(scenario()) == [2, 6]
    assert work.batches == [[1], [3]]
