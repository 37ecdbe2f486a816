"""The served pages: their files, and the paths behind the page of runs (``segue serve BUNDLE --runs FOLDER``).

The paths below ``/runs`` serve that page alone and may change with it, so the OpenAPI document leaves them out. Files
are read in threads, for one request at a time, so queries to the bundle do not wait for them.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Query, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Scope

from segue.errors import InputError, StorageError
from segue.reports.render import SCRIPT_HASH
from segue.runs.differences import Difference, Side
from segue.runs.failures import (
    KINDS,
    FailureKinds,
    Kind,
    classify,
    count_kinds,
    describe_window,
    order_windows,
    passage_of,
)
from segue.runs.runs import EntryAnswers, Run, RunsFolder
from segue.serving.schema import ApiError

PAGE = Path(__file__).parent / "page"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Policy of the pages: scripts are files of this server. A report in a frame without an address has this policy too, so
its styles, which are inside it, may be used."""
HEADERS = {"content-security-policy": CONTENT_POLICY, "x-content-type-options": "nosniff",
           "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin",
           "cache-control": "no-cache"}  # fmt: skip
REPORT_POLICY = (
    f"sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Policy of a report: the script that sorts its tables runs, and no other; it reaches nothing, not even this server."""
REPORT_HEADERS = {"content-security-policy": REPORT_POLICY, "x-content-type-options": "nosniff"}
NO_RUNS = "this server shows no runs: start it with `segue serve BUNDLE --runs FOLDER`"
REFERENCES = ("copy-last", "bm25", "bm25-context", "encoder-context")
"""Entries whose ranks are shown next to those of any other: they learn nothing, so they show how hard a window is."""
Name = Annotated[str, Field(max_length=400)]


class PageFiles(StaticFiles):
    """The page's files, with headers that keep other sites out."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def add_pages(app: FastAPI, runs: str | None) -> None:
    """Add the pages to an application.

    Raises:
        InputError: there is no such folder of runs.
    """
    app.mount("/page", PageFiles(directory=PAGE), name="page")
    app.get("/", include_in_schema=False)(lambda: FileResponse(PAGE / "index.html", headers=HEADERS))
    app.include_router(runs_routes(runs), include_in_schema=False)


class PageQuery(BaseModel):
    """Requested part of a list."""

    model_config = ConfigDict(extra="forbid")

    offset: int = Field(0, ge=0, le=10**9)
    limit: int = Field(20, ge=1, le=100)


class WindowsQuery(PageQuery):
    """Requested windows of an entry."""

    run: Name
    option: Name
    order: Literal["worst", "best", "reading"] = "worst"
    kind: Kind | None = None


class DifferencesQuery(PageQuery):
    """Requested windows of two entries."""

    first: Name
    first_option: Name
    second: Name
    second_option: Name
    side: Side = "all"


def runs_routes(folder: str | None) -> APIRouter:
    """Return the paths of a folder of runs; without one they answer how to give it.

    Raises:
        InputError: there is no such folder.
    """
    routes = APIRouter()
    reader = None if folder is None else RunsReader(Path(folder))

    async def read(work: Callable[[RunsReader], object]) -> Response:
        """Run ``work`` in a thread; what is not there is a 404, a read that cannot be logged a 409."""
        if reader is None:
            raise ApiError(404, "no_runs", NO_RUNS)
        try:
            found = await asyncio.to_thread(reader.locked, work)
        except InputError as error:
            raise ApiError(404, "not_found", str(error)) from error
        except StorageError as error:
            raise ApiError(409, "look_not_logged",
                           f"reading test windows is logged in the run folder: {error}") from error  # fmt: skip
        if isinstance(found, Path):
            return FileResponse(found, media_type="text/html", headers=REPORT_HEADERS)
        return JSONResponse(found)

    @routes.get("/runs/list")
    async def runs() -> Response:
        return await read(lambda reader: {"runs": reader.folder.summaries()})

    @routes.get("/runs/report")
    async def report(run: Name) -> Response:
        return await read(lambda reader: reader.report(run))

    @routes.get("/runs/windows")
    async def windows(query: Annotated[WindowsQuery, Query()]) -> Response:
        return await read(lambda reader: reader.windows(query))

    @routes.get("/runs/window")
    async def window(run: Name, option: Name, id: Name) -> Response:
        return await read(lambda reader: reader.window(run, option, id))

    @routes.get("/runs/differences")
    async def differences(query: Annotated[DifferencesQuery, Query()]) -> Response:
        return await read(lambda reader: reader.differences(query))

    return routes


class RunsReader:
    """Reads runs for the page and remembers what it computed.

    Args:
        folder: folder of runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = RunsFolder(folder), threading.Lock()
        self._entry = functools.lru_cache(maxsize=64)(_read_entry)
        self._difference = functools.lru_cache(maxsize=8)(Difference)

    def locked(self, work: Callable[["RunsReader"], object]) -> object:
        """Do some work while no other request reads runs."""
        with self._lock:
            return work(self)

    def report(self, run: str) -> Path:
        """Return the path of a run's report.

        Raises:
            InputError: there is none.
        """
        path = self.folder.run(run).path / "report.html"
        if not path.is_file() or not path.resolve().is_relative_to(self.folder.path.resolve()):  # a link elsewhere
            raise InputError(f"the run {run} has no report", fix="write it with `segue report RUN`")
        return path

    def windows(self, query: WindowsQuery) -> dict[str, object]:
        """Return windows of an entry, and how many failed in which way."""
        run = self.folder.run(query.run)
        answers, failures = self._entry(run, query.option)
        chosen = order_windows(answers, query.order)
        if query.kind is not None:
            chosen = chosen[failures.kind[chosen] == KINDS.index(query.kind)]
        page = chosen[query.offset : query.offset + query.limit].tolist()
        listed = [{**passage_of(run.bank, int(answers.targets[number])), "rank": int(answers.ranks[number]),
                   "kind": KINDS[failures.kind[number]]} for number in page]  # fmt: skip
        kinds = None if run.record.refused else count_kinds(failures)  # a blocked run shows no counts
        return {"windows": listed, "total": len(chosen), "kinds": kinds, "refused": run.record.refused,
                "chance": failures.chance, "hub": failures.hub}  # fmt: skip

    def window(self, name: str, option: str, id: str) -> object:
        """Return one window in full, with its ranks in the reference entries.

        Raises:
            InputError: no window of the run has this target.
        """
        run = self.folder.run(name)
        answers, failures = self._entry(run, option)
        names = run.bank.passage_ids(answers.targets)
        if id not in names:
            raise InputError("no window of this run has this target passage", got=repr(id[:80]))
        number = names.index(id)
        others = {other: int(one.ranks[one.targets == answers.targets[number]][0])
                  for other, one in run.by_option(REFERENCES).items() if other != option}  # fmt: skip
        return describe_window(run.bank, answers, failures, number, others)

    def differences(self, query: DifferencesQuery) -> dict[str, object]:
        """Return how two entries differ, window by window."""
        runs = (self.folder.run(query.first), self.folder.run(query.second))
        answers = (runs[0].answers(query.first_option), runs[1].answers(query.second_option))
        found = self._difference(runs, answers)
        shown = found.windows(query.side, query.offset, query.limit)
        return {**found.summary, "shown": shown, "total": int(found.of_side(query.side).sum())}


def _read_entry(run: Run, option: str) -> tuple[EntryAnswers, FailureKinds]:
    answers = run.answers(option)
    return answers, classify(run.bank, answers)
