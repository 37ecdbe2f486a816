"""Micro-batches: requests that come while others are answered are answered together, next.

Nobody waits for company unless ``wait_ms`` says so: a request that comes alone is answered at once, and under load the
batches grow by themselves, up to ``size``. The work runs in one thread of its own, so the event loop stays free.

Between the loop and the thread a batch changes hands twice and no task stands in between: each turn of the loop that
a hand-over takes is paid by every request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Told = TypeVar("Told")
Waiting = tuple[Asked, "asyncio.Future[Told]"]


class Batcher(Generic[Asked, Told]):
    """Answers questions in batches.

    Args:
        work: takes questions and returns an answer, or an error, for each; runs in the batcher's own thread.
        size: questions answered together, at most.
        wait_ms: how long the first of a batch waits for others.
        told: called with the size of every batch.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Asked]], Sequence[Told | Exception]],
        *,
        size: int,
        wait_ms: float = 0.0,
        told: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._work, self._size, self._wait, self._told = work, size, wait_ms / 1000, told
        self._waiting: list[Waiting[Asked, Told]] = []
        self._next: asyncio.Handle | None = None
        self._working = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="segue-batch")

    async def ask(self, question: Asked) -> Told:
        """Return the answer to a question; an error that it met is raised.

        A question whose asker has given up is not worked on.
        """
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        self._plan()
        return await answer

    async def close(self) -> None:
        """Stop; nobody may be waiting any more."""
        if self._next is not None:
            self._next.cancel()
        self._thread.shutdown(wait=False)

    def _plan(self) -> None:
        """Say when the next batch begins: in the loop's next turn once it is full or nobody has to wait."""
        if self._working or not self._waiting:
            return
        loop, full = asyncio.get_running_loop(), len(self._waiting) >= self._size
        if self._next is None:
            at_once = full or not self._wait
            self._next = loop.call_soon(self._begin) if at_once else loop.call_later(self._wait, self._begin)
        elif full and isinstance(self._next, asyncio.TimerHandle):
            self._next.cancel()
            self._next = loop.call_soon(self._begin)

    def _begin(self) -> None:
        """Hand the questions that are there to the thread, as many as a batch may have."""
        self._next = None
        batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        batch = [waiting for waiting in batch if not waiting[1].done()]
        if batch:
            self._working = True
            self._told(len(batch))
            self._thread.submit(self._answer, batch, asyncio.get_running_loop())
        else:
            self._plan()

    def _answer(self, batch: list[Waiting[Asked, Told]], loop: asyncio.AbstractEventLoop) -> None:
        """Answer a batch, in the thread."""
        try:
            answers: Sequence[Told | Exception] = self._work([question for question, _ in batch])
        except Exception as error:  # the askers' own handlers tell it
            answers = [error] * len(batch)
        loop.call_soon_threadsafe(self._tell, batch, answers)

    def _tell(self, batch: list[Waiting[Asked, Told]], answers: Sequence[Told | Exception]) -> None:
        """Tell the askers, and begin with those who came meanwhile."""
        self._working = False
        self._plan()
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
