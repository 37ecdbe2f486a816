"""How long does a bundle take to answer, what does HTTP add, and what does a server bear?

Vectors in, on one machine: a context of a document of the bundle's bank, each vector turned by a few degrees, so that
the bank does not hold it and all work is done (predict, search, rerank). Three measurements:

1. one question after the other, in process and over HTTP in turns, several rounds; what HTTP adds is the difference
   of the two medians (and of the two 95th percentiles) of a round; then in process alone, with nothing between;
2. capacity: answers per second over ``--connections`` connections, each asking as soon as it was answered;
3. ``--seconds`` at 90 % of that, arrivals at random (Poisson). Latency counts from when a request should have been
   sent, so waiting for a free connection counts too.

    python -m benchmarks.serving_load bundle/ --json benchmarks/results/serving_load.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import segue
from benchmarks.surroundings import surroundings
from segue.bundles.queries import Query
from segue.files import write_json
from segue.hardware import limit_threads

QUESTIONS = 400
SERVER: list[int] = []
"""The number of the server's process."""
TURN = 0.05


def main() -> None:
    args = arguments()
    limit_threads(args.threads)
    released = segue.load(args.bundle, texts=False)
    contexts = questions(released, QUESTIONS)
    with server(args.bundle, args.threads) as port:
        requests = [request(vectors, args.k) for vectors in contexts]
        rounds = [one_by_one(released, contexts, requests, port, args) for _ in range(args.rounds)]
        capacity = asyncio.run(closed_loop(port, requests, args.connections, args.capacity_seconds))
        before = used()
        load = asyncio.run(open_loop(port, requests, 0.9 * capacity, args))
        after = used()
    record = {
        "environment": surroundings(),
        "settings": {name: value for name, value in vars(args).items() if name not in ("bundle", "json")},
        "bundle": about(released),
        **{name: over_rounds([one[name] for one in rounds]) for name in rounds[0]},
        "capacity_per_second": capacity,
        "load": load,
        "server": {
            "rss_mb": after["rss_mb"],
            "processor_ms_per_request": 1000 * (after["seconds"] - before["seconds"]) / load["requests"],
        },
    }
    print(json.dumps(record, indent=1))
    if args.json:
        write_json(args.json, record)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the numeric libraries, in process and in the server")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--capacity-seconds", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def about(released: Any) -> dict[str, Any]:
    contract = released.bundle.contract
    return {"option": contract["option"], "retriever": contract["retriever"], "bank": contract["bank"],
            "context": contract["context"], "dimension": released.bundle.bank.dimension}  # fmt: skip


def questions(released: Any, count: int) -> list[np.ndarray]:
    """Return contexts of the bank, each vector turned so far that the bank does not hold it."""
    bank, context = released.bundle.bank, released.bundle.context
    generator = np.random.default_rng(1)
    long = np.flatnonzero(bank.num_rows > context)
    found = []
    for document in generator.choice(long, size=count):
        start = int(bank.first_row[document] + generator.integers(bank.num_rows[document] - context))
        vectors = bank.gather(np.arange(start, start + context))
        aside = generator.standard_normal(vectors.shape)
        vectors = vectors + TURN * aside / np.linalg.norm(aside, axis=1, keepdims=True)
        found.append((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))
    return found


def request(vectors: np.ndarray, k: int) -> bytes:
    """Return the bytes of a request."""
    body = json.dumps({"vectors": vectors.astype(float).round(8).tolist(), "k": k}).encode()
    head = f"host: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return b"POST /v1/next HTTP/1.1\r\n" + head.encode() + body


@contextlib.contextmanager
def server(bundle: Path, threads: int) -> Iterator[int]:
    """Run a server process on any free port."""
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "segue", "serve", str(bundle), "--port", "0"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = next(line for line in process.stdout if "listening on" in line)
        SERVER.append(process.pid)
        yield int(re.search(r":(\d+)$", said.strip()).group(1))  # type: ignore[union-attr]
    finally:
        process.terminate()
        process.wait(60)


def used() -> dict[str, float]:
    """Return the memory and the processor time that the server has used."""
    process = psutil.Process(SERVER[-1])
    times = process.cpu_times()
    return {"rss_mb": round(process.memory_info().rss / 2**20, 1), "seconds": times.user + times.system}


