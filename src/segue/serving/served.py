"""The state of a server: the bundle it serves, how that changes under load, and what it counts.

A request holds one bundle until it is answered. The old bundle answers while a new one is loaded and verified; then
new requests get the new one, and the old one is closed after its last request. A bundle that cannot be loaded, or
whose vectors are of another space (so clients' vectors would mean nothing), is refused and the old one stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from segue.bundles.answers import Answer
from segue.bundles.queries import Query, ResolvedQuery
from segue.bundles.released_retriever import ReleasedRetriever
from segue.bundles.store import current_bundle
from segue.encoders.space import require_same
from segue.errors import InputError, SegueError
from segue.serving.batching import Batcher
from segue.serving.settings import MULTIPROCESS, ServeSettings

log = logging.getLogger("segue.serving")

Load = Callable[[Path], ReleasedRetriever]
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Prometheus metrics of one server; where workers share it, in files of PROMETHEUS_MULTIPROC_DIR."""

    def __init__(self) -> None:
        self._served: tuple[str, str] | None = None
        self.registry = to = CollectorRegistry()
        self.requests = Counter("segue_requests", "Requests answered", ["route", "status"], registry=to)
        self.seconds = Histogram("segue_request_seconds", "From the request's first byte to the answer", ["route"],
                                 buckets=SECONDS, registry=to)  # fmt: skip
        self.stages = Histogram("segue_stage_seconds", "Time of a stage, per batch", ["stage"], buckets=SECONDS,
                                registry=to)  # fmt: skip
        self.batches = Histogram("segue_batch_size", "Requests answered together", ["kind"], buckets=SIZES, registry=to)
        self.working = Gauge("segue_requests_in_progress", "Requests being worked on", registry=to,
                             multiprocess_mode="livesum")  # fmt: skip
        self.refused = Counter("segue_refused", "Requests refused, by reason", ["reason"], registry=to)
        self.swaps = Counter("segue_bundle_swaps", "Changes of the bundle", ["outcome"], registry=to)
        self.bundle = Gauge("segue_bundle", "Processes that serve a bundle", ["version", "name"], registry=to,
                            multiprocess_mode="livesum")  # fmt: skip

    def serve(self, version: str, name: str) -> None:
        """Count the bundle that is served from now on."""
        if MULTIPROCESS not in os.environ:
            self.bundle.clear()
        elif self._served is not None:  # a label that processes share cannot be removed
            self.bundle.labels(*self._served).set(0)
        self._served = version, name
        self.bundle.labels(version, name).set(1)

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them, summed over the workers."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self.registry)
        MultiProcessCollector(every := CollectorRegistry())
        return generate_latest(every)


class Served:
    """One bundle with its batches.

    Args:
        released: answers the queries.
        batch_size: queries answered together, at most.
        metrics: metrics of the server.
    """

    def __init__(self, released: ReleasedRetriever, batch_size: int, metrics: Metrics) -> None:
        self.released, self._metrics = released, metrics
        self.holders = 0
        self._texts: Batcher[Query, ResolvedQuery] = Batcher(
            released.resolve_batch, size=batch_size, on_batch=metrics.batches.labels("texts").observe
        )
        self._answers: Batcher[Query | ResolvedQuery, Answer] = Batcher(
            self._answer, size=batch_size, on_batch=metrics.batches.labels("answers").observe
        )

    async def next(self, query: Query) -> Answer:
        """Answer one query; texts are encoded in one thread while others are searched in another.

        Raises:
            InputError: the query cannot be read.
        """
        if query.text is None and query.passages is None:
            return await self._answers.submit(query)
        began = perf_counter()
        resolved = await self._texts.submit(query)
        encoded = {"encode": 1000 * (perf_counter() - began)}
        answer = await self._answers.submit(resolved)
        return replace(answer, milliseconds={**encoded, **answer.milliseconds})

    def _answer(self, queries: Sequence[Query | ResolvedQuery]) -> list[Answer | Exception]:
        """Answer a batch; queries without texts are resolved here."""
        resolved = [one if isinstance(one, ResolvedQuery) else self._resolve(one) for one in queries]
        answers = self.released.answer([one for one in resolved if isinstance(one, ResolvedQuery)])
        for stage, milliseconds in (answers[0].milliseconds if answers else {}).items():
            self._metrics.stages.labels(stage).observe(milliseconds / 1000)
        rest = iter(answers)
        return [next(rest) if isinstance(one, ResolvedQuery) else one for one in resolved]

    def _resolve(self, query: Query) -> ResolvedQuery | InputError:
        try:
            return self.released.resolve(query)
        except InputError as error:
            return error

    async def close_when_free(self) -> None:
        """Stop the threads after the last request that holds this bundle."""
        while self.holders:
            await asyncio.sleep(0.05)
        await self._texts.close()
        await self._answers.close()


