"""The application: routes over the bundle that is served."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from segue.errors import InputError
from segue.serving import metrics as counting
from segue.serving.limits import Gate, read_keys
from segue.serving.metrics import Metrics
from segue.serving.routes import add_page, add_routes
from segue.serving.schema import problem
from segue.serving.served import Current, Load, Server
from segue.serving.settings import ServeSettings
from segue.version import __version__

log = logging.getLogger("segue.serving")

DESCRIPTION = """Given the last passages of a document: which passage comes next?

Every error has the form `{"error": {"code", "message", "problems"}}`. Ids of passages are `document#position`; in a
path they have to be percent-encoded (`%23` for `#`)."""


def make_server(path: Path, settings: ServeSettings, load: Load) -> Server:
    """Load the bundle and make what the server shares.

    Raises:
        SegueError: the bundle or the keys cannot be read.
    """
    metrics = Metrics()
    current = Current(path, load, settings.batching, metrics)
    current.begin()
    return Server(settings, current, metrics)


def make_app(server: Server) -> FastAPI:
    """Return the application of a server whose bundle is loaded."""
    settings = server.settings
    app = FastAPI(
        title="Segue", version=__version__, description=DESCRIPTION, lifespan=_lifespan(server),
        redirect_slashes=False, docs_url=None, redoc_url=None,  # their pages load scripts from elsewhere
    )  # fmt: skip
    add_routes(app, server)
    app.get("/metrics", include_in_schema=False)(
        lambda: Response(server.metrics.text(), media_type=counting.MEDIA_TYPE)
    )
    add_page(app, server)
    _add_handlers(app)
    hashes = None if settings.keys is None else read_keys(Path(settings.keys))
    app.add_middleware(Gate, settings=settings, hashes=hashes, metrics=server.metrics, draining=lambda: server.draining)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["GET", "POST"],
                           allow_headers=["authorization", "content-type", "x-api-key"])  # fmt: skip
    return app


def _lifespan(server: Server) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    """Watch a folder of bundles while the server runs."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(server.current.watch(server.settings.watch_seconds))
        try:
            yield
        finally:
            watching.cancel()
            await server.current.close()

    return lifespan


def _add_handlers(app: FastAPI) -> None:
    """Give every error the one form; what was not foreseen is logged, and the client is told no more than that."""

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = {404: "there is nothing at this path", 405: "this path takes another method"}
        response = problem(error.status_code, f"http_{error.status_code}", said.get(error.status_code, error.detail))
        response.headers.update(error.headers or {})
        return response

    async def parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [{"where": ".".join(map(str, one["loc"][1:])), "what": str(one["msg"])} for one in error.errors()[:10]]
        return problem(
            422, "invalid_request", f"the request cannot be used: {found[0]['where']}: {found[0]['what']}", found
        )

    async def ours(request: Request, error: Exception) -> Response:
        return problem(422, "invalid_request", str(error))

    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(500, "internal_error", "the server met an error of its own; its log tells more")

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(InputError, ours)
    app.add_exception_handler(Exception, unforeseen)
