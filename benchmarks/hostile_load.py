"""What does a server bear: ten minutes near its capacity among bad clients, and three times its capacity?

    python -m benchmarks.hostile_load BUNDLE OTHER --json benchmarks/results/hostile_load.json

The two bundles are of one bank; they are promoted to one folder, which is served by one process. Three parts:

1. capacity: answers per second over 16 connections, each asking as soon as it was answered;
2. ``--seconds`` at 90 % of it, arrivals at random (Poisson), and a change of the bundle every ``--change`` seconds.
   Beside them clients that go away without reading their answer, in the middle of the head or of the body; clients that
   send a byte a second; and, in every other period of ``--change`` seconds, one client that asks on 80 connections
   without a pause;
3. a minute at three times the capacity.

Every answer is compared with what that version of the bundle answers in process: the same passages in the same order. A
request may be refused with 429, and with nothing else. Latency counts from when a request should have been sent. The
client shares the machine with the server. Exits with 1 where an answer is wrong, missing or refused in another way, or
where the server's memory grows by more than a tenth between the third minute, when both versions have been loaded, and
the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import segue
from benchmarks.serving_load import QUESTIONS, about, closed_loop, percentiles, questions, request, server, used
from benchmarks.surroundings import surroundings
from segue.bundles.queries import Query
from segue.bundles.store import promote, rollback
from segue.files import write_json
from segue.hardware import limit_threads

FLOOD, VANISHING, SLOW = 80, 4, 8
"""Connections of the flooding client, clients that go away at a time, and clients that send a byte a second."""
CONNECTIONS = 200
REFUSED = 429
SETTLED, GROWTH = 2, 1.1
"""The minute in which both versions have been loaded, from 0, and how many times its memory the last one may take."""


@dataclass
class Part:
    """What was answered in one part of the study.

    Attributes:
        statuses: requests by status, or by the name of a connection's error.
        accepted, refused: milliseconds until the answer, by whether it was 200 or 429.
        wrong: answers that are not those of their version.
        versions: answers of each version.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    wrong: int = 0
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        """Requests that were neither answered rightly nor refused with 429."""
        return self.wrong + sum(count for status, count in self.statuses.items() if status not in ("200", "429"))

    def summary(self) -> dict[str, Any]:
        """Return counts and percentiles."""
        times = {name: percentiles(values) for name in ("accepted", "refused") if (values := getattr(self, name))}
        return {"statuses": dict(self.statuses), "wrong": self.wrong, "versions": dict(self.versions), **times}


