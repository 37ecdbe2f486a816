"""Micro-batches: queries that arrive while a batch is answered form the next batch.

A query that arrives alone is answered at once; under load the batches grow by themselves, up to ``size``. The work runs
in a thread of its own, so the event loop stays free. The loop passes a batch to the thread by callback, without a task
in between: a task would cost every query another turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
Waiting = tuple[In, "asyncio.Future[Out]"]


class Batcher(Generic[In, Out]):
    """Answers queries in batches.

    Args:
        work: takes queries and returns a result, or an error, for each; runs in the batcher's own thread.
        size: queries answered together, at most.
        on_batch: called with the size of every batch.
    """

    def __init__(
        self,
        work: Callable[[Sequence[In]], Sequence[Out | Exception]],
        *,
        size: int,
        on_batch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._work, self._size, self._on_batch = work, size, on_batch
        self._waiting: list[Waiting[In, Out]] = []
        self._next: asyncio.Handle | None = None
        self._working = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="segue-batch")

    async def submit(self, query: In) -> Out:
        """Return the result of a query, or raise its error. A query whose caller was cancelled is not worked on."""
        result: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, result))
        self._schedule()
        return await result

    async def close(self) -> None:
        """Stop the thread; no query may be waiting."""
        if self._next is not None:
            self._next.cancel()
        self._thread.shutdown(wait=False)

    def _schedule(self) -> None:
        """Schedule the next batch for the loop's next turn, unless one is scheduled or being answered."""
        if self._waiting and self._next is None and not self._working:
            self._next = asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Pass the waiting queries to the thread, up to the size of a batch."""
        self._next = None
        batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        batch = [waiting for waiting in batch if not waiting[1].done()]
        if batch:
            self._working = True
            self._on_batch(len(batch))
            self._thread.submit(self._run, batch, asyncio.get_running_loop())
        else:
            self._schedule()

    def _run(self, batch: list[Waiting[In, Out]], loop: asyncio.AbstractEventLoop) -> None:
        """Answer a batch, in the thread."""
        try:
            results: Sequence[Out | Exception] = self._work([query for query, _ in batch])
        except Exception as error:  # raised where each query was submitted
            results = [error] * len(batch)
        loop.call_soon_threadsafe(self._deliver, batch, results)

    def _deliver(self, batch: list[Waiting[In, Out]], results: Sequence[Out | Exception]) -> None:
        """Resolve the futures of a batch, after scheduling the next one."""
        self._working = False
        self._schedule()
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