class Current:
    """The bundle that new requests get.

    Args:
        path: a bundle, or a folder of bundles.
        load: reads a bundle.
        batch_size: queries answered together, at most.
        metrics: metrics of the server.

    Raises:
        SegueError: the bundle cannot be loaded.
    """

    def __init__(self, path: Path, load: Load, batch_size: int, metrics: Metrics) -> None:
        self.path, self._load, self._batch_size, self._metrics = path, load, batch_size, metrics
        self._changing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._loaded = current_bundle(path)
        self._serve(load(self._loaded))

    def _serve(self, released: ReleasedRetriever) -> None:
        self._served = Served(released, self._batch_size, self._metrics)
        self._metrics.serve(released.bundle.version, str(released.bundle.contract["name"]))

    @property
    def released(self) -> ReleasedRetriever:
        """The retriever that answers now."""
        return self._served.released

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[Served]:
        """Keep the bundle that is current now until the block ends."""
        served = self._served
        served.holders += 1
        try:
            yield served
        finally:
            served.holders -= 1

    async def change(self, *, forced: bool = False) -> bool:
        """Serve the folder's current bundle if it is another one; ``forced`` reads the same one again.

        Returns:
            Whether the bundle was changed.
        """
        async with self._changing:
            try:
                wanted = await asyncio.to_thread(current_bundle, self.path)
                if wanted == self._loaded and not forced:
                    return False
                released = await asyncio.to_thread(self._load, wanted)
                require_same(self.released.bundle.bank.space, released.bundle.bank.space,
                             "the bundle that is served and the new one")  # fmt: skip
            except SegueError as error:
                log.error("the bundle was not changed: %s", error)
                self._metrics.swaps.labels("refused").inc()
                return False
            before, self._loaded = self._served, wanted
            self._serve(released)
            self._metrics.swaps.labels("done").inc()
            log.warning("serving bundle %s", released.bundle.version)
            task = asyncio.create_task(before.close_when_free())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            return True

    async def watch(self, seconds: float) -> None:
        """Change the bundle whenever the folder names another one; a refused one is tried once."""
        refused: Path | None = None
        while True:
            await asyncio.sleep(seconds)
            with contextlib.suppress(SegueError):
                wanted = await asyncio.to_thread(current_bundle, self.path)
                if wanted not in (self._loaded, refused):
                    refused = None if await self.change() else wanted

    async def close(self) -> None:
        """Close the bundle."""
        await self._served.close_when_free()


@dataclass
class Server:
    """Objects that the parts of one server share.

    Attributes:
        settings: settings of the server.
        current: the bundle it serves.
        metrics: its counters.
        draining: True from SIGTERM on: no longer ready, and connections are closed after their answer.
        tasks: reloads that are under way; kept here so that they are not collected.
    """

    settings: ServeSettings
    current: Current
    metrics: Metrics
    draining: bool = False
    tasks: set[asyncio.Task[bool]] = field(default_factory=set)
