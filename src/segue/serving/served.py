"""The bundle that is served, and changing it under load.

A request takes hold of one bundle and keeps it until it is answered. A change loads and verifies the new bundle beside
the old one, then new requests get the new one; the old one is let go when its last request is answered. A bundle that
cannot be loaded, or that lives in another space (the vectors that clients send would mean nothing there), is refused
and the old one stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from segue.bundles.answers import Answer
from segue.bundles.questions import Asking, Question
from segue.bundles.retriever import ReleasedRetriever
from segue.bundles.store import current_bundle
from segue.encoders.space import require_same
from segue.errors import InputError, SegueError
from segue.serving.batching import Batcher
from segue.serving.metrics import Metrics
from segue.serving.settings import Batching, ServeSettings

log = logging.getLogger("segue.serving")

Load = Callable[[Path], ReleasedRetriever]


class Served:
    """One bundle with its batches.

    Args:
        released: what answers.
        batching: how requests are answered together.
        metrics: what counts.
    """

    def __init__(self, released: ReleasedRetriever, batching: Batching, metrics: Metrics) -> None:
        self.released, self._metrics = released, metrics
        self.holders = 0
        self._texts: Batcher[Question, Asking] = Batcher(
            released.resolve_batch, size=batching.size, wait_ms=batching.wait_ms,
            told=metrics.batches.labels("texts").observe,
        )  # fmt: skip
        self._answers: Batcher[Question | Asking, Answer] = Batcher(
            self._answer, size=batching.size, wait_ms=batching.wait_ms,
            told=metrics.batches.labels("answers").observe,
        )  # fmt: skip

    async def next(self, question: Question) -> Answer:
        """Answer one question; texts are encoded in one thread while others are searched in another."""
        if question.text is None and question.passages is None:
            return await self._answers.ask(question)
        began = perf_counter()
        asking = await self._texts.ask(question)
        encoded = {"encode": 1000 * (perf_counter() - began)}
        answer = await self._answers.ask(asking)
        return replace(answer, milliseconds={**encoded, **answer.milliseconds})

    def _answer(self, asked: Sequence[Question | Asking]) -> list[Answer | Exception]:
        """Answer a batch, resolving what nothing has to be encoded for."""
        resolved = [one if isinstance(one, Asking) else self._resolved(one) for one in asked]
        good = [one for one in resolved if isinstance(one, Asking)]
        answers = iter(self.released.answer(good))
        found: list[Answer | Exception] = [next(answers) if isinstance(one, Asking) else one for one in resolved]
        self._time(found)
        return found

    def _resolved(self, question: Question) -> Asking | InputError:
        try:
            return self.released.resolve(question)
        except InputError as error:
            return error

    def _time(self, found: Sequence[Answer | Exception]) -> None:
        first = next((one for one in found if isinstance(one, Answer)), None)
        for stage, milliseconds in (first.milliseconds if first else {}).items():
            self._metrics.stages.labels(stage).observe(milliseconds / 1000)

    async def close(self) -> None:
        """Stop the threads; no request may hold it any more."""
        await self._texts.close()
        await self._answers.close()


class Current:
    """Which bundle new requests get.

    Args:
        path: a bundle, or a folder of bundles.
        load: reads a bundle.
        batching: how requests are answered together.
        metrics: what counts.
    """

    def __init__(self, path: Path, load: Load, batching: Batching, metrics: Metrics) -> None:
        self.path, self._load, self._batching, self._metrics = path, load, batching, metrics
        self._served: Served | None = None
        self._loaded: Path | None = None
        self._changing = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def released(self) -> ReleasedRetriever | None:
        """What answers now; None before the first bundle is loaded."""
        return None if self._served is None else self._served.released

    def begin(self) -> ReleasedRetriever:
        """Load the first bundle, in the caller's thread.

        Raises:
            SegueError: it cannot be loaded.
        """
        self._loaded = current_bundle(self.path)
        released = self._load(self._loaded)
        self._take(released)
        return released

    def _take(self, released: ReleasedRetriever) -> None:
        self._served = Served(released, self._batching, self._metrics)
        self._metrics.serves(released.bundle.version, str(released.bundle.contract["name"]))

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[Served]:
        """Keep the bundle that is current now until the block ends."""
        served = self._served
        assert served is not None, "requests are taken when a bundle is loaded"
        served.holders += 1
        try:
            yield served
        finally:
            served.holders -= 1

    async def change(self, *, forced: bool = False) -> bool:
        """Change over to the folder's current bundle where that is another one; ``forced`` reads the same one again.

        Returns:
            Whether another bundle is served now.
        """
        async with self._changing:
            try:
                wanted = current_bundle(self.path)
                if wanted == self._loaded and not forced:
                    return False
                released = await asyncio.get_running_loop().run_in_executor(None, self._load, wanted)
                assert self.released is not None
                require_same(self.released.bundle.bank.space, released.bundle.bank.space,
                             "the bundle that is served and the new one")  # fmt: skip
            except SegueError as error:
                log.error("the bundle was not changed: %s", error)
                self._metrics.swaps.labels("refused").inc()
                return False
            before = self._served
            self._loaded = wanted
            self._take(released)
            self._metrics.swaps.labels("done").inc()
            log.warning("serving bundle %s", released.bundle.version)
            self._let_go(before)
            return True

    async def watch(self, seconds: float) -> None:
        """Change over whenever the folder names another bundle."""
        refused: Path | None = None
        while True:
            await asyncio.sleep(seconds)
            with contextlib.suppress(SegueError):
                wanted = current_bundle(self.path)
                if wanted not in (self._loaded, refused):  # one that was refused is not tried every second
                    refused = None if await self.change() else wanted

    def _let_go(self, served: Served | None) -> None:
        async def leave() -> None:
            assert served is not None
            while served.holders:
                await asyncio.sleep(0.05)
            await served.close()

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Let go of the bundle."""
        if self._served is not None:
            await self._served.close()


@dataclass
class Server:
    """What the parts of one server share.

    Attributes:
        settings: the server's.
        current: which bundle is served.
        metrics: what counts.
        draining: True from SIGTERM on: no longer ready, and connections are not kept.
    """

    settings: ServeSettings
    current: Current
    metrics: Metrics
    draining: bool = False
    tasks: set[Any] = field(default_factory=set)