def one_by_one(
    released: Any, contexts: list[np.ndarray], requests: list[bytes], port: int, args: Any
) -> dict[str, Any]:
    """Ask every question once in process and once over HTTP, in turns; then in process with nothing between."""
    inside, outside = [], []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for vectors, content in zip(contexts, requests, strict=True):
            inside.append(in_process(released, vectors, args.k))
            began = time.perf_counter()
            exchange(connection, content)
            outside.append(1000 * (time.perf_counter() - began))
    began = time.process_time()
    alone = [in_process(released, vectors, args.k) for vectors in contexts]
    processor = 1000 * (time.process_time() - began) / len(contexts)
    own, http = percentiles([taken for taken, _ in inside]), percentiles(outside)
    return {
        "in_process": own | {"processor_ms": processor},
        "over_http": http,
        "http_adds": {name: http[name] - own[name] for name in ("p50_ms", "p95_ms")},
        "stages": by_stage([laps for _, laps in inside]),
        "alone": percentiles([taken for taken, _ in alone]),
        "stages_alone": by_stage([laps for _, laps in alone]),
    }


def in_process(released: Any, vectors: np.ndarray, k: int) -> tuple[float, dict[str, float]]:
    """Return the milliseconds of an answer, and of its stages."""
    began = time.perf_counter()
    (answer,) = released.next_batch([Query(vectors=vectors, k=k)])
    return 1000 * (time.perf_counter() - began), answer.milliseconds


def exchange(connection: socket.socket, content: bytes) -> None:
    """Send a request and read all of the answer, with as little of a client as there can be."""
    connection.sendall(content)
    answer = connection.recv(1 << 16)
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1 << 16)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert head.split(b" ", 2)[1] == b"200"
    assert length is not None
    missing = int(length.group(1)) - len(body)
    while missing > 0:
        missing -= len(connection.recv(missing))


def by_stage(laps: list[dict[str, float]]) -> dict[str, float]:
    stages = {name: percentiles([one[name] for one in laps]) for name in laps[0]}
    stages["together"] = percentiles([sum(one.values()) for one in laps])
    return {f"{stage} {name}": value for stage, values in stages.items() for name, value in values.items()}


async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], content: bytes) -> int:
    """Send a request, read all of the answer, and return its status."""
    reader, writer = connection
    writer.write(content)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    await reader.readexactly(int(length.group(1)))
    return int(head.split(b" ", 2)[1])


async def closed_loop(port: int, requests: list[bytes], connections: int, seconds: float) -> float:
    """Return answers per second when every connection asks as soon as it was answered."""
    until, answered = time.perf_counter() + seconds, 0

    async def one(number: int) -> None:
        nonlocal answered
        connection = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            number = (number + 7) % len(requests)
            assert await ask(connection, requests[number]) == 200
            answered += 1
        connection[1].close()

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(connections)))
    return answered / (time.perf_counter() - began)


async def open_loop(port: int, requests: list[bytes], rate: float, args: Any) -> dict[str, Any]:
    """Send requests at random times at a mean rate, and return latencies and statuses."""
    generator = np.random.default_rng(args.seed)
    arrivals = np.cumsum(generator.exponential(1 / rate, size=int(rate * args.seconds)))
    free: asyncio.Queue[Any] = asyncio.Queue()
    for _ in range(args.connections):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    taken: list[float] = []
    statuses: dict[str, int] = {}
    began = time.perf_counter()

    async def one(number: int, due: float) -> None:
        connection = await free.get()
        try:
            status = str(await ask(connection, requests[number % len(requests)]))
        except (OSError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        statuses[status] = statuses.get(status, 0) + 1
        taken.append(1000 * (time.perf_counter() - began - due))
        free.put_nowait(connection)

    tasks = []
    for number, due in enumerate(arrivals.tolist()):
        wait = began + due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    spent = time.perf_counter() - began
    return {"asked_per_second": rate, "answered_per_second": len(taken) / spent, "seconds": spent,
            "requests": len(taken), "statuses": statuses, **percentiles(taken)}  # fmt: skip


def percentiles(values: list[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50_ms": float(p50), "p95_ms": float(p95), "p99_ms": float(p99)}


def over_rounds(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the median over rounds, with the least and the most."""
    values = {name: np.array([one[name] for one in rounds]) for name in rounds[0]}
    return {name: {"median": float(np.median(found)), "least": float(found.min()), "most": float(found.max())}
            for name, found in values.items()}  # fmt: skip


if __name__ == "__main__":
    main()
