"""What the page of runs asks for, and where it comes from; what was worked out once is remembered."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from segue.errors import InputError, explain
from segue.runs.differences import Difference
from segue.runs.failures import (
    KINDS,
    Diagnosis,
    count_kinds,
    describe_window,
    diagnose,
    order_windows,
    passage_of,
)
from segue.runs.runs import Answered, Run, RunsFolder

Kind = Literal["right", "near-copy", "soon", "break", "same-document", "hub", "copying", "other"]
Name = Annotated[str, Field(max_length=400)]
REFERENCES = ("copy-last", "bm25", "bm25-context", "encoder-context")
"""Rows whose ranks are shown beside any other's: how hard is this window for those that learn nothing?"""
Found = TypeVar("Found")


class Part(BaseModel):
    """Which part of a list is asked for."""

    model_config = ConfigDict(extra="forbid")

    offset: int = Field(0, ge=0, le=10**9)
    limit: int = Field(20, ge=1, le=100)


class WindowsAsked(Part):
    """Windows of a row."""

    run: Name
    option: Name
    order: Literal["worst", "best", "reading"] = "worst"
    kind: Kind | None = None


class DifferencesAsked(Part):
    """Windows of two rows."""

    first: Name
    first_option: Name
    second: Name
    second_option: Name
    side: Literal["all", "only-first", "only-second", "both", "neither"] = "all"


class RunsReader:
    """Reads runs for the page, one question at a time.

    Args:
        folder: of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = RunsFolder(folder), threading.Lock()
        self._row_of = functools.lru_cache(maxsize=64)(_row)

    def locked(self, work: Callable[[RunsReader], Found]) -> Found:
        """Do some work that nobody else does meanwhile."""
        with self._lock:
            return work(self)

    def runs(self) -> dict[str, Any]:
        """Return all runs."""
        return {"runs": self.folder.summaries()}

    def report(self, run: str) -> Path:
        """Return where a run's report lies.

        Raises:
            InputError: there is none.
        """
        path = self.folder.run(run).path / "report.html"
        if not path.is_file():
            raise InputError(explain(f"the run {run} has no report", fix="write it with `segue report RUN`"))
        return path

    def windows(self, asked: WindowsAsked) -> dict[str, Any]:
        """Return windows of a row, with what kinds of failures there are."""
        run = self.folder.run(asked.run)
        answered, diagnosis = self._row_of(run, asked.option)
        chosen = order_windows(answered, asked.order)
        if asked.kind is not None:
            chosen = chosen[diagnosis.kind[chosen] == KINDS.index(asked.kind)]
        shown = chosen[asked.offset : asked.offset + asked.limit].tolist()
        listed = [passage_of(run.bank, int(answered.targets[number])) | _facts(answered, diagnosis, number)
                  for number in shown]  # fmt: skip
        kinds = None if run.refused else count_kinds(diagnosis)  # counts are headlines too
        return {"windows": listed, "total": len(chosen), "kinds": kinds, "refused": run.refused,
                "chance": diagnosis.chance, "hub": diagnosis.hub}  # fmt: skip

    def window(self, name: str, option: str, id: str) -> dict[str, Any]:
        """Return one window in full, with the ranks of rows that learn nothing."""
        run = self.folder.run(name)
        answered, diagnosis = self._row_of(run, option)
        number = _place(run, answered, id)
        others = {other: int(one.ranks[one.targets == answered.targets[number]][0])
                  for other, one in run.by_option(REFERENCES).items() if other != option}  # fmt: skip
        return describe_window(run.bank, answered, diagnosis, number, others)

    def differences(self, asked: DifferencesAsked) -> dict[str, Any]:
        """Return how two rows differ, window by window."""
        runs = (self.folder.run(asked.first), self.folder.run(asked.second))
        found = _difference(runs, (runs[0].answered(asked.first_option), runs[1].answered(asked.second_option)))
        shown = found.windows(asked.side, asked.offset, asked.limit)
        return {**_summary(found), "shown": shown, "total": int(found.of_side(asked.side).sum())}


def _row(run: Run, option: str) -> tuple[Answered, Diagnosis]:
    answered = run.answered(option)
    return answered, diagnose(run.bank, answered)


def _facts(answered: Answered, diagnosis: Diagnosis, number: int) -> dict[str, Any]:
    return {"rank": int(answered.ranks[number]), "kind": KINDS[diagnosis.kind[number]]}


@functools.lru_cache(maxsize=8)
def _difference(runs: tuple[Run, Run], answered: tuple[Answered, Answered]) -> Difference:
    return Difference(runs, answered)


@functools.lru_cache(maxsize=8)
def _summary(difference: Difference) -> dict[str, Any]:
    return difference.summary()


def _place(run: Run, answered: Answered, id: str) -> int:
    """Return the number of the window that asks for a passage.

    Raises:
        InputError: no window does.
    """
    names = run.bank.passage_ids(answered.targets)
    if id not in names:
        raise InputError(explain("no window of this run asks for the passage", got=repr(id[:80])))
    return names.index(id)