class Study:
    """A server with its questions and the right answers.

    Args:
        port: where it listens.
        requests: the questions' bytes.
        answers: of each version, the ids that it answers to each question.
    """

    def __init__(self, port: int, requests: list[bytes], answers: dict[str, list[list[str]]]) -> None:
        self.port, self.requests, self.answers = port, requests, answers

    async def ask(self, connection: Any, number: int, due: float, part: Part) -> Any:
        """Ask a question, note what comes back, and return a connection that can be used again."""
        try:
            status, body = await exchange(connection, self.requests[number])
        except (OSError, asyncio.IncompleteReadError) as error:
            part.statuses[type(error).__name__] += 1
            connection[1].close()
            return await asyncio.open_connection("127.0.0.1", self.port)
        taken = 1000 * (time.perf_counter() - due)
        part.statuses[str(status)] += 1
        if status == 200:
            part.accepted.append(taken)
            said = json.loads(body)
            part.versions[said["bundle"]] += 1
            part.wrong += [one["id"] for one in said["passages"]] != self.answers[said["bundle"]][number]
        elif status == REFUSED:
            part.refused.append(taken)
        return connection

    async def open_loop(self, rate: float, seconds: float, part_of: Any, seed: int) -> None:
        """Send requests at random times at a mean rate; ``part_of`` gives the part that a time belongs to."""
        arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, size=int(rate * seconds)))
        free: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            free.put_nowait(await asyncio.open_connection("127.0.0.1", self.port))
        began = time.perf_counter()

        async def one(number: int, due: float) -> None:
            connection = await free.get()
            free.put_nowait(await self.ask(connection, number % len(self.requests), began + due, part_of(due)))

        tasks = set()
        for number, due in enumerate(arrivals.tolist()):
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            task = asyncio.create_task(one(number, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        while not free.empty():
            free.get_nowait()[1].close()

    async def vanish(self, number: int) -> int:
        """Ask and go away, in the middle of the head, of the body, or before the answer; return how often."""
        count = 0
        while True:
            content = self.requests[(number + count) % len(self.requests)]
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(content[: (40, len(content) // 2, len(content))[count % 3]])
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.transport.abort()
            count += 1
            await asyncio.sleep(0.5)

    async def creep(self) -> None:
        """Send a byte a second."""
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                for at in range(60):
                    writer.write(self.requests[0][at : at + 1])
                    await writer.drain()
                    await asyncio.sleep(1)
            except OSError:
                pass
            writer.close()

    async def flood(self, wanted: asyncio.Event, part: Part) -> None:
        """Ask without a pause on one connection, while it is wanted; a pause ends it, as the server would."""
        number = 0
        while True:
            await wanted.wait()
            connection = await asyncio.open_connection("127.0.0.1", self.port)
            while wanted.is_set():
                number = (number + 7) % len(self.requests)
                connection = await self.ask(connection, number, time.perf_counter(), part)
            connection[1].close()


async def exchange(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], content: bytes) -> tuple[int, bytes]:
    """Send a request; return the answer's status and body."""
    reader, writer = connection
    writer.write(content)
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(fields[b"content-length"]))


async def among_bad_clients(study: Study, store: Path, rate: float, args: Any) -> dict[str, Any]:
    """Do the second part; return its record."""
    quiet, flooded, flooding = Part(), Part(), Part()
    wanted, memory, changes = asyncio.Event(), list[float](), 0

    async def weather() -> None:
        nonlocal changes
        period = 0
        while True:
            (wanted.set if period % 2 else wanted.clear)()
            for _ in range(int(args.change)):
                await asyncio.sleep(1)
                memory.append(used()["rss_mb"])
            await asyncio.to_thread(rollback, store)  # to the version before, which is the other one
            changes += 1
            period += 1

    others = [weather(), *(study.vanish(n) for n in range(VANISHING)), *(study.creep() for _ in range(SLOW)),
              *(study.flood(wanted, flooding) for _ in range(FLOOD))]  # fmt: skip
    tasks = [asyncio.create_task(one) for one in others]
    await study.open_loop(rate, args.seconds, lambda due: flooded if int(due / args.change) % 2 else quiet, args.seed)
    wanted.clear()
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    broken = [repr(one) for one in ended if not isinstance(one, asyncio.CancelledError)]
    by_minute = [float(np.median(memory[begin : begin + 60])) for begin in range(0, len(memory), 60)]
    settled, last = by_minute[min(SETTLED, len(by_minute) - 1)], float(np.median(memory[-60:]))
    return {"asked_per_second": rate, "changes": changes, "without_flood": quiet.summary(),
            "during_flood": flooded.summary(), "flooding_client": flooding.summary(),
            "memory_mb": {"third_minute": settled, "last_minute": last, "most": max(memory),
                          "by_minute": by_minute},
            "broken": broken, "faults": quiet.faults + flooded.faults + flooding.faults
            + len(broken) + (last > GROWTH * settled)}  # fmt: skip


async def beyond_capacity(study: Study, rate: float, args: Any) -> dict[str, Any]:
    """Do the third part; return its record."""
    part = Part()
    began = time.perf_counter()
    await study.open_loop(rate, args.beyond, lambda due: part, args.seed + 1)
    spent = time.perf_counter() - began
    return {"asked_per_second": rate, "seconds": spent, "answered_per_second": len(part.accepted) / spent,
            **part.summary(), "faults": part.faults}  # fmt: skip


def main() -> None:
    args = arguments()
    limit_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store, answers = Path(folder), dict[str, list[list[str]]]()
        for path in (args.other, args.bundle):
            version = promote(path, store)
            released = segue.load(path, texts=False)
            contexts = questions(released, QUESTIONS)
            answers[version] = [[one.id for one in released.next_batch([Query(vectors=one, k=args.k)])[0]]
                                for one in contexts]  # fmt: skip
        record = {"environment": surroundings(), "bundle": about(released)}
        record["settings"] = {name: value for name, value in vars(args).items() if not isinstance(value, Path)}
        with server(store, 1) as port:
            study = Study(port, [request(vectors, args.k) for vectors in contexts], answers)
            capacity = asyncio.run(closed_loop(port, study.requests, 16, 15.0))
            record["capacity_per_second"] = capacity
            record["among_bad_clients"] = asyncio.run(among_bad_clients(study, store, 0.9 * capacity, args))
            record["beyond_capacity"] = asyncio.run(beyond_capacity(study, 3 * capacity, args))
    print(json.dumps(record, indent=1))
    if args.json:
        write_json(args.json, record)
    sys.exit(bool(record["among_bad_clients"]["faults"] or record["beyond_capacity"]["faults"]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("other", type=Path, help="another bundle of the same bank")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--change", type=float, default=60.0, help="seconds between two changes of the bundle")
    parser.add_argument("--beyond", type=float, default=60.0, help="seconds at three times the capacity")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
