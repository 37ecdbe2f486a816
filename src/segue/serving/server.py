"""The server: the application, and the process that runs it in uvicorn until a signal arrives.

On SIGTERM or SIGINT ``/readyz`` answers 503, requests are still answered for ``drain_seconds`` so that a load balancer
can notice, and each answer closes its connection; then no connection is accepted and the rest is finished. A second
signal does not wait. SIGHUP reads the bundle again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from segue.errors import InputError
from segue.printable import OneLine
from segue.serving.limits import Gate, read_keys
from segue.serving.listening import unavailable
from segue.serving.pages import add_pages
from segue.serving.routes import make_routes
from segue.serving.schema import ApiError, Problem, invalid
from segue.serving.served import Current, Load, Metrics, Server
from segue.serving.settings import ServeSettings
from segue.version import __version__

log = logging.getLogger("segue.serving")
log.addFilter(OneLine())  # messages name paths, bundles and errors

MAXIMUM_HEAD_BYTES = 32_768
DESCRIPTION = """Given the last passages of a document: which passage comes next?

Every error has the form `{"error": {"code", "message", "problems"}}`. Ids of passages are `document#position`; in a
path they have to be percent-encoded (`%23` for `#`)."""


def make_server(path: Path, settings: ServeSettings, load: Load) -> Server:
    """Load the bundle and return what the parts of the server share.

    Raises:
        SegueError: the bundle cannot be read.
    """
    metrics = Metrics()
    return Server(settings, Current(path, load, settings.batch_size, metrics), metrics)


def make_app(server: Server) -> FastAPI:
    """Return the application.

    Raises:
        InputError: the keys or the folder of runs cannot be read.
    """
    settings = server.settings

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(server.current.watch(settings.watch_seconds))
        yield
        watching.cancel()
        await server.current.close()

    app = FastAPI(
        title="Segue", version=__version__, description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False,
        docs_url=None, redoc_url=None,  # their pages load scripts from elsewhere
        strict_content_type=False,  # a body without a declared type is JSON
    )  # fmt: skip
    app.include_router(make_routes(server))
    add_pages(app, settings.runs)
    add_error_handlers(app)
    app.add_middleware(Gate, server=server, hashes=None if settings.keys is None else read_keys(Path(settings.keys)))
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["GET", "POST"],
                           allow_headers=["authorization", "content-type", "x-api-key"])  # fmt: skip
    return app


def add_error_handlers(app: FastAPI) -> None:
    """Give every error the one form; an unexpected one is logged, and the client learns no details."""

    @app.exception_handler(ApiError)
    async def api(request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        status = error.status_code
        if status == 400:  # FastAPI's, of a body that Python cannot parse
            return ApiError(400, "invalid_json", "the body is not JSON").response()
        messages = {404: "unknown path", 405: "this path does not accept this method"}
        response = ApiError(status, f"http_{status}", messages.get(status, error.detail)).response()
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def fields(request: Request, error: RequestValidationError) -> Response:
        errors = error.errors()
        if errors[0]["type"] == "json_invalid":
            found = f"the body is not JSON (character {errors[0]['loc'][-1]}): {errors[0]['ctx']['error']}"
            return ApiError(400, "invalid_json", found).response()
        return invalid([Problem(where=".".join(str(part)[:40] for part in one["loc"][1:]), what=one["msg"])
                        for one in errors]).response()  # fmt: skip

    @app.exception_handler(InputError)
    async def input(request: Request, error: InputError) -> Response:
        return ApiError(422, "invalid_request", str(error)).response()

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return ApiError(500, "internal_error", "the server met an unexpected error; see its log").response()


def run(server: Server, listening: socket.socket, started: Callable[[], None]) -> None:
    """Serve until a signal arrives; ``started`` is called when requests are answered."""
    asyncio.run(_run(server, listening, started))


async def _run(server: Server, listening: socket.socket, started: Callable[[], None]) -> None:
    settings, loop = server.settings, asyncio.get_running_loop()
    config = uvicorn.Config(
        make_app(server), host=settings.host, port=settings.port, http="h11", ws="none", lifespan="on",
        log_level="warning", access_log=False, server_header=False, date_header=False, proxy_headers=False,
        limit_concurrency=settings.limits.connections, h11_max_incomplete_event_size=MAXIMUM_HEAD_BYTES,
        timeout_keep_alive=30, timeout_graceful_shutdown=round(settings.limits.request_seconds) + 1,
    )  # fmt: skip
    process = uvicorn.Server(config)

    def stop() -> None:
        process.should_exit = True

    def leave() -> None:
        if server.draining:
            process.should_exit = process.force_exit = True
            return
        server.draining = True
        log.warning("stopping: finishing the requests in progress")
        loop.call_later(settings.drain_seconds, stop)

    def reload() -> None:
        task = loop.create_task(server.current.change(forced=True))
        server.tasks.add(task)
        task.add_done_callback(server.tasks.discard)

    try:
        listening.listen()  # here, so that a server that took the port meanwhile is named
    except OSError as error:
        raise unavailable(settings.host, settings.port, error) from error
    serving = loop.create_task(process.serve(sockets=[listening]))
    while not (process.started or serving.done()):
        await asyncio.sleep(0.01)
    for number, handler in ((signal.SIGTERM, leave), (signal.SIGINT, leave), (signal.SIGHUP, reload)):
        loop.add_signal_handler(number, handler)  # in place of uvicorn's own
    if process.started:
        started()
    await serving
