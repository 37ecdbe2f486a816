"""Two sides of a measurement take turns, each in a process of its own.

Enters: how each side is made. Leaves: what every turn of both measured, in pairs, and each process's memory. Whatever
else the machine does meets both sides alike, so ratios are taken pair by pair; seconds of different runs are not
compared. The first turn of each side warms up and is not counted. Processor time (all threads) stands beside the clock,
since other work disturbs it less.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from benchmarks.speed.memory import PeakMemory, status_bytes
from segue.hardware import limit_threads
from segue.types import Progress, no_progress

MB = 1e6


@dataclass(frozen=True)
class Prepared:
    """What a side has made ready.

    Attributes:
        turn: the measured work; what it returns is kept beside the seconds of the turn.
        facts: what is worth saying of it once (engine, recall, sizes).
    """

    turn: Callable[[], Mapping[str, float]]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One side: a module's function that prepares it, and its arguments; both are sent to another process."""

    prepare: Callable[..., Prepared]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 2


@dataclass(frozen=True)
class SideResult:
    """What the turns of one side measured.

    Attributes:
        values: per measured name, one value per turn; ``seconds`` and ``processor_seconds`` always.
        facts: of the side, with its memory.
    """

    values: Mapping[str, Sequence[float]]
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return medians with the least and greatest value, and the facts."""
        return {**{name: spread(values) for name, values in self.values.items()}, **self.facts}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median between the extremes.

    >>> spread([3.0, 1.0, 2.0])
    {'median': 2.0, 'low': 1.0, 'high': 3.0}
    """
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def take_turns(
    sides: Sequence[Side], *, repeats: int, warm_up: bool = True, progress: Progress = no_progress
) -> list[SideResult]:
    """Let the sides take turns, and return what each measured, in their order.

    Args:
        sides: the sides.
        repeats: counted turns of each.
        warm_up: take one more turn of each before, which is not counted.
        progress: called after every turn of all.

    Raises:
        SegueError: whatever a side raised.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(side)) for side in sides]
        for turn in range(0 if warm_up else 1, repeats + 1):
            for worker in workers:
                worker.turn(counted=turn > 0)
            progress(turn, repeats, "turns")
        return [worker.finish() for worker in workers]


class _Worker:
    """A process with one side in it."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._values: dict[str, list[float]] = {}

    def __enter__(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, self._side))
        with _environment(OMP_NUM_THREADS=str(self._side.threads), OMP_WAIT_POLICY="passive"):
            self._process.start()
        other.close()
        self._facts = self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()  # the process ends by itself when nobody asks any more
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def turn(self, *, counted: bool) -> None:
        self._pipe.send("turn")
        measured = self._answer()
        if counted:
            for name, value in measured.items():
                self._values.setdefault(name, []).append(value)

    def finish(self) -> SideResult:
        self._pipe.send("memory")
        return SideResult(self._values, {**self._facts, **self._answer(), "threads": self._side.threads})

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"a measured process ended with {self._process.exitcode}") from None
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _work(pipe: Connection, side: Side) -> None:
    """Prepare the side, then answer until the other end is closed."""
    try:
        limit_threads(side.threads)
        with PeakMemory() as memory:
            prepared = side.prepare(**side.arguments)
            pipe.send(dict(prepared.facts))
            while True:
                pipe.send(_timed(prepared.turn) if pipe.recv() == "turn" else _memory(memory))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:  # whatever it is, the other end has to know
        pipe.send(error)


def _timed(turn: Callable[[], Mapping[str, float]]) -> dict[str, float]:
    clock, processor = time.perf_counter(), time.process_time()
    measured = turn()
    return {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor, **measured}


def _memory(watched: PeakMemory) -> dict[str, float | None]:
    highest = status_bytes("VmHWM")
    return {
        "peak_anonymous_mb": None if watched.peak is None else round(watched.peak / MB, 1),
        "peak_resident_mb": None if highest is None else round(highest / MB, 1),
    }


class _environment:
    """Sets variables for a process that is started inside."""

    def __init__(self, **variables: str) -> None:
        self._variables = variables

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._variables}
        os.environ.update(self._variables)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
