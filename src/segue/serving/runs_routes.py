"""What the page of runs is drawn from: ``segue serve BUNDLE --runs FOLDER``.

These paths serve that page alone and may change with it, so the OpenAPI document leaves them out. They read files in
threads, one question at a time: whoever asks the bundle meanwhile does not wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from fastapi.responses import FileResponse

from segue.errors import InputError, StorageError
from segue.runs.reader import DifferencesAsked, RunsReader, WindowsAsked
from segue.serving.schema import answer, problem

Name = Annotated[str, Query(max_length=1000)]
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; frame-ancestors 'self'"
)
"""A report is a page of its own: it sorts its tables, reaches nothing, and is a stranger to this server's pages."""
REPORT_HEADERS = {"content-security-policy": REPORT_POLICY, "x-content-type-options": "nosniff"}
NO_RUNS = "this server shows no runs: start it with `segue serve BUNDLE --runs FOLDER`"


def add_runs(app: FastAPI, folder: str | None) -> None:
    """Add the paths of a folder of runs; without one they say how to give it.

    Raises:
        InputError: there is no such folder.
    """
    reader = None if folder is None else RunsReader(Path(folder))

    async def told(work: Callable[[RunsReader], Any]) -> Response:
        return await _told(reader, work)

    @app.get("/runs/list", include_in_schema=False)
    async def runs() -> Response:
        return await told(lambda reader: reader.runs())

    @app.get("/runs/report", include_in_schema=False)
    async def report(run: Name) -> Response:
        return await told(lambda reader: reader.report(run))

    @app.get("/runs/windows", include_in_schema=False)
    async def windows(asked: Annotated[WindowsAsked, Query()]) -> Response:
        return await told(lambda reader: reader.windows(asked))

    @app.get("/runs/window", include_in_schema=False)
    async def window(run: Name, option: Name, id: Name) -> Response:
        return await told(lambda reader: reader.window(run, option, id))

    @app.get("/runs/differences", include_in_schema=False)
    async def differences(asked: Annotated[DifferencesAsked, Query()]) -> Response:
        return await told(lambda reader: reader.differences(asked))


async def _told(reader: RunsReader | None, work: Callable[[RunsReader], Any]) -> Response:
    """Do some work in a thread; what is not there is a 404, a folder in which no look can be logged a 409."""
    if reader is None:
        return problem(404, "no_runs", NO_RUNS)
    try:
        found = await asyncio.to_thread(reader.locked, work)
    except InputError as error:
        return problem(404, "not_found", str(error))
    except StorageError as error:
        return problem(409, "look_not_logged", f"reading test windows is logged in the run folder: {error}")
    if isinstance(found, Path):
        return FileResponse(found, media_type="text/html", headers=REPORT_HEADERS)
    return answer(found)
