"""What the page of runs is drawn from: ``segue serve BUNDLE --runs FOLDER``.

These paths serve that page alone and may change with it, so the OpenAPI document leaves them out. They read files, under
one lock, in threads: whoever asks the bundle meanwhile does not wait for them.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Query, Response
from fastapi.responses import FileResponse

from segue.errors import InputError, StorageError
from segue.release.differences import Difference
from segue.release.failures import (
    KINDS,
    Diagnosis,
    count_kinds,
    describe_window,
    diagnose,
    order_windows,
    passage_of,
)
from segue.release.runs import Answered, Run, RunsFolder
from segue.release.serving.errors import answer, problem

Name = Annotated[str, Query(max_length=400)]
Offset = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1, le=100)]
Order = Literal["worst", "best", "reading"]
Side = Literal["all", "only-first", "only-second", "both", "neither"]
REFERENCES = ("copy-last", "bm25", "bm25-context", "encoder-context")
"""Rows whose ranks are shown beside any other's: how hard is this window for those that learn nothing?"""
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; frame-ancestors 'self'"
)
"""A report is a page of its own: it sorts its tables, reaches nothing, and is a stranger to this server's pages."""


class RunsReader:
    """Reads runs for the page, and remembers what it worked out.

    Args:
        folder: of the runs.
    """

    def __init__(self, folder: RunsFolder) -> None:
        self.folder, self.lock = folder, threading.Lock()
        self._diagnoses: dict[tuple[Run, str], Diagnosis] = {}

    def runs(self) -> dict[str, Any]:
        """Return all runs."""
        return {"runs": self.folder.summaries()}

    def windows(self, run: str, option: str, order: str, kind: str, offset: int, limit: int) -> dict[str, Any]:
        """Return windows of a row, with what kinds of failures there are."""
        found, answered, diagnosis = self._row(run, option)
        chosen = order_windows(answered, order)
        if kind:
            chosen = chosen[diagnosis.kind[chosen] == KINDS.index(kind)]
        shown = chosen[offset : offset + limit].tolist()
        listed = [passage_of(found.bank, int(answered.targets[number])) | {
            "rank": int(answered.ranks[number]), "kind": KINDS[diagnosis.kind[number]]} for number in shown]  # fmt: skip
        return {"windows": listed, "total": len(chosen), "kinds": count_kinds(diagnosis), "refused": found.refused,
                "chance": diagnosis.chance, "hub": diagnosis.hub}  # fmt: skip

    def window(self, run: str, option: str, id: str) -> dict[str, Any]:
        """Return one window in full."""
        found, answered, diagnosis = self._row(run, option)
        number = _place(found, answered, id)
        others = {name: int(one.ranks[one.targets == answered.targets[number]][0])
                  for name, one in found.by_option(REFERENCES).items() if name != option}  # fmt: skip
        return describe_window(found.bank, answered, diagnosis, number, others)

    def differences(self, names: tuple[str, str], options: tuple[str, str], side: str, offset: int, limit: int) -> Any:
        """Return how two rows differ, window by window."""
        runs = (self.folder.run(names[0]), self.folder.run(names[1]))
        both = (runs[0].answered(options[0]), runs[1].answered(options[1]))
        found = _difference(runs, both)
        return {**_summary(found), "shown": found.windows(side, offset, limit), "total": int(found.of_side(side).sum())}

    def _row(self, run: str, option: str) -> tuple[Run, Answered, Diagnosis]:
        found = self.folder.run(run)
        answered = found.answered(option)
        if (found, option) not in self._diagnoses:
            self._diagnoses[found, option] = diagnose(found.bank, answered)
        return found, answered, self._diagnoses[found, option]


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
        raise InputError(f"no window of this run asks for the passage {id[:80]!r}.")
    return names.index(id)


def add_runs(app: FastAPI, path: str | None) -> None:
    """Add the paths of a folder of runs; without one they say how to give it."""
    reader = None if path is None else RunsReader(RunsFolder(Path(path)))

    async def told(work: Callable[[RunsReader], Any]) -> Response:
        if reader is None:
            return problem(404, "no_runs", "this server shows no runs: start it with `segue serve BUNDLE --runs FOLDER`")
        try:
            return answer(await asyncio.to_thread(_locked, reader, work))
        except InputError as error:
            return problem(404, "not_found", str(error))
        except StorageError as error:
            return problem(409, "look_not_logged", f"reading test windows has to be logged in the run folder: {error}")

    @app.get("/runs/list", include_in_schema=False)
    async def runs() -> Response:
        return await told(lambda reader: reader.runs())

    @app.get("/runs/windows", include_in_schema=False)
    async def windows(run: Name, option: Name, order: Order = "worst", kind: Literal[KINDS] | None = None,  # type: ignore[valid-type]
                      offset: Offset = 0, limit: Limit = 20) -> Response:  # fmt: skip
        return await told(lambda reader: reader.windows(run, option, order, kind or "", offset, limit))

    @app.get("/runs/window", include_in_schema=False)
    async def window(run: Name, option: Name, id: Annotated[str, Query(max_length=1000)]) -> Response:
        return await told(lambda reader: reader.window(run, option, id))

    @app.get("/runs/differences", include_in_schema=False)
    async def differences(first: Name, first_option: Name, second: Name, second_option: Name, side: Side = "all",
                          offset: Offset = 0, limit: Limit = 20) -> Response:  # fmt: skip
        options = (first_option, second_option)
        return await told(lambda reader: reader.differences((first, second), options, side, offset, limit))

    @app.get("/runs/report", include_in_schema=False)
    async def report(run: Name) -> Response:
        response = await told(lambda reader: _report_path(reader, run))
        if response.status_code != 200 or reader is None:
            return response
        headers = {"content-security-policy": REPORT_POLICY, "x-content-type-options": "nosniff"}
        return FileResponse(reader.folder.run(run).path / "report.html", media_type="text/html", headers=headers)


def _locked(reader: RunsReader, work: Callable[[RunsReader], Any]) -> Any:
    with reader.lock:
        return work(reader)


def _report_path(reader: RunsReader, run: str) -> dict[str, Any]:
    if not (reader.folder.run(run).path / "report.html").is_file():
        raise InputError("this run has no report: `segue report RUN` writes it.")
    return {}
