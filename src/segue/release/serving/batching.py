"""Micro-batches: requests that come while others are answered are answered together, next.

Nobody waits for company unless ``wait_ms`` says so: a request that comes alone is answered at once, and under load the
batches grow by themselves, up to ``size``. The work runs in one thread of its own, so the event loop stays free.
"""

from __future__ import annotations

import asyncio
import contextlib
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
        self._queue: asyncio.Queue[Waiting[Asked, Told]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="segue-batch")
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Asked) -> Told:
        """Return the answer to a question; an error that it met is raised.

        A question whose asker has given up is not worked on.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((question, answer))
        return await answer

    async def close(self) -> None:
        """Stop; nobody may be waiting any more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            batch = await self._next()
            batch = [waiting for waiting in batch if not waiting[1].done()]
            if batch:
                await self._answer(batch)

    async def _next(self) -> list[Waiting[Asked, Told]]:
        """Wait for a question, and take those that are there by then."""
        loop = asyncio.get_running_loop()
        batch = [await self._queue.get()]
        until = loop.time() + self._wait
        while len(batch) < self._size:
            if not self._queue.empty():
                batch.append(self._queue.get_nowait())
                continue
            left = until - loop.time()
            if left <= 0:
                break
            with contextlib.suppress(TimeoutError):
                batch.append(await asyncio.wait_for(self._queue.get(), left))
        return batch

    async def _answer(self, batch: list[Waiting[Asked, Told]]) -> None:
        self._told(len(batch))
        questions = [question for question, _ in batch]
        loop = asyncio.get_running_loop()
        try:
            answers: Sequence[Told | Exception] = await loop.run_in_executor(self._thread, self._work, questions)
        except Exception as error:  # the askers' own handlers tell it
            answers = [error] * len(batch)
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
